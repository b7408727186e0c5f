r"""Quantities: the numbers that clean mathematical texts are, exact, with their percent sign and unit.

    quantity(r"3 \frac{1}{2}\%")      -> 7/2, percent
    quantity("1,234.5 km")            -> 2469/2 of 1000 metres
    quantity(r"0.1\overline{6}")      -> 1/6
    quantity("5x")                    -> None

Units convert within their kind (100 cm are 1 m). What is counted ("5 apples") is a unit too.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from fractions import Fraction
from typing import NamedTuple

from vlmrl.reading.numbers import find_numbers

PERCENT = ("either", "share", "number")
"""What 5% equals: 0.05 and 5, 0.05 alone, 5 alone."""


class Quantity(NamedTuple):
    """A number with what is written around it."""

    value: Fraction
    exact: bool
    """Written without a decimal point."""
    percent: bool = False
    kind: frozenset[tuple[str, int]] = frozenset()
    """The units and their exponents, after conversion to one unit of each kind; empty without a unit."""
    factor: Fraction = Fraction(1)
    """How many of these make one of the unit that was written."""


def vulgar_fraction(char: str, form: str) -> str:
    """`½` with 1 and 2 in the form, any other character as it is."""
    above, slash, below = unicodedata.normalize("NFKC", char).partition("⁄")
    return form.format(above, below) if slash and above and below else char


# --- units ------------------------------------------------------------------------------------------------

_METRIC = {"m": "meter", "g": "gram", "l": "liter"}
_PREFIXES = {"n": "nano", "u": "micro", "m": "milli", "c": "centi", "d": "deci", "": "", "k": "kilo"}
_POWERS = dict(zip(_PREFIXES, ("1e-9", "1e-6", "1e-3", "1e-2", "1e-1", "1", "1e3"), strict=True))
# name -> (unit of its kind, how many of those it is); a plural s is dropped before.
_OTHER = {
    "inch": ("meter", "0.0254"), "in": ("meter", "0.0254"), "inche": ("meter", "0.0254"), "ft": ("meter", "0.3048"),
    "foot": ("meter", "0.3048"), "feet": ("meter", "0.3048"), "yd": ("meter", "0.9144"), "yard": ("meter", "0.9144"),
    "mi": ("meter", "1609.344"), "mile": ("meter", "1609.344"), "ton": ("gram", "1e6"), "ms": ("second", "1e-3"),
    "s": ("second", "1"), "sec": ("second", "1"), "second": ("second", "1"), "min": ("second", "60"),
    "minute": ("second", "60"), "h": ("second", "3600"), "hr": ("second", "3600"), "hour": ("second", "3600"),
    "day": ("second", "86400"), "week": ("second", "604800"), "dollar": ("dollar", "1"), "usd": ("dollar", "1"),
    "cent": ("dollar", "0.01"), "penny": ("dollar", "0.01"), "pennie": ("dollar", "0.01"),
}  # fmt: skip
_ALONE = {
    "n", "j", "w", "v", "a", "k", "c", "f", "hz", "pa", "mol", "lb", "oz", "year", "month", "degree", "rad", "euro",
    "pound", "yuan", "rupee", "student", "people", "way",
}  # fmt: skip
_CONVERSIONS = (
    {name: (name, Fraction(1)) for name in _ALONE}
    | {name: (kind, Fraction(factor)) for name, (kind, factor) in _OTHER.items()}
    | {
        name: (kind, Fraction(_POWERS[short]))
        for letter, kind in _METRIC.items()
        for short, long in _PREFIXES.items()
        for name in (short + letter, long + kind)
    }
)
_ALIASES = {
    "deg": "degree", "radian": "rad", "yr": "year", "newton": "n", "joule": "j", "watt": "w", "volt": "v",
    "ampere": "a", "amp": "a", "kelvin": "k", "celsiu": "c", "fahrenheit": "f", "ounce": "oz", "hertz": "hz",
    "元": "yuan", "厘米": "cm", "米": "m", "千米": "km", "公里": "km", "公斤": "kg", "千克": "kg", "克": "g",
    "小时": "h", "分钟": "min", "秒": "s", "度": "degree", "天": "day", "年": "year",
}  # fmt: skip
_LETTERS = frozenset("msghlLNJWVAKCF")
"""Units of one letter, which do keep their case."""
_COMPOUND = {"mph": ["mi", "/", "h"], "kph": ["km", "/", "h"], "kmh": ["km", "/", "h"]}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_PREFIX_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_PERCENT_WORDS = {"percent", "percentage", "pct"}
_NO_KIND = {"unit", "old", "point", "total"}
# What may follow a number but is nothing that is counted.
_NO_UNIT = frozenset({
    "sin", "cos", "tan", "csc", "cot", "log", "exp", "max", "sqrt", "mod", "sinh", "cosh", "tanh", "asin", "acos",
    "atan", "alpha", "beta", "gamma", "delta", "theta", "lambda", "plus", "minus", "over", "divided", "less",
    "more", "than", "least", "most", "half", "third", "quarter", "negative", "maybe", "either", "squared", "cubed",
    "unless", "else", "fact", "infinity", "factorial", "choose", "with", "without", "approximately", "about", "root",
    "cube", "other", "there", "then", "pmatrix", "vmatrix", "matrix", "array", "begin", "quad", "text", "frac",
    "overline",
})  # fmt: skip
_UNIT_TOKEN = re.compile(r"\^ ?\{? ?(-?[1-9]) ?\}?|([a-zA-Z]+|[^\W\d_\x00-\x7f]+)|/")


def is_unit(word: str) -> bool:
    """Whether a word is a known unit, so that it makes no prose of a formula."""
    name = _singular(word)
    return name in _CONVERSIONS or name in _COMPOUND or name in _PREFIX_POWERS or name in _NO_KIND


def follows_number(word: str) -> bool:
    """Whether a word after a number changes what it is: a unit, a scale like "million", "percent"."""
    return is_unit(word) or _singular(word) in _SCALES or word.lower() in _PERCENT_WORDS


def _singular(word: str) -> str:
    """`hours` -> `hour`, `metre` -> `meter`; the case of a word carries no meaning here."""
    name = word.lower()
    name = name.removesuffix("s") if len(name) > 2 else name
    name = name[:-2] + "er" if name.endswith(("metre", "litre")) else name
    return _ALIASES.get(name, name)


def _unit(text: str) -> tuple[frozenset[tuple[str, int]], Fraction, int] | None:
    """The kind of a unit, its factor, and a scale such as million; None if the text is not a unit."""
    kinds: Counter[str] = Counter()
    factor, scale, sign, power, last = Fraction(1), 1, 1, 1, ""
    for match in _UNIT_TOKEN.finditer(_spelled(text)):
        exponent, word = match[1], match[2]
        name = _singular(word) if word else ""
        if len(name) == 1 and name.isascii() and word not in _LETTERS:
            return None
        if exponent and last:
            kind, one = _CONVERSIONS.get(last, (last, Fraction(1)))
            more = sign * (int(exponent) - 1)
            kinds[kind] += more
            factor *= one**more
        elif name in _PREFIX_POWERS:
            power = _PREFIX_POWERS[name]
        elif name in _SCALES:
            scale *= _SCALES[name]
        elif name == "per" or match[0] == "/":
            sign = -1
        elif name and name not in _NO_KIND:
            if name not in _CONVERSIONS and ({word.lower(), name} & _NO_UNIT or (len(name) < 3 and name.isascii())):
                return None
            kind, one = _CONVERSIONS.get(name, (name, Fraction(1)))
            kinds[kind] += sign * power
            factor *= one ** (sign * power)
            last, power = name, 1
    return frozenset((kind, power) for kind, power in kinds.items() if power), factor, scale


def _spelled(text: str) -> str:
    text = re.sub(r"\\text ?\{([^{}]*)\}", r" \1 ", text).replace("\\Omega", "ohm")
    words = (" ".join(_COMPOUND.get(_singular(word), [word])) for word in re.split(r"([a-zA-Z]+)", text))
    return "".join(words)


# --- numbers ----------------------------------------------------------------------------------------------

_DECIMAL = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,3}(?: \d{3})+(?!\d)|\d{1,300})(?:\.\d{0,300})?|\.\d{1,300}"
_POWER = r" ?(?:\\times|\\cdot|\*) ?10 ?\^ ?\{? ?(?P<power>-?\d{1,3}) ?\}?|[eE](?P<exponent>[+-]?\d{1,3})"
_QUANTITY = re.compile(
    r"(?P<minus>-?) ?(?P<money>\\dollar|[€£¥]|Rs\.?|US(?:D|\\dollar))? ?(?P<sign>-?) ?(?:"
    r"(?P<whole>\d{1,15})? ?\\frac ?\{ ?(?P<a>-?\d{1,300}) ?\} ?\{ ?(?P<b>-?\d{1,300}) ?\}"
    r"|(?:(?P<plain_whole>\d{1,15}) )?(?P<c>\d{1,300}) ?/ ?(?P<d>\d{1,300})"
    r"|(?P<start>\d{0,30}\.\d{0,30})\\(?:overline|bar|dot) ?\{ ?(?P<period>\d{1,30}) ?\}"
    rf"|(?P<decimal>{_DECIMAL})(?:{_POWER})?"
    r"|10 ?\^ ?\{? ?(?P<ten>-?\d{1,3}) ?\}?"
    r")(?P<unit>(?: ?(?:\\text ?\{[^{}]{0,60}\}|\\%|\\Omega|[a-zA-Z]+(?![a-zA-Z(\\])|[^\W\d_\x00-\x7f]+|/"
    r"|(?<=[a-zA-Z}]) ?\^ ?\{? ?-?[1-9] ?\}?)){0,12})"
)
_MONEY_SIGNS = {
    "\\dollar": "dollar", "USD": "dollar", "US\\dollar": "dollar", "€": "euro", "£": "pound", "¥": "yuan",
    "Rs": "rupee", "Rs.": "rupee",
}  # fmt: skip
_UNIT_END = re.compile(
    r"((?: ?\\text ?\{[^{}]{1,60}\}(?: ?\^ ?\{?[23]\}?)?|(?: |(?<=\}))[a-z]{2,12}(?:\^(?:[23]|\{[23]\}))?)+)$"
)

_NAME = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z](?![a-zA-Z])|\\(?:cdot|times) ?$")
_LETTER_END = re.compile(r"( [ms](?: ?\^ ?\{?[23]\}?)?(?: ?/ ?s(?: ?\^ ?\{?2\}?)?)?)$")


def quantity(text: str) -> Quantity | None:
    """The number that a clean text is, perhaps in parentheses or with a unit; None if it is anything else."""
    if text.startswith("(") and text.endswith(")") and text.count("(") == 1 and "," not in text:
        text = text[1:-1].strip()
    match = _QUANTITY.fullmatch(text)
    if match is None:
        text = re.sub(r"^\\text ?\{([^{}]*)\}$", r"\1", text)
        word = find_numbers(text)[:1] if text[:1].isalpha() else []
        return quantity(f"{word[0].value}{text[word[0].end :]}") if word and word[0].start == 0 else None
    value, unit = _value(match), _unit(match["unit"].replace("\\%", ""))
    if value is None or unit is None:
        return None
    kind, factor, scale = unit
    if match["money"]:
        kind = kind | {(_MONEY_SIGNS[match["money"]], 1)}
    exact = match["period"] is not None or "." not in (match["decimal"] or "")
    return Quantity(value * scale, exact, "\\%" in match["unit"], kind, factor)


def without_unit(text: str) -> tuple[str, Quantity | None]:
    r"""A clean expression without the unit at its end, and that unit, as one of it: `25\pi\text{ cm}`.

    The letters m and s are units where they stand apart from a value without names: `2\sqrt{5} m`.
    """
    match = _UNIT_END.search(text)
    if not match and (letter := _LETTER_END.search(text)) and not _NAME.search(text, 0, letter.start()):
        match = letter
    one = quantity("1" + match[1]) if match and match.start() > 0 else None
    if not match or not one or one.value != 1 or one.percent:
        return text, None
    known = match[1][0] in " \\" or is_unit(re.sub(r"\^\{?\d\}?", "", match[1]))
    return (text[: match.start()], one) if known else (text, None)


def _value(match: re.Match[str]) -> Fraction | None:
    """The exact number of a match; None for a division by zero."""
    above, below = match["a"] or match["c"], match["b"] or match["d"]
    if match["ten"]:
        value = Fraction(10) ** int(match["ten"])
    elif above:
        if int(below) == 0:
            return None
        value = Fraction(int(above), int(below)) + int(match["whole"] or match["plain_whole"] or 0)
    elif match["period"]:
        head, period = match["start"], match["period"]
        tail = Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(head.partition(".")[2]))
        value = Fraction(head if head.strip(".") else "0") + tail
    else:
        digits = re.sub(r"[^\d.]", "", match["decimal"])
        value = Fraction(digits) * Fraction(10) ** int(match["power"] or match["exponent"] or 0)
    return -value if match["minus"] or match["sign"] else value


def equal_quantities(said: Quantity, true: Quantity, tolerance: float, percent: str = "either") -> bool:
    """Whether two numbers agree: exactly if both are written exactly, else within `tolerance` of the true one.

    A unit may be missing; two units must be of one kind. `percent`: one of `PERCENT`.
    """
    if said.kind and true.kind and said.kind != true.kind:
        return False
    if (said.percent and true.kind) or (true.percent and said.kind):
        return False
    conversion = said.factor / true.factor if said.kind and true.kind else Fraction(1)
    scales = [conversion]
    if said.percent != true.percent and percent != "number":
        share = Fraction(1, 100) if said.percent else Fraction(100)
        scales = [share] if percent == "share" else [Fraction(1), share]
    slack = Fraction(0) if said.exact and true.exact else Fraction(repr(tolerance)) * abs(true.value)
    return any(abs(said.value * scale - true.value) <= slack for scale in scales)
