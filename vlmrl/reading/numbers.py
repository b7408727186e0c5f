"""Numbers: those of a text in digits and words.

    find_numbers("twenty-one of 1,000")     -> values 21 and 1000, with their places
    parse_number("1,000.")                  -> 1000; of "3 dogs", None

Spine of `vlmrl.reading`. Every function is total and linear in the length of its text.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from vlmrl.reading.markup import fold, mentions

MAX_DIGITS = 300
"""Longer strings of digits are not read as numbers (`int` itself refuses more than 4,300 digits)."""


class Number(NamedTuple):
    """A number in a text, exact, with its place there."""

    value: Fraction
    start: int
    end: int


_ONES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = (
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS = {word: value for value, word in enumerate(("zero", *_ONES, "ten", *_TEENS))}
_WORDS |= {word: 10 * value for value, word in enumerate(_TENS, 2)}
_WORD = "|".join(sorted(_WORDS, key=len, reverse=True))
_BELOW_HUNDRED = rf"(?:(?:{'|'.join(_TENS)})(?:[ -](?:{'|'.join(_ONES)}))?|{_WORD})"
_HUNDREDS = rf"(?:an?|{_BELOW_HUNDRED})[ -]hundred(?:(?:[ -]and)?[ -]{_BELOW_HUNDRED})?"
_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+"
_ALONE = rf"(?:(?<![\w)])[+-])?(?:{_DIGITS})(?!\.?[0-9]|st\b|nd\b|rd\b|th\b|[A-Za-z]*[0-9])"
_IN_DIGITS = re.compile(rf"(?<![A-Za-z0-9_.]){_ALONE}", re.IGNORECASE)
_NUMBER = re.compile(
    rf"(?<![A-Za-z0-9_.])(?:{_ALONE}|(?P<words>{_HUNDREDS}|{_BELOW_HUNDRED})(?!\w))",
    re.IGNORECASE,
)
# A part of each number word, for a quick look.
_PARTS = ("zero", *_ONES, "ten", "eleven", "twel", "twen", "thir", "fif", "for", "hundred")


def find_numbers(text: str) -> list[Number]:
    """All numbers in digits (`-1,234.5`) or words (`twenty-one`, `a hundred and five`), in order.

    Not numbers: ordinals (`3rd`), parts of names (`A3`, `3x4`), digit strings longer than `MAX_DIGITS`.
    """
    found = []
    text = fold(text)
    pattern = _NUMBER if mentions(text, _PARTS) else _IN_DIGITS
    for match in pattern.finditer(text):
        said = match[0]
        if len(said) > MAX_DIGITS:
            continue
        value = int(said) if said.isdecimal() else _word_value(said) if match.lastgroup else said.replace(",", "")
        found.append(Number(Fraction(value), match.start(), match.end()))
    return found


def parse_number(text: str) -> Fraction | None:
    """The number that is the whole text, but for white space and a final full stop; None if there is none."""
    text = fold(text).strip().removesuffix(".")
    if len(text) > MAX_DIGITS:
        return None
    numbers = find_numbers(text)
    if len(numbers) == 1 and (numbers[0].start, numbers[0].end) == (0, len(text)):
        return numbers[0].value
    return None


def _word_value(words: str) -> int:
    """`a hundred and five` -> 105."""
    head, hundred, tail = words.lower().replace("-", " ").rpartition("hundred")
    below = sum(_WORDS[word] for word in tail.split() if word != "and")
    if not hundred:
        return below
    return 100 * (sum(_WORDS.get(word, 1) for word in head.split())) + below
