r"""Mathematical notation: one spelling for LaTeX, Unicode and plain text.

    clean(r"\dfrac12\,\text{cm}")     -> r"\frac{1}{2}\text{cm}"
    is_prose("the largest n is 34")   -> True

Texts are a few thousand characters at most; `vlmrl.verifiers.math` sees to that. Nothing here loads sympy.
"""

from __future__ import annotations

import re
import unicodedata

from vlmrl.reading import answers
from vlmrl.reading.quantities import is_unit, vulgar_fraction

_SYMBOLS = {
    "π": "\\pi ",
    "∞": "\\infty ",
    "≤": "\\le ",
    "≥": "\\ge ",
    "≠": "\\ne ",
    "≈": "\\approx ",
    "±": "\\pm ",
    "∪": "\\cup ",
    "∩": "\\cap ",
    "∖": "\\setminus ",
    "∅": "\\emptyset ",
    "∈": "\\in ",
    "ℝ": "\\mathbb{R}",
    "·": "\\cdot ",
    "×": "\\times ",
    "÷": "/",
    "∶": ":",
    "√": "\\sqrt ",
    "∛": "\\sqrt[3] ",
    "°": "^\\circ ",
    "℃": "^\\circ C",
    "µ": "u",
    "μ": "\\mu ",
    "…": "...",
    "。": ".",
    "、": ",",
} | {sign: f"^{{{digit}}}" for digit, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
_SYMBOLS |= {sign: f"_{{{digit}}}" for digit, sign in enumerate("₀₁₂₃₄₅₆₇₈₉")}
_BASES = {
    name: base for base, name in enumerate(("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), 2)
}
_GROUP = r"\{ ?([^{}]*) ?\}"

_REWRITES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\s+", " "),
        # Delimiters, currency, thin spaces, sizes, colours.
        (r"\\\\,| ?(?<![_^])\{ ?, ?\} ?|;(?! ?$)", ","),
        (r"\\\$ ?(?=-?[\d.])", r"\\dollar "),
        (r"^ ?\$(?=-?\d[\d,.]* ?$)", r"\\dollar "),
        (r"(?<!\\)\\\\(?=[dtc]?frac|sqrt|text|pi(?![a-z])|le(?![a-z])|ge(?![a-z]))", r"\\"),
        (r"(?<!\\)\\[,;:> ](?=[a-zA-Z])", " "),
        (r"(?<!\\)\\[()\[\]!,;:> ]|\\?\$|~", ""),
        (r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|limits|nolimits|ensuremath|thinspace)(?![a-z])", ""),
        (r"\\(?:hspace|vspace|phantom|tag|label|color) ?\*?\{[^{}]*\}|\\textcolor ?\{[^{}]*\}", ""),
        (r"\\q?quad(?![a-zA-Z])", " "),
        (r"\\(?:lbrace|rbrace)(?![a-zA-Z])", lambda match: "\\{" if match[0] == "\\lbrace" else "\\}"),
        (r"\\(?:langle|rangle)(?![a-zA-Z])", lambda match: "(" if match[0] == "\\langle" else ")"),
        (r"\\colon(?![a-zA-Z])", ":"),
        (r"\\mathbb ?([A-Z])", r"\\mathbb{\1}"),
        # Fractions and roots without braces, and those of Python.
        (r"\\(?:[dtc]frac|nicefrac|sfrac)(?![a-zA-Z])", r"\\frac"),
        (r"\{ ?([^{}]+?) ?\\over(?![a-zA-Z]) ?([^{}]+?) ?\}", r"\\frac{\1}{\2}"),
        (r"\\frac ?(\d) ?([0-9a-zA-Z{])", r"\\frac{\1}\2"),
        (r"(\\frac ?\{[^{}]*\}) ?([0-9a-zA-Z])", r"\1{\2}"),
        (r"\{ ?([^{}]*?) ?\\choose(?![a-zA-Z]) ?([^{}]*?) ?\}", r"\\binom{\1}{\2}"),
        (r"\\frac \{", r"\\frac{"),
        (r"\\surd(?![a-zA-Z])", r"\\sqrt"),
        (r"\\sqrt ?(\[[^\[\]]*\])? ?([0-9]+|[a-zA-Z])", r"\\sqrt\1{\2}"),
        (r"(?<![\\a-zA-Z])(?:sqrt|\\sqrt) ?\(([^()]*)\)|\\sqrt ?\(([^()]*)\)", r"\\sqrt{\1\2}"),
        (r"(?<![\\a-zA-Z])sqrt ?(\d+)", r"\\sqrt{\1}"),
        (r"(?<![\\a-zA-Z])cbrt ?\(([^()]*)\)", r"\\sqrt[3]{\1}"),
        (r"\^ ?\(([^()]*)\)", r"^{\1}"),
        # Words: fonts, conjunctions, ordinals, degrees, percent.
        (r"\\(?:mathrm|mathbf|mathit|mathsf|mathtt|textbf|textnormal|textrm|textit|textsf|mbox|hbox|operatorname"
         r"|boldsymbol|underline|vec|bm) ?\{", r"\\text{"),
        (r"\\text ?\{ ?([\d.,]+|[a-zA-Z]|\\[a-z]+) ?\}(?!\^)", r" \1 "),
        (r"(?<=\d)(?: ?\^ ?)?\{? ?(?:\\text ?\{ ?)?(?:st|nd|rd|th)(?![a-zA-Z]) ?\}{0,2}", ""),
        (r"\\text ?\{ ?,? ?(?:and|or) ?\}|,? ?(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])|\\(?:lor|land)(?![a-z])", ","),
        (r"(?<=\d) ?\\text ?\{ ?to ?\} ?(?=\d)", ":"),
        (r"\^ ?(?:\\circ(?![a-zA-Z])|\{ ?\\circ ?\})|\\degree(?![a-zA-Z])", " degrees "),
        (r"\\text ?\{ ?(?:percent(?:age)?|pct) ?\}|(?<![a-zA-Z])(?:percent(?:age)?|pct)(?![a-zA-Z])|\\?%", r"\\%"),
        # One name each for matrices, relations, powers, the empty set.
        (r"\{(?:[bB]|small)matrix\}", "{pmatrix}"),
        (r"\(? ?\\begin ?\{array\} ?\{[lcr| ]*\}(.*?)\\end ?\{array\} ?\)?", r"\\begin{pmatrix}\1\\end{pmatrix}"),
        (r"\\begin ?\{cases\}([^&]*?)\\end ?\{cases\}", lambda match: match[1].replace("\\\\", ",")),
        (r"\\(?:leq|leqslant)(?![a-zA-Z])|<=", r"\\le "),
        (r"\\(?:geq|geqslant)(?![a-zA-Z])|>=", r"\\ge "),
        (r"\\neq(?![a-zA-Z])|\\not ?=| != ", r"\\ne "),
        (r"\\lt(?![a-zA-Z])", "<"),
        (r"\\gt(?![a-zA-Z])", ">"),
        (r"\*\*", "^"),
        (r"(?<=\d) x (?=10 ?\^)", r"\\times "),
        (r"(?<=\d)_ ?\{? ?(?:\\text ?\{)? ?(two|three|four|five|six|seven|eight|nine|ten) ?\}{0,2}",
         lambda match: f"_{_BASES[match[1]]}"),
        (r"_ ?\{ ?(\w) ?\}", r"_\1"),
        (r"\+ ?(?=\\infty)", ""),
        (r"(?<![a-zA-Z\\])infinity(?![a-zA-Z])|\\text ?\{ ?infinity ?\}", r"\\infty"),
        (r"\\\{ ?\\\}|\\varnothing(?![a-zA-Z])", r"\\emptyset"),
        # A rounded value alone, or after an exact one, and the variable that lies in a set.
        (r"^ ?(?:approximately|approx\.?|about|roughly|around) (?=\S)", ""),
        (r"^ ?\\(?:approx|simeq)(?![a-zA-Z]) ?", ""),
        (r"^ ?(\\?[a-zA-Z](?:_\w)? ?)\\(?:approx|simeq)(?![a-zA-Z]) ?", r"\1= "),
        (r"\\(?:approx|simeq)(?![a-zA-Z]).*", ""),
        (r"^ ?\\?[a-zA-Z] ?\\in(?![a-zA-Z])", ""),
        (r"(?=.{0,60}$)(\d{1,9}?)\1{2,} ?(?:\.\.\.|\\[lc]?dots)$", r"\\overline{\1}"),
    )
]  # fmt: skip
_SYNONYMS = {
    "no solution": "\\emptyset", "no solutions": "\\emptyset", "no real solution": "\\emptyset",
    "no real solutions": "\\emptyset", "empty set": "\\emptyset", "the empty set": "\\emptyset",
    "all real numbers": "\\mathbb{R}", "all reals": "\\mathbb{R}", "\\R": "\\mathbb{R}",
}  # fmt: skip


def clean(text: str) -> str:
    """The text in one spelling; texts that are spelled differently may still be equal in value."""
    text = answers.fold(unicodedata.normalize("NFC", text))
    if not text.isascii():
        text = "".join(_SYMBOLS.get(char) or vulgar_fraction(char, r" \frac{{{}}}{{{}}}") for char in text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = " ".join(text.split())
    text = _unwrapped(text).rstrip(".,;:\\ ").removeprefix("+").strip()
    return _SYNONYMS.get(text.lower(), text)


def _unwrapped(text: str) -> str:
    r"""Without `\text{}` around one word, or braces around something that is not a list."""
    wrapped = re.fullmatch(r"\\text ?\{ ?([^{} ]*|[nN]o [a-z ]*|[a-z ]*real[a-z ]*|[a-z ]*empty set) ?\}", text)
    text = wrapped[1] if wrapped else text.replace("{}", "")
    braced = re.fullmatch(_GROUP, text)
    return braced[1] if braced and "," not in braced[1] and not text.endswith("\\}") else text


# Words of two letters that make prose; "ab" and "dx" are mathematics.
_SHORT_WORDS = frozenset({
    "is", "of", "to", "in", "we", "it", "or", "at", "by", "so", "if", "as", "an", "be", "do", "no", "on", "up", "us",
    "my", "he", "am", "are",
})  # fmt: skip
_NAMES = frozenset({
    "sin", "cos", "tan", "sec", "csc", "cot", "log", "exp", "max", "min", "gcd", "lcm", "mod", "sinh", "cosh", "tanh",
    "arcsin", "arccos", "arctan", "sqrt", "and",
})  # fmt: skip


def is_prose(text: str) -> bool:
    r"""Whether a clean text is words rather than a formula; what stands in `\text{}` does not count."""
    bare = re.sub(r"\\(?:text|begin|end) ?\{[^{}]*\}", " ", text)
    found = re.findall(r"(?<![\\A-Za-z^_{])[A-Za-z]{2,}(?![A-Za-z(^_}])", bare)
    words = [word.lower() for word in found if len(word) > 2 or word.lower() in _SHORT_WORDS]
    foreign = re.search(r"[^\W\d_\x00-\x7fα-ωΑ-Ω]{2}", bare)
    return bool(foreign) or len([word for word in words if word not in _NAMES and not is_unit(word)]) >= 2
