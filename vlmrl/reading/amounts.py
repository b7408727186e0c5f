r"""Amounts: the exact numbers in free text with their percent sign and unit.

    amounts(plain(r"so it is $1.5 \times 10^{3}$ cm"))     -> [Amount(value=1500, unit=("cm",), ...)]
    amounts(plain("2.5 million of 三百万, a dozen"))         -> values 2500000, 3000000 and 12

Which of them a text commits to: `vlmrl.reading.commitments`. (`vlmrl.reading.quantities` reads numbers of mathematical
texts.)
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from vlmrl.reading import answers, markup
from vlmrl.reading.markup import mentions
from vlmrl.reading.numbers import Number, find_numbers, parse_number
from vlmrl.reading.quantities import vulgar_fraction


class Amount(NamedTuple):
    """A number with its place in a plain text and the unit around it."""

    value: Fraction
    percent: bool
    unit: tuple[str, ...]
    """The currency before it, or the words that follow; in a target these are the unit and nothing else."""
    start: int
    end: int


_REWRITES = [
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"\^\s?(?:\\circ|\{\s?\\circ\s?\})|\\degree|°", " degrees "),
        # Fractions, powers, a minus sign before a currency.
        (r"(?<=\d)\s?(?=\\[dtc]?frac)", " "),
        (r"\\[dtc]?frac\s?\{\s?(-?\d{1,40})\s?\}\s?\{\s?(\d{1,40})\s?\}", r"\1/\2"),
        (r"\\[dtc]?frac\s?(\d)\s?(\d)", r"\1/\2"),
        (r"\band\s+a\s+half\b", " 1/2"),
        (r"\bhalf a dozen\b", "6"),
        (r"\b(?:an?|one)\s+(?=dozen\b)", "1 "),
        (r"\^\s?\{\s?([+-]?\d{1,3})\s?\}", r"^\1"),
        (r"([+-])\s?([$€£¥])\s?(?=[\d.])", r"\2\1"),
        (r"[ \t]+", " "),
    )
]
# Numerals before a measure word, or where nothing but a verb and a stop is around them.
_NUMERAL = "[零〇一二两三四五六七八九十百千]"
_MEASURE = "[个個只隻条條张張块颗名位辆輛头匹件本支根棵朵座栋架艘台年岁人元米把双瓶杯盘碗片份层行列组群对口间家枚串]"
_CHINESE = re.compile(
    rf"(?<![第同另这那每某哪])(?<!{_NUMERAL})"
    rf"(?:(?:(?!一(?!{_NUMERAL})){_NUMERAL}{{1,12}}|(?:(?<=[有共是为只仅：:，,、])|^\s*)一)(?=\s?(?:{_MEASURE}|[万亿]|[到至]{_NUMERAL}))"
    rf"|一(?={_MEASURE}\s*(?:[。.，,；;]|$))"
    rf"|(?:(?<=[有共是为：:])|^\s*){_NUMERAL}{{1,12}}(?=\s*(?:[。.，,；;]|$)))"
)
_CHINESE_DIGITS = {digit: value for value, digit in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_CHINESE_POWERS = {"十": 10, "百": 100, "千": 1000}
_PARTS: dict[str, int] = {
    "half": 2, "halve": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "eighth": 8, "tenth": 10,
}  # fmt: skip
# Whether any of the above, a power of ten or a fraction may be in a text.
_REWRITTEN = re.compile(r"[\\{}$^*_`/|\t]|\d\s?[eExX]")
_WORDS = ("  ", "hal", "dozen", *(part for part in _PARTS if part[:3] != "hal"))
_SUPERSCRIPTS = re.compile("[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_SPOKEN_PART = re.compile(
    rf"\b(an?|one|two|three|four|five|six|seven|eight|nine)[ -]({'|'.join(_PARTS)})s?\b", re.IGNORECASE
)
_SCIENTIFIC = re.compile(
    r"(?<![\w.])(?:(?P<mantissa>[+-]?\d{1,40}(?:\.\d{1,40})?)(?:e(?P<e>[+-]?\d{1,2})"
    r"|\s?(?:\\times|\\cdot|[×·*x])\s?10\^(?P<power>[+-]?\d{1,2}))|10\^(?P<ten>[+-]?\d{1,2}))(?!\w|\.\d)",
    re.IGNORECASE,
)
_ASIDE = re.compile(r"\((?![^()]*\b(?:or|maybe|perhaps|possibly)\b|(?:wrong|incorrect|false)\))[^()]*\)", re.IGNORECASE)
_MAGNITUDE = re.compile(
    r"[\s-]?(?:(dozen)\b|(hundred)s?\b|(thousand)s?\b|(million|mn|mln)s?\b|(billion|bn)s?\b|(trillion)s?\b|(万)|(亿))"
    r"|(?-i:(K)|(M)|(B))(?![\w/^])",
    re.IGNORECASE,
)
_FACTORS = (12, 10**2, 10**3, 10**6, 10**9, 10**12, 10**4, 10**8, 10**3, 10**6, 10**9)
_SIGN = re.compile(r"(?:^|[^\w\s]\s*|\b(?:is|equals|be)\s)(?:minus|negative)\s$")
_PERCENT = re.compile(r"\s?(?:%|per ?cent\b|percentage points?\b|pct\b)", re.IGNORECASE)
_UNIT = re.compile(r"\s?((?:[^\W\d_]|\^-?\d|[/·*-]|\s(?=(?:/\s?)?[^\W\d_]))*)")
_EXPONENT = re.compile(r"[^\W\d_]\^$")
_UNIT_NAMES = (
    "m meter metre|cm centimeter centimetre|mm millimeter millimetre|km kilometer kilometre|in inche inch|ft foot feet"
    "|s sec second|min minute|h hr hour|g gram|kg kilogram|l L liter litre|N newton|V volt|W watt|J joule|Hz hertz"
    "|degree deg|C celsius|F fahrenheit|$ dollar usd|€ euro eur|£ pound gbp|¥ yuan cny rmb|per /"
)
# A word that follows a number without being its unit.
_NO_UNIT = frozenset({
    "and", "are", "as", "at", "because", "but", "by", "for", "from", "if", "in", "is", "on", "or", "since", "so",
    "that", "was", "were", "when", "which",
})  # fmt: skip


def plain(text: str) -> str:
    """The text without LaTeX and markup, powers of ten written out, and without asides in parentheses."""
    if text.isascii() and not _REWRITTEN.search(text) and not mentions(text, _WORDS):
        return without_asides(text)
    text = "".join(vulgar_fraction(char, " {}/{}") for char in text) if not text.isascii() else text
    text = _SUPERSCRIPTS.sub(lambda match: "^" + unicodedata.normalize("NFKC", match[0]), text)
    text = answers.fold(re.sub(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))", "", text))
    text = markup.plain(text)
    text = text if text.isascii() else _CHINESE.sub(_written_chinese, text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return without_asides(_SPOKEN_PART.sub(_written_part, _SCIENTIFIC.sub(_written_out, text)))


def without_asides(text: str) -> str:
    """The text without what it adds in parentheses, if a number is left: "3 dogs (two black, one white)"."""
    shorter = _ASIDE.sub(" ", text) if "(" in text else text
    return shorter if shorter != text and find_numbers(shorter) else text


def _written_part(match: re.Match[str]) -> str:
    """`three quarters` as `3/4`."""
    number = parse_number(match[1])
    return f"{int(number) if number else 1}/{_PARTS[match[2].lower()]}"


def _written_chinese(match: re.Match[str]) -> str:
    """`一百零五` as `105`; `三四`, one or the other, as `3-4`."""
    numeral = match[0].strip()
    digits = [_CHINESE_DIGITS[char] for char in numeral if char in _CHINESE_DIGITS]
    if len(digits) == len(numeral) > 1:
        return "-".join(map(str, digits))
    total, digit = 0, None
    for char in numeral:
        if char in _CHINESE_POWERS:
            total += (1 if digit is None else digit) * _CHINESE_POWERS[char]
            digit = None
        else:
            digit = _CHINESE_DIGITS[char] or None
    return str(total + (digit or 0))


def _written_out(match: re.Match[str]) -> str:
    """`1.5e3` as `1500`."""
    mantissa = (match["mantissa"] or "1").replace(",", "")
    return format(Decimal(f"{mantissa}e{match['e'] or match['power'] or match['ten']}"), "f")


def amounts(text: str) -> list[Amount]:
    """All numbers of a plain text, in order."""
    numbers = find_numbers(text)
    if "^" in text:
        numbers = [n for n in numbers if not _EXPONENT.search(text, max(0, n.start - 2), n.start)]
    if "minus" in text or "negative" in text:
        numbers = [_signed(text, number) for number in numbers]
    for rule in (_as_fraction, _as_mixed) if "/" in text else ():
        joined: list[Number] = []
        for number in numbers:
            value = rule(text, joined[-1], number) if joined else None
            joined.append(number if value is None else Number(value, joined.pop().start, number.end))
        numbers = joined
    return [_amount(text, number) for number in numbers]


def _signed(text: str, number: Number) -> Number:
    """`negative five` as -5."""
    sign = _SIGN.search(text[max(0, number.start - 30) : number.start])
    return number._replace(value=-number.value) if sign else number


def _as_fraction(text: str, a: Number, b: Number) -> Fraction | None:
    """`3/4`, but nothing of the date `3/4/2020`."""
    whole = a.value.denominator == b.value.denominator == 1 and b.value != 0
    alone = text[max(0, a.start - 1) : a.start] != "/" and text[b.end : b.end + 1] != "/"
    return a.value / b.value if whole and alone and text[a.end : b.start].strip() == "/" else None


def _as_mixed(text: str, a: Number, b: Number) -> Fraction | None:
    """`1 1/2`."""
    fits = a.value.denominator == 1 and 0 < b.value < 1 and "/" in text[b.start : b.end]
    if not fits or text[a.end : b.start] != " ":
        return None
    return a.value - b.value if a.value < 0 else a.value + b.value


def _amount(text: str, number: Number) -> Amount:
    """The number with its magnitude, percent sign and unit."""
    value, end = number.value, number.end
    if end == len(text) and text[max(0, number.start - 2) : number.start].isspace():
        return Amount(value, False, (), number.start, end)
    while (match := _MAGNITUDE.match(text, end)) and end < number.end + 40:
        value, end = value * _FACTORS[(match.lastindex or 1) - 1], match.end()
    percent = _PERCENT.match(text, end)
    end = percent.end() if percent else end
    currency = text[max(0, number.start - 2) : number.start].strip()[-1:]
    if currency and currency in "$€£¥":
        return Amount(value, bool(percent), (currency,), number.start, end)
    after = _UNIT.match(text[end : end + 60])
    words = re.findall(r"[^\W\d_]+(?:\^-?\d)?|/", after[1]) if after else []
    return Amount(value, bool(percent), tuple(map(_unit_name, words)), number.start, end)


def _unit_name(word: str) -> str:
    """One name for a unit's names; those of one or two letters differ by case."""
    singular = word.lower().removesuffix("s") if len(word) > 2 else word
    return _SAME_UNIT.get(singular, singular)


_SAME_UNIT = {name: names.split()[0] for names in _UNIT_NAMES.split("|") for name in names.split()}


def same_unit(said: tuple[str, ...], true: tuple[str, ...], may_lack: bool) -> bool:
    """Whether the words after a number begin with the true unit, or hold none and may."""
    if not true or (said[: len(true)] == true and said[len(true) : len(true) + 1] != ("per",)):
        return True
    return may_lack and (not said or (said[0] in _NO_UNIT and said != ("in",)))
