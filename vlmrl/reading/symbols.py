r"""Symbols: Unicode mathematics in LaTeX.

    latex_symbols("2θ ≤ √3·10⁻²")     -> r"2\theta  \le  \sqrt 3\cdot 10^{-2}"

Greek letters, raised and lowered characters and the letters of mathematical fonts follow from the Unicode database;
the table has what that does not say.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from vlmrl.reading.quantities import vulgar_fraction

_SYMBOLS = {
    "∞": "\\infty ", "≤": "\\le ", "≥": "\\ge ", "⩽": "\\le ", "⩾": "\\ge ", "≦": "\\le ", "≧": "\\ge ", "≠": "\\ne ",
    "≈": "\\approx ", "≃": "\\approx ", "≅": "\\cong ", "∼": "\\sim ", "±": "\\pm ", "∓": "\\mp ", "∪": "\\cup ",
    "∩": "\\cap ", "∖": "\\setminus ", "∅": "\\emptyset ", "∈": "\\in ", "∉": "\\notin ", "∣": "|", "∥": "\\parallel ",
    "⊥": "\\perp ", "∠": "\\angle ", "△": "\\triangle ", "▵": "\\triangle ", "∆": "\\Delta ", "ℝ": "\\mathbb{R}",
    "ℤ": "\\mathbb{Z}", "ℕ": "\\mathbb{N}", "ℚ": "\\mathbb{Q}", "ℂ": "\\mathbb{C}", "∧": "\\land ", "∨": "\\lor ",
    "·": "\\cdot ", "⋅": "\\cdot ", "∙": "\\cdot ", "•": "\\cdot ", "∗": "*", "×": "\\times ", "✕": "\\times ",
    "÷": "/", "∕": "/", "⁄": "/", "∶": ":", "√": "\\sqrt ", "∛": "\\sqrt[3] ", "∜": "\\sqrt[4] ",
    "°": "^\\circ ", "º": "^\\circ ", "˚": "^\\circ ", "∘": "^\\circ ", "℃": "^\\circ C", "µ": "u",
    "′": "'", "…": "...",
    "⋯": "...", "⟨": "\\langle ", "⟩": "\\rangle ", "〈": "\\langle ", "〉": "\\rangle ", "⌊": "\\lfloor ",
    "⌋": "\\rfloor ", "⌈": "\\lceil ", "⌉": "\\rceil ", "→": "\\to ", "∑": "\\sum ", "∏": "\\prod ", "∫": "\\int ",
    "。": ".", "、": ",",
}  # fmt: skip
_GREEK = re.compile(r"GREEK (?:(SMALL|CAPITAL) LETTER )?(FINAL )?([A-Z]+)( SYMBOL)?")
_RUN = re.compile(r"(?:\^\{[^{}]\}){2,}|(?:_\{[^{}]\}){2,}")


def latex_symbols(text: str) -> str:
    """The text in ASCII as far as it is mathematics; words of other languages stay."""
    if text.isascii():
        return text
    text = "".join(map(_latex, text))
    return _RUN.sub(lambda run: run[0][0] + "{" + re.sub(r"[\^_]\{([^{}])\}", r"\1", run[0]) + "}", text)


@lru_cache(maxsize=4096)
def _latex(char: str) -> str:
    if char.isascii():
        return char
    if char in _SYMBOLS:
        return _SYMBOLS[char]
    form, _, _ = unicodedata.decomposition(char).partition(" ")
    plain = unicodedata.normalize("NFKC", char).replace("\u2212", "-")
    if form == "<font>" and plain != char:  # a letter of a mathematical font
        return _latex(plain)
    if form in ("<super>", "<sub>") and len(plain) == 1:
        return f"{'^' if form == '<super>' else '_'}{{{plain}}}"
    greek = _GREEK.fullmatch(unicodedata.name(char, ""))
    if greek:
        name = greek[3].lower().replace("lamda", "lambda")
        return f"\\{name.capitalize() if greek[1] == 'CAPITAL' else name} "
    return vulgar_fraction(char, r" \frac{{{}}}{{{}}}")
