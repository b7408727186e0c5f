r"""Mathematical notation: one spelling for LaTeX, Unicode and plain text, and the numbers written in it.

    clean(r"\dfrac12\,\text{cm}")     -> r"\frac{1}{2}\text{cm}"
    quantity(r"3 \frac{1}{2}\%")      -> Quantity(Fraction(7, 2), exact=True, percent=True, unit="")
    is_prose("the largest n is 34")   -> True

Texts are a few thousand characters at most; `vlmrl.verifiers.math` sees to that. Nothing here loads sympy.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from typing import NamedTuple

from vlmrl import answers

_SYMBOLS = {
    "π": "\\pi ",
    "∞": "\\infty ",
    "≤": "\\le ",
    "≥": "\\ge ",
    "≠": "\\ne ",
    "∪": "\\cup ",
    "∩": "\\cap ",
    "∖": "\\setminus ",
    "∅": "\\emptyset ",
    "·": "\\cdot ",
    "×": "\\times ",
    "÷": "/",
    "√": "\\sqrt ",
    "°": "^\\circ ",
} | {sign: f"^{{{digit}}}" for digit, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}

_REWRITES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\s+", " "),
        # Delimiters, currency, thin spaces, sizes.
        (r"\\\\,| ?\{ ?, ?\} ?", ","),
        (r"(?<!\\)\\[()\[\]!,;:> ]|\\?\$|~|\\(?:left|right|displaystyle|limits)(?![a-zA-Z])", ""),
        (r"\\q?quad(?![a-zA-Z])", " "),
        # Fractions and roots without braces, and those of Python.
        (r"\\[dtc]frac", r"\\frac"),
        (r"\\frac ?(\d) ?(\d|\{)", r"\\frac{\1}\2"),
        (r"(\\frac ?\{[^{}]*\}) ?(\d)", r"\1{\2}"),
        (r"\\frac \{", r"\\frac{"),
        (r"\\sqrt ?([0-9a-zA-Z])", r"\\sqrt{\1}"),
        (r"(?<![\\a-zA-Z])sqrt ?\(([^()]*)\)", r"\\sqrt{\1}"),
        # Words: fonts, conjunctions, degrees, percent.
        (r"\\(?:mathrm|mathbf|textbf|textnormal|textrm|mbox|operatorname) ?\{", r"\\text{"),
        (r"\\text\{ ?,? ?(?:and|or) ?\}|,? ?(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])", ","),
        (r"\^ ?(?:\\circ(?![a-zA-Z])|\{ ?\\circ ?\})|\\degree(?![a-zA-Z])", " degrees "),
        (r"\\text\{ ?(?:percent(?:age)?|pct) ?\}|(?<![a-zA-Z])(?:percent(?:age)?|pct)(?![a-zA-Z])|\\?%", r"\\%"),
        # One name each for matrices, relations, powers, the empty set.
        (r"\{[bBvV]matrix\}", "{pmatrix}"),
        (r"\\(?:leq|leqslant)(?![a-zA-Z])|<=", r"\\le "),
        (r"\\(?:geq|geqslant)(?![a-zA-Z])|>=", r"\\ge "),
        (r"\\lt(?![a-zA-Z])", "<"),
        (r"\\gt(?![a-zA-Z])", ">"),
        (r"\*\*", "^"),
        (r"\\\{ ?\\\}|\\varnothing(?![a-zA-Z])", r"\\emptyset"),
        # A rounded value after an exact one, and the variable that lies in a set.
        (r"\\(?:approx|simeq)(?![a-zA-Z]).*", ""),
        (r"^ ?\\?[a-zA-Z] ?\\in(?![a-zA-Z])", ""),
    )
]


def clean(text: str) -> str:
    """The text in one spelling; texts that are spelled differently may still be equal in value."""
    text = answers.fold(unicodedata.normalize("NFC", text))
    if not text.isascii():
        text = "".join(_SYMBOLS.get(char) or _vulgar_fraction(char) for char in text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = text.strip()
    word = re.fullmatch(r"\\text\{ ?([^{} ]*) ?\}", text)
    return (word[1] if word else text).rstrip(".,;:\\ ").removeprefix("+").strip()


def _vulgar_fraction(char: str) -> str:
    r"""`½` as ` \frac{1}{2}`, any other character as it is."""
    above, slash, below = unicodedata.normalize("NFKC", char).partition("⁄")
    return f" \\frac{{{above}}}{{{below}}}" if slash and above and below else char


def is_prose(text: str) -> bool:
    r"""Whether a clean text is words rather than a formula; what stands in `\text{}` is no word here."""
    bare = re.sub(r"\\(?:text|begin|end)\{[^{}]*\}", " ", text)
    words = re.findall(r"(?<![\\A-Za-z])[A-Za-z]{2,}(?![A-Za-z(])", bare)
    foreign = re.search(r"[^\W\d_\x00-\x7fα-ωΑ-Ω]{2}", bare)
    return bool(foreign) or len([word for word in words if word.lower() not in _NO_WORDS]) >= 2


# --- numbers ----------------------------------------------------------------------------------------------

# fmt: off
_UNITS = frozenset({
    "mm", "cm", "dm", "km", "in", "ft", "yd", "mi", "mg", "kg", "lb", "oz", "ml", "cl", "sec", "min", "hr",
    "rad", "deg", "mph", "kph", "rpm", "hz", "sq", "cubic", "square", "per", "inch", "inche", "foot",
    "feet", "yard", "mile", "meter", "metre", "gram", "liter", "litre", "second", "minute", "hour", "day",
    "week", "month", "year", "degree", "radian", "dollar", "cent", "euro", "yuan", "rupee", "pound",
    "unit", "people", "student", "way", "m", "s", "g", "h", "l", "k",
})
# fmt: on
_NAMES = {"sin", "cos", "tan", "sec", "csc", "cot", "log", "ln", "exp", "max", "min", "pi", "sqrt", "mod"} | {
    *("sinh", "cosh", "tanh", "asin", "acos", "atan", "alpha", "beta", "gamma", "delta", "theta", "lambda"),
}
_NO_WORDS = _UNITS | {unit + "s" for unit in _UNITS} | _NAMES
_SAME_UNIT: dict[str, str] = {
    "m": "meter", "metre": "meter", "cm": "centimeter", "km": "kilometer", "mm": "millimeter", "g": "gram",
    "kg": "kilogram", "s": "second", "sec": "second", "min": "minute", "h": "hour", "hr": "hour", "deg": "degree",
    "in": "inch", "inche": "inch", "ft": "foot", "feet": "foot", "l": "liter", "litre": "liter",
}  # fmt: skip

_DECIMAL = r"(?:\d{1,3}(?:[, ]\d{3})+(?!\d)|\d{1,300})(?:\.\d{0,300})?|\.\d{1,300}"
_POWER = r" ?(?:\\times|\\cdot|\*) ?10 ?\^ ?\{? ?(?P<power>-?\d{1,3}) ?\}?|[eE](?P<exponent>[+-]?\d{1,3})"
_QUANTITY = re.compile(
    r"(?P<sign>-?) ?(?:"
    r"(?P<whole>\d{1,15})? ?\\frac ?\{ ?(?P<a>-?\d{1,300}) ?\} ?\{ ?(?P<b>\d{1,300}) ?\}"
    r"|(?:(?P<plain_whole>\d{1,15}) )?(?P<c>\d{1,300}) ?/ ?(?P<d>\d{1,300})"
    rf"|(?P<decimal>{_DECIMAL})(?:{_POWER})?"
    r"|10 ?\^ ?\{? ?(?P<ten>-?\d{1,3}) ?\}?"
    r")(?P<unit>(?: ?(?:\\text\{[^{}]*\}|\\%|[a-zA-Z]+(?![a-zA-Z(\\])|(?<=[a-zA-Z}]) ?\^ ?\{?[23]\}?|/))*)"
)


class Quantity(NamedTuple):
    """A number with what is written after it."""

    value: Fraction
    exact: bool
    """Written without a decimal point."""
    percent: bool
    unit: str
    """Its words, singular and in lower case; "" if there are none."""


def quantity(text: str) -> Quantity | None:
    """The number that a clean text is, perhaps in parentheses or with a unit; None if it is anything else."""
    if text.startswith("(") and text.endswith(")") and text.count("(") == 1:
        text = text[1:-1].strip()
    match = _QUANTITY.fullmatch(text)
    value = _value(match) if match else None
    if match is None or value is None:
        return None
    words = [str(word).lower().removesuffix("s") for word in re.findall(r"[a-zA-Z]+", _untext(match["unit"]))]
    if "\\text" not in match["unit"] and not all(map(_is_unit, words)):
        return None
    unit = " ".join(_SAME_UNIT.get(word, word) for word in words)
    return Quantity(value, "." not in (match["decimal"] or ""), "\\%" in match["unit"], unit)


def _is_unit(word: str) -> bool:
    """Known units, and whatever else is counted: apples, chairs."""
    return word in _UNITS or word == "" or (len(word) >= 4 and word not in _NAMES)


def _untext(text: str) -> str:
    return re.sub(r"\\text\{([^{}]*)\}", r" \1 ", text)


def _value(match: re.Match[str]) -> Fraction | None:
    """The exact number of a match; None for a division by zero."""
    above, below = match["a"] or match["c"], match["b"] or match["d"]
    if match["ten"]:
        value = Fraction(10) ** int(match["ten"])
    elif above:
        if int(below) == 0:
            return None
        value = Fraction(int(above), int(below)) + int(match["whole"] or match["plain_whole"] or 0)
    else:
        digits = re.sub(r"[^\d.]", "", match["decimal"])
        value = Fraction(digits) * Fraction(10) ** int(match["power"] or match["exponent"] or 0)
    return -value if match["sign"] else value


def equal_quantities(said: Quantity, true: Quantity, tolerance: float) -> bool:
    """Whether two numbers agree: exactly if both are written exactly, else within `tolerance` of the true one.

    33.5% equals 0.335 and 33.5. A unit may be missing; two different units differ.
    """
    if said.unit and true.unit and said.unit != true.unit:
        return False
    scales = [Fraction(1)]
    if said.percent != true.percent:
        scales.append(Fraction(1, 100) if said.percent else Fraction(100))
    slack = Fraction(0) if said.exact and true.exact else Fraction(tolerance) * abs(true.value)
    return any(abs(said.value * scale - true.value) <= slack for scale in scales)
