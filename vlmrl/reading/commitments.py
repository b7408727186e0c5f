r"""Commitments: which of the amounts of a text does it commit to?

    committed(plain("2 red and 1 blue, so 3 in all"))           -> the last one, 3
    committed(plain("3 dogs: one left, two right"))             -> the total before its parts, 3
    committed(plain("4 cm, as in step 2"), cued=True)           -> the one after "answer:", 4
    committed(plain("3 or 4"))                                  -> None: it leaves two open

A range, a list, a bound ("at least 3", "almost 3"), a calculation or a question commits to nothing. Every function is
total and linear in the length of its text.
"""

from __future__ import annotations

import re
from fractions import Fraction

from vlmrl.reading.amounts import Amount, amounts
from vlmrl.reading.denials import is_denied, is_rejected, may_deny
from vlmrl.reading.markup import mentions
from vlmrl.reading.numbers import MAX_DIGITS

_CUE_LEAD = re.compile(r"(?:[\s:=≈~\"'$€£¥]|\b(?:about|approximately|roughly|around|is|exactly)\b)*", re.IGNORECASE)
_OPEN_GAP = re.compile(
    r"\b(?:or|maybe|perhaps|possibly|alternatively)\W+(?:\w+\W+){0,3}$|^\W*(?:\w+\W+){0,2}(?:to|through|vs)\W+(?:\w+\W+)?$"
    r"|^\w?(?:[到至或]|还是)|^\s(?:oder|ou|oppure|o|или)\s(?:\w+\s)?$"
    r"|^(?:(?![.!?;](?:\s|$)|: |[=≈→\n])[\W_])*(?:\band\b\W*)?$",
    re.IGNORECASE,
)
_BETWEEN = re.compile(r"\bbetween\W+(?:\w+\W+){0,2}$", re.IGNORECASE)
_OPEN_BEFORE = re.compile(
    r"(?:\b(?:at (?:least|most)|up to|(?:more|less|fewer|greater|larger|smaller|higher|lower) than|over|under|above"
    r"|below|beyond|exceed(?:s|ing)?|almost|nearly|close to|as (?:many|few) as|upwards? of|(?:min|max)(?:imum of|\.)"
    r"|not|no|never|except|either|sqrt|log|ln|sin|cos|tan|or|maybe|perhaps|possibly|(?:could|might|may)(?: \w+)? be)"
    r"|n['’]t(?: be)?|(?<![-=])[<>]=?|[≤≥±√^]|\\(?:sqrt|log|ln|sin|cos|tan|leq?|geq?|pm)|(?<=\S)\s?[+*/×·÷]"
    r"|超过|大于|小于|高于|低于|不止|不只|多于|少于|不到|不足|至少|至多|最多|最少|接近|将近|可能|也许|不是|没有|几)"
    r"[\s({\"'$€£¥:]*(?:\b(?:about|around|the|equal to|exactly)\s+|[有是])?$",
    re.IGNORECASE,
)
# A part of each of these, for a quick look.
_BOUNDS = (
    *("least", "most", "up to", "than", "over", "under", "above", "below", "beyond", "exceed", "nearly", "close to"),
    *(
        "as many",
        "as few",
        "upward",
        "min",
        "max",
        "no",
        "never",
        "except",
        "either",
        "sqrt",
        "log",
        "ln",
        "sin",
        "cos",
    ),
    *("tan", "or", "maybe", "perhaps", "possibly", " be", "n't", "<", ">", "^", "\\", "+", "*", "/"),
)
_OPEN_AFTER = re.compile(
    r"\s?(?:\+(?!\w)|[π√^±]|\\(?:pi|sqrt|pm)|-?ish\b|[^\W\d_a-z]?(?:以上|以下|以内|左右|上下|多))"
    r"|[\w\s%]{0,20}\bor (?:so|more|less|fewer|higher|lower|above|below|greater)\b"
    r"|[^.!;:\n?]{0,60}\?",
    re.IGNORECASE,
)
_ABOUT = re.compile(
    r"(?:\b(?:about|around|approximately|approx\.?|roughly|circa|some)|[~≈约]|大概|差不多)[\s有是]*(?:a |an )?$",
    re.IGNORECASE,
)
# Not amounts of what is asked: "this one", "of 10", "3 of which", "Figure 2", "10:30", the numbers of a list.
_PRONOUN = re.compile(
    r"\b(?:this|that|each|every|the|which|another|no|any|some|(?:an?|one|two|three|\d)\s(?!and|or)\w+)\s$",
    re.IGNORECASE,
)
_OF_ONE = re.compile(r"\s(?:of|another)\b", re.IGNORECASE)
_BASE = re.compile(r"\d\s(?:\w+\s)?(?:out\s)?of\s(?:the\s|all\s|these\s|those\s)?$", re.IGNORECASE)
_PART = re.compile(r"\bof (?:which|whom|them|these|those),?\s(?:only\s)?$|其中\w?$", re.IGNORECASE)
_PART_AFTER = re.compile(
    r"\s(?:\w+\s)?of (?:which|whom|them|these|those)\b|\s(?:\w+\s){0,3}(?:each|per|every)\b", re.IGNORECASE
)
_LABEL = re.compile(r"\b(?:fig\.|figure|image|picture|photo|frame|step|page|table|question)\s$", re.IGNORECASE)
_COUNTED = re.compile(r"(?:\s[^\W\d_]+){0,3}[.:]?\s*")
_REASON = re.compile(r"(?:\s[^\W\d_]+){0,3}?,?\s(?:since|because)\b", re.IGNORECASE)
_CLOCK = re.compile(r"\d:\d")
_ITEM = re.compile(r"^[ \t]*(\d{1,3})[.)]\s", re.MULTILINE)
# What leads from a total to its parts.
_PARTS_FOLLOW = re.compile(
    r"[:;：；\n—–(]|\s-\s|[.!。]\s|\b(?:of|including|consisting|comprising|namely|with)\b|其中|包括", re.IGNORECASE
)
_BARE = re.compile(
    r"\s?[^\W\d_a-z]?\s*(?:[,.;，。；]|$|(?:on|in|at|near|by|to|from|around|under|behind|beside|of|with|are|is|were)\b)",
    re.IGNORECASE,
)
# What leads from its parts to a total, within a sentence.
_SUM_FOLLOWS = re.compile(r"=|\b(?:so|thus|therefore|total|altogether|in all)\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|[\n。]")
_TOTAL = re.compile(r"\b(?:total|altogether|in all|overall)\b|共", re.IGNORECASE)
_TURN = re.compile(
    r"\b(?:wait|hmm+|hold on|on second thoughts?|correction|scratch that|my mistake|i meant|sorry|actually"
    r"|no(?=\s?[,.;:-]))\b|不对|更正|应该是",
    re.IGNORECASE,
)


