"""Counting: the one number that the answer commits to, against the true count.

Digits and number words count alike, in English and Chinese. The number after "answer:" or the like is the answer,
or else the sum of the numbers that follow it ("3 dogs: one left, two right"), or else the last number ("of 10 boxes,
3 are open"). "No dogs" is 0, "there is a dog" is 1. An answer that keeps several numbers open is wrong, whatever they
are: "3 or 4", "between 0 and 10", "3-5", "at least 2", "1, 2, 3". So is one that only bounds the count ("almost 3");
"about 3" counts where there is a tolerance. (Models trained with a lenient judge learn to answer "a correct number
between 0 and 10": GLM-4.1V report, arXiv 2507.01006, section 5.3.)

    vlmrl check counting
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from vlmrl.reading import answers
from vlmrl.reading.amounts import Amount, amounts, plain
from vlmrl.reading.assertion import asserted
from vlmrl.reading.commitments import committed
from vlmrl.reading.numbers import parse_number
from vlmrl.verdict import Example, Verdict, bad_target, unparsed

EXAMPLES = [
    Example("There are 3 dogs, so 3.", 3, 1.0),
    Example("<think>4? no</think><answer>three</answer>", 3, 1.0),
    Example(r"First 2, then \boxed{3}", 3, 1.0),
    Example("3 apples and 4 pears, so 7 in total.", 7, 1.0),
    Example("3 dogs: one left, two right", 3, 1.0),
    Example("一共有十二只。", 12, 1.0),
    Example("There are no dogs.", 0, 1.0),
    Example("4", 3, 0.0),
    Example("3 or 4", 3, 0.0),
    Example("almost 3", 3, 0.0),
    Example("3. Wait, actually 4.", 3, 0.0),
    Example("a correct number between 0 and 10", 10, 0.0),
    Example("", 3, 0.0),
    Example("103", 100, 1.0, {"tolerance": 0.05}),
    Example("3", "many", None),
]

# The commitment stands right after a cue, or at the end: what is further away than this is not read.
_TAIL = 2000
_NOT_COUNTED = (
    r"(?!way\b|idea|clue|sorry|thank|comment|problem|one\b|info|clear|evidence|indication|mention|answer|doubt|need|number|lot|group|few|couple|pair|total|bunch"
    r"|crowd|set\b|good|great|large|chance|possibility|variety)"
)
_NONE = re.compile(
    rf"\bnone\b|\bthere (?:are|is) no {_NOT_COUNTED}|\bi (?:can )?see no {_NOT_COUNTED}|\b(?:are|is)(?:n't| not) any\b"
    r"|\bdo(?:n't| not) see any\b"
    rf"|^\W*no {_NOT_COUNTED}[a-z]+(?: [a-z]+){{0,2}}(?: (?:are|is|can be|visible|present)\b|\W*$)"
    r"|没有(?!办法|答案|信息|足够)",
    re.IGNORECASE,
)
_ONE = re.compile(
    rf"\ba single\b|\bthere(?:'s| is) (?:only |just )?an? {_NOT_COUNTED}[a-z]+(?![^.!?]*\band\b)", re.IGNORECASE
)
_UNKNOWN = re.compile(
    r"\b(?:can ?not|can't|unable|unclear|not (?:sure|clear|possible)|unsure|impossible)\b|无法|不确定", re.IGNORECASE
)
# These leave open whether a number is the count: bounds in its sentence, a denial in its clause.
_BOUNDS = re.compile(r"\bbetween\b|[<>≤≥~]", re.IGNORECASE)
_DENIES = re.compile(r"\b(?:not|except)\b|n't\b", re.IGNORECASE)
_OPEN = re.compile(f"{_BOUNDS.pattern}|{_DENIES.pattern}", re.IGNORECASE)
_BEGINS = re.compile(r"[.!?;\n](?=\s|$)|。|\bbut\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?;\n](?=\s|$)|。")


def verify(response: str, target: Any, *, tolerance: float = 0.0) -> Verdict:
    """1 if the committed number is within `tolerance` of `target`, a share of it (0.05 is 5 %); else 0."""
    try:
        count = _count(target)
    except ValueError as error:
        return bad_target(str(error))
    answer = answers.extract(response)
    if answer is None:
        return unparsed("the thinking never ended")
    text = plain(asserted(answer.text[:_TAIL] if answer.cued else answer.text[-_TAIL:]))
    said = _said(text, answer.cued, exact=tolerance == 0)
    if said is None:
        return Verdict(0.0, "unparsed", answer=text[-200:], why="the answer commits to no number")
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
        number = parse_number(target)
    elif isinstance(target, (int, float)) and not isinstance(target, bool) and abs(target) < 1e15:
        number = Fraction(target)
    if number is None or number < 0 or number.denominator != 1 or number >= 10**15:
        raise ValueError(f"target {str(target)[:60]!r} is not a count; give a whole number >= 0")
    return int(number)


def _said(text: str, cued: bool, exact: bool) -> Fraction | None:
    """The count that a plain text commits to, said as a number, as "no dogs" or as "a dog"."""
    said = committed(text, cued, exact)
    if said is not None:
        return None if _OPEN.search(text) and _is_open(text, said) else said.value
    if amounts(text) or _UNKNOWN.search(text):
        return None
    return Fraction(0) if _NONE.search(text) else Fraction(1) if _ONE.search(text) else None


def _is_open(text: str, amount: Amount) -> bool:
    """Whether the sentence of an amount bounds it, or its clause denies it."""
    start = max((match.end() for match in _BEGINS.finditer(text, 0, amount.start)), default=0)
    end = _SENTENCE_END.search(text, amount.end)
    before, after = text[start : amount.start], text[amount.end : end.start() if end else len(text)]
    clause = before.rpartition(", ")[2] + "|" + after.partition(",")[0]
    return bool(_BOUNDS.search(before + "|" + after) or _DENIES.search(clause))


def _show(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{float(value):g}"
