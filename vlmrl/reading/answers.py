r"""What did the model answer: the marked span of a response, and the numbers in a text.

    extract("<think>2 + 1</think><answer>3</answer>")   -> Answer("3", marked=True)
    extract(r"so it is \boxed{\frac{1}{2}}.")           -> Answer(r"\frac{1}{2}", marked=True)
    extract("there are 3")                              -> Answer("there are 3", marked=False)
    find_numbers("twenty-one of 1,000")                 -> values 21 and 1000, with their places

Every function is total and linear in the length of its text: no input makes it raise or stall.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

MAX_DIGITS = 300
"""Longer strings of digits are not read as numbers (`int` itself refuses more than 4,300 digits)."""

_THINK = re.compile(r"</?think>", re.IGNORECASE)
_ANSWER = re.compile(r"<(/?)answer>", re.IGNORECASE)
_BOX_TOKEN = re.compile(r"<\|(begin|end)_of_box\|>")
_BRACE = re.compile(r"\\(?:boxed|fbox)\s*\{|\\[{}]|[{}]")
_FENCE = re.compile(r"```[^\n`]*\n?")
# Full-width ASCII, the ideographic space, and the characters that are printed as a minus sign.
_FOLD = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    0x3000: " ",
    0x00A0: " ",
    0x202F: " ",
    0x2212: "-",
    0xFE63: "-",
}


class Answer(NamedTuple):
    """What a response answers."""

    text: str
    marked: bool
    """Whether the response marked it (answer tags, box tokens, `\\boxed{}`), rather than being all of it."""


class Span(NamedTuple):
    """A piece of a text, with its place there."""

    text: str
    start: int
    end: int


class Number(NamedTuple):
    """A number in a text, exact, with its place there."""

    value: Fraction
    start: int
    end: int


def extract(response: str) -> Answer | None:
    """The last marked answer after the thinking, or all that follows the thinking; None if it never ended."""
    text = after_thinking(response)
    if text is None:
        return None
    marked = False
    for find in (last_tagged, last_box_token, last_boxed):
        inner = find(text)
        if inner is not None:
            text, marked = inner.text, True
    return Answer(unfenced(text).strip(), marked)


def after_thinking(response: str) -> str | None:
    """The text after the last `</think>`; where a `<think>` stays open, what stands between, None if nothing does."""
    start, open_at = 0, -1
    for match in _THINK.finditer(response):
        if match[0][1] == "/":
            start, open_at = match.end(), -1
        elif open_at < 0:
            open_at = match.start()
    if open_at < 0:
        return response[start:]
    before = response[start:open_at]
    return before if before.strip() else None


def last_tagged(text: str) -> Span | None:
    """The inside of the last `<answer>`; an unclosed one (a truncated response) reaches to the end."""
    start, found = -1, None
    for match in _ANSWER.finditer(text):
        if not match[1]:
            start = match.end()
        elif start >= 0:
            found, start = Span(text[start : match.start()], start, match.start()), -1
    return found if start < 0 else Span(text[start:], start, len(text))


def last_box_token(text: str) -> Span | None:
    """The inside of the last `<|begin_of_box|>...<|end_of_box|>` (GLM-4.1V)."""
    start, found = -1, None
    for match in _BOX_TOKEN.finditer(text):
        if match[1] == "begin":
            start = match.end()
        elif start >= 0:
            found, start = Span(text[start : match.start()], start, match.start()), -1
    return found


def boxes(text: str) -> list[Span]:
    r"""The insides of all outermost balanced `\boxed{}` and `\fbox{}`, in order."""
    if "\\boxed" not in text and "\\fbox" not in text:
        return []
    open_braces: list[tuple[bool, int, int]] = []
    found: list[Span] = []
    for match in _BRACE.finditer(text):
        token = match[0]
        if token in ("\\{", "\\}"):
            continue
        if token == "}":
            if not open_braces:
                continue
            is_box, at, inside = open_braces.pop()
            if is_box:
                while found and found[-1].start > at:
                    found.pop()
                found.append(Span(text[inside : match.start()], inside, match.start()))
        else:
            open_braces.append((token != "{", match.start(), match.end()))
    return found


def joined_boxes(text: str, found: Sequence[Span], joins: Callable[[str], object], most: int) -> list[Span]:
    """The last of the boxes and those before it that the text between joins to it, in order; at most `most`."""
    run = list(found[-1:])
    for box in reversed(found[-most:-1]):
        between = text[box.end + 1 : run[0].start].removesuffix("\\boxed{").removesuffix("\\fbox{")
        if not joins(between):
            break
        run.insert(0, box)
    return run


def last_boxed(text: str) -> Span | None:
    r"""The inside of the last outermost balanced `\boxed{}`."""
    found = boxes(text)
    return found[-1] if found else None


def unfenced(text: str) -> str:
    """The inside of the last closed code fence, or the text itself if it has none."""
    fences = list(_FENCE.finditer(text))
    if len(fences) < 2:
        return text
    last = len(fences) - len(fences) % 2
    return text[fences[last - 2].end() : fences[last - 1].start()]


def fold(text: str) -> str:
    """Full-width ASCII, printed minus signs and hard spaces as plain ASCII; length is kept."""
    return text.translate(_FOLD)


# --- numbers ----------------------------------------------------------------------------------------------

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
_NUMBER = re.compile(
    rf"(?<![A-Za-z0-9_.])(?:(?P<digits>(?:(?<![\w)])[+-])?(?:{_DIGITS}))(?!\.?[0-9]|st\b|nd\b|rd\b|th\b|[A-Za-z]*[0-9])"
    rf"|(?P<words>{_HUNDREDS}|{_BELOW_HUNDRED})(?!\w))",
    re.IGNORECASE,
)


def find_numbers(text: str) -> list[Number]:
    """All numbers in digits (`-1,234.5`) or words (`twenty-one`, `a hundred and five`), in order.

    Not numbers: ordinals (`3rd`), parts of names (`A3`, `3x4`), digit strings longer than `MAX_DIGITS`.
    """
    found = []
    for match in _NUMBER.finditer(fold(text)):
        if match.end() - match.start() > MAX_DIGITS:
            continue
        value = Fraction(match["digits"].replace(",", "")) if match["digits"] else _word_value(match["words"])
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