def committed(text: str, cued: bool = False, exact: bool = False) -> Amount | None:
    """The amount that a plain text (`amounts.plain`) commits to; None if it has none or leaves several open.

    It is the one that the text begins with if it is `cued` (all that follows "answer:" or the like); else the one that
    is the sum of all that follow it; else the last. `exact`: "about 3" commits to nothing.
    """
    if text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS:  # most answers
        return Amount(Fraction(int(text)), False, (), 0, len(text))
    found = [amount for amount in amounts(text) if not _is_aside(text, amount)]
    found = _without_items(text, _undenied(text, found) if may_deny(text) else found)
    at = _total(text, found)
    if at is None:
        found = [amount for amount in found if not _is_part(text, amount)] or found
        if not found:
            return None
        at = _after_cue(text, found) if cued else 0 if _heads(text, found) else None
    at = len(found) - 1 if at is None else at
    pairs = [(found[i], found[i + 1]) for i in (at - 1, at) if 0 <= i < len(found) - 1]
    said = found[at]
    if any(a.value != b.value and _left_open(text, a, b) for a, b in pairs):
        return None
    before = text[max(0, said.start - 40) : said.start]
    if (mentions(before, _BOUNDS) or not before.isascii()) and _OPEN_BEFORE.search(before):
        return None
    if exact and _ABOUT.search(before[-24:]):
        return None
    return None if _OPEN_AFTER.match(text[said.end : said.end + 80]) else said


def _total(text: str, found: list[Amount]) -> int | None:
    """Which of the amounts is the sum of all that follow it, its parts; None if none is."""
    if len(found) < 3:
        return None
    rest = sum(amount.value for amount in found)
    for at, amount in enumerate(found[:-2]):
        rest -= amount.value
        if rest == amount.value and "=" not in text[amount.end : found[-1].start] and not _turns(text, found[at:]):
            bare = all(_is_bare(text, part) for part in found[at + 1 :])
            bare = bare and re.search("[,，]", text[amount.end : found[at + 1].start])
            return at if bare or _has_parts(text, amount, found[at + 1]) else None
    return None


