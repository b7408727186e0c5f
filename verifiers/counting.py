"""Counting: the one number that the answer commits to, against the true count.

Digits and number words count alike. In free text the last number is the answer ("of 10 boxes, 3 are open").
An answer that keeps several numbers open is wrong, whatever they are: "3 or 4", "between 0 and 10",
"3-5", "at least 2", "1, 2, 3". (Models trained with a lenient judge learn to answer "a correct number
between 0 and 10": GLM-4.1V report, arXiv 2507.01006, section 5.3.)

    vlmrl check counting
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from vlmrl.reading import answers
from vlmrl.reading.amounts import without_asides
from vlmrl.reading.answers import Number
from vlmrl.verdict import Example, Verdict, bad_target, unparsed

EXAMPLES = [
    Example("There are 3 dogs, so 3.", 3, 1.0),
    Example("<think>4? no</think><answer>three</answer>", 3, 1.0),
    Example(r"First 2, then \boxed{3}", 3, 1.0),
    Example("3 apples and 4 pears, so 7 in total.", 7, 1.0),
    Example("4", 3, 0.0),
    Example("3 or 4", 3, 0.0),
    Example("a correct number between 0 and 10", 10, 0.0),
    Example("", 3, 0.0),
    Example("103", 100, 1.0, {"tolerance": 0.05}),
    Example("3", "many", None),
]

# The commitment stands at the end: what is further away than this is not read.
_TAIL = 2000
_OPEN = re.compile(
    r"\b(?:between|at (?:least|most)|up to|(?:more|less|fewer|greater|larger|smaller) than"
    r"|or (?:so|more|less|fewer)|not|except)\b|n't\b|[<>≤≥~]",
    re.IGNORECASE,
)
_ALTERNATIVE = re.compile(r"\b(?:or|to|maybe|perhaps|possibly|either)\b|^\s*[-–—/|&]\s*$", re.IGNORECASE)
_ONLY_SEPARATORS = re.compile(r"^(?:[\W_]|\band\b)*$", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?;\n](?=\s|$)")
# "one" is more often a pronoun ("this one", "one of them") than a count.
_PRONOUN = re.compile(r"\b(?:this|that|each|every|the|which|another|no|any|some)\s+$", re.IGNORECASE)


def verify(response: str, target: Any, *, tolerance: float = 0.0) -> Verdict:
    """1 if the committed number is within `tolerance` of `target`, a share of it (0.05 is 5 %); else 0."""
    try:
        count = _count(target)
    except ValueError as error:
        return bad_target(str(error))
    answer = answers.extract(response)
    if answer is None:
        return unparsed("the thinking never ended")
    text = without_asides(answers.fold(answer.text[-_TAIL:]))
    numbers = _numbers(text)
    if not numbers:
        return unparsed("no number in the answer")
    said = numbers[-1].value
    if not _commits(text, numbers):
        return Verdict(0.0, "unparsed", answer=text[-200:], why="the answer leaves several numbers open")
    right = abs(said - count) <= Fraction(str(tolerance)) * count
    return Verdict(float(right), answer=_show(said), why="" if right else f"{_show(said)} is not {count}")


def gold(target: Any, **_: Any) -> str:
    """The count in digits."""
    return str(_count(target))


def check_target(target: Any, **_: Any) -> None:
    """ValueError unless the target is a whole number >= 0, or a text that is one."""
    _count(target)


def _count(target: Any) -> int:
    number = None
    if isinstance(target, str):
        number = answers.parse_number(target)
    elif isinstance(target, (int, float)) and not isinstance(target, bool) and abs(target) < 1e15:
        number = Fraction(target)
    if number is None or number < 0 or number.denominator != 1 or number >= 10**15:
        raise ValueError(f"target {str(target)[:60]!r} is not a count; give a whole number >= 0")
    return int(number)


def _numbers(text: str) -> list[Number]:
    numbers = answers.find_numbers(text)
    return [number for number in numbers if not _is_pronoun(text, number)] or _none(text)


def _is_pronoun(text: str, number: Number) -> bool:
    word = text[number.start : number.end].lower()
    before, after = text[max(0, number.start - 20) : number.start], text[number.end : number.end + 10]
    return word == "one" and bool(_PRONOUN.search(before) or re.match(r"\s+(?:of|another)\b", after))


def _none(text: str) -> list[Number]:
    """Zero, said as "none" or "there are no ..."."""
    match = re.search(r"\bnone\b|\bthere (?:are|is) no\b", text, re.IGNORECASE)
    return [Number(Fraction(0), match.start(), match.end())] if match else []


def _commits(text: str, numbers: list[Number]) -> bool:
    """Whether the sentence of the last number leaves no other number open."""
    start = max((m.end() for m in _SENTENCE_END.finditer(text, 0, numbers[-1].start)), default=0)
    end = _SENTENCE_END.search(text, numbers[-1].end)
    if _OPEN.search(text[start : end.start() if end else len(text)]):
        return False
    inside = [number for number in numbers if number.start >= start]
    if len({number.value for number in inside}) > 1 and _ALTERNATIVE.search(text[inside[-2].end : inside[-1].start]):
        return False
    rest = "".join(text[a.end : b.start] for a, b in zip([Number(Fraction(0), 0, 0), *numbers], numbers, strict=False))
    only_numbers = bool(_ONLY_SEPARATORS.match(rest + text[numbers[-1].end :]))
    return not (only_numbers and len({number.value for number in numbers}) > 1)


def _show(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{float(value):g}"