def _is_bare(text: str, amount: Amount) -> bool:
    """Whether nothing that is counted follows the amount: "2 on the left", "右边三把。"."""
    return bool(_BARE.match(text[amount.end : amount.end + 20]))


def _turns(text: str, found: list[Amount]) -> bool:
    """Whether the text changes its mind between the first and the last of the amounts."""
    return bool(_TURN.search(text, found[0].end, found[-1].start))


def _after_cue(text: str, found: list[Amount]) -> int | None:
    """Which of the amounts the beginning of a text commits to: the first, or the sum in its sentence; None if none."""
    if not _CUE_LEAD.fullmatch(text, 0, found[0].start) or _turns(text, found):
        return None
    end = _SENTENCE_END.search(text, found[0].end)
    last = sum(amount.start < (end.start() if end else len(text)) for amount in found) - 1
    return last if _SUM_FOLLOWS.search(text, found[0].end, found[last].start) else 0


def _heads(text: str, found: list[Amount]) -> bool:
    """Whether the text begins with the first amount, at most what is counted, and a reason or an explaining line."""
    first = found[0]
    if text[: first.start].strip() or _turns(text, found):
        return False
    if _REASON.match(text, first.end):
        return not _SUM_FOLLOWS.search(text, first.end)
    line, _, rest = text[first.end :].partition("\n")
    return bool(_COUNTED.fullmatch(line) and re.search(r"[^\W\d_]{3}", rest))


def _has_parts(text: str, total: Amount, part: Amount) -> bool:
    """Whether the text leads from a total to its parts."""
    gap = text[total.end : part.start]
    around = text[max(0, total.start - 40) : total.start] + " | " + gap
    return bool(_PARTS_FOLLOW.search(gap[:200]) or _TOTAL.search(around[:300]))


def _is_aside(text: str, amount: Amount) -> bool:
    """Whether an amount is a pronoun, a label, a time of day, or what is counted from."""
    before, after = text[max(0, amount.start - 30) : amount.start], text[amount.end : amount.end + 30]
    if text[amount.start : amount.end].lower() == "one" and (_PRONOUN.search(before) or _OF_ONE.match(after)):
        return True
    clock = ":" in text and _CLOCK.search(text[max(0, amount.start - 2) : amount.end + 2])
    return bool(clock or ("of" in before and _BASE.search(before)) or _LABEL.search(before[-11:]))


def _undenied(text: str, found: list[Amount]) -> list[Amount]:
    """The amounts without those that the text denies, nor what it said before of one that it then rejects."""
    kept: list[Amount] = []
    before, denied = None, False
    for amount in found:
        joined = before is not None and _left_open(text, before, amount)  # "5 or 6 is wrong", "not five and six"
        denied = (denied and joined) or is_denied(text, amount.start, amount.end)
        if is_rejected(text, amount.end):
            values = {amount.value, before.value} if before is not None and joined else {amount.value}
            kept = [earlier for earlier in kept if earlier.value not in values]
        elif not denied:
            kept.append(amount)
        before = amount
    return kept


def _is_part(text: str, amount: Amount) -> bool:
    """Whether an amount is named as a part: "3 of which", "of them, 3"."""
    before, after = text[max(0, amount.start - 30) : amount.start], text[amount.end : amount.end + 30]
    return bool((("of" in before or not before.isascii()) and _PART.search(before)) or _PART_AFTER.match(after))


def _without_items(text: str, found: list[Amount]) -> list[Amount]:
    """The amounts without the numbers of a list that counts from 1, if others are left."""
    if len(found) < 2 or "\n" not in text:
        return found
    items = [(match.start(1), int(match[1])) for match in _ITEM.finditer(text)]
    if [number for _, number in items[:2]] != [1, 2]:
        return found
    starts = {start for start, _ in items}
    return [amount for amount in found if amount.start not in starts] or found


def _left_open(text: str, a: Amount, b: Amount) -> bool:
    """Whether two neighbours are alternatives, a range, a list or a calculation."""
    gap = text[a.end : b.start]
    between = re.search(r"\band\W+(?:\w+\W+)?$", gap) and _BETWEEN.search(text[max(0, a.start - 40) : a.start])
    return bool(between or _OPEN_GAP.search(gap[:20] + gap[-40:] if len(gap) > 60 else gap))
