"""Assertion: what of a text its author stands by.

    asserted("Is it 5? No, it is 7.")                            -> "  No, it is 7."
    asserted("If the reflections counted, there would be 8.")     -> " "
    asserted("Tom claims that it is 6, which is wrong: it is 7")  -> "  it is 7"
    asserted("Some believe it is 6; this is false. It is 7.")      -> "  this is false. It is 7."
    asserted("If we add them, we get 7, so the answer is 7.")     -> the same

Questions, counterfactuals, claims that are rejected, doubts, and what cannot be so assert nothing. A denial ends with
its clause. Every function is total and linear in the length of its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from vlmrl.reading.markup import mentions

# A part of everything below, for a quick look.
_HINTS = (
    *("?", "？", "吗", "would", "n't", "n’t", "not ", "wrong", "incorrect", "false", "mistak", "untrue"),
    *("accurate", "error", "myth", "disagree", "impossible", "'d", "’d", "unlikely", "会", "doubt", "不", "错", "并非"),
)
_END = re.compile(r"[.!?;](?=[\s\"'”’)*_`\]}$]|$)|:(?=[\s*_])|[。！？；：\n]")
_ASKS = re.compile(r"[?？]$|吗[。.]?$")
FALSE = (
    r"(?:wrong|incorrect|false|mistaken|untrue|impossible|inaccurate|not (?:correct|right|true|accurate|possible))\b"
)
# "..., which is wrong", "..., but he is mistaken": what stands before it is rejected.
_REJECTED = re.compile(
    r"(?:\b(?:which|and|but|yet)|[,(]|\s[-–—]\s)\s*(?:(?:that|this|it|he|she|they)\s)?"
    rf"(?:is|are|was|were|cannot be|can['’]t be)\s(?:\w+\s)?{FALSE}"
    r"|(?<=[,，])\s*(?:但|而)?(?:这|那)?(?:是错|不对|不正确)[误的]*",
    re.IGNORECASE,
)
# Where what is asserted may end before something else is rejected.
_ASIDE = re.compile(
    r"[(（](?=[^()（）]*$)|,\s*(?:not|since|because|as|for|while|whereas|unlike|so|and|but)\b", re.IGNORECASE
)
# "That is false." rejects the clause before it; "It is false." and "False." do so where it is what somebody says.
_REJECTS = re.compile(
    r"\W*(?:(?:but|and|yet|however|clearly)\W+)?(?:this|that|these|those|he|she|they|"
    r"(?P<claim>(?:it|(?:the|this|that|these|their|his|her)\s\w+|(?=\w))))"
    r"(?:(?:\s(?:is|are|was|were|would be|cannot be)|['’](?:s|re))\s)?(?:\w+ly\s)?"
    rf"(?:{FALSE}|an? (?:\w+\s)?(?:mistake|error|myth)\b)\W*|\W*(?P<view>I disagree)\W*",
    re.IGNORECASE,
)
_CLAIM = re.compile(
    r"\b(?:believ|claim|think|thought|sa(?:y|id)|suggest|assert|argu|guess|stat(?:e|ing)|answer|wr(?:ite|ote)|read"
    r"|assum|might|would)",
    re.IGNORECASE,
)
_TWO_WORDS = re.compile(r"\d|\w\W+\w")
_UNREAL = re.compile(
    r"\b(?:if|unless)\b(?!\s(?:I|we|you|one)\s(?:(?:have|had|were) (?:to|asked)|must|(?!\w+ed\b|were\b|was\b|had\b"
    r"|did\b|could\b)\w+\b))|\b(?:without|otherwise)\b|^\W*(?:had|were)\b|如果|假如|要是|倘若",
    re.IGNORECASE,
)
_WOULD = re.compile(r"\bwould\b|\b[a-z]+['’]d\b|就会|会[有是]|将会", re.IGNORECASE)
_WOULD_HAVE = re.compile(r"\bwould(?:n['’]t| not)? have\b", re.IGNORECASE)
_TURN = re.compile(r"\b(?:so|thus|therefore|hence|but|however)\b|而是|但|所以|因此", re.IGNORECASE)
_DENIES = re.compile(
    r"(?<!\bno )(?<!\bwithout )(?<!\ba )(?<!\bbeyond )\bdoubt\b(?!less|ful)"
    r"|\bunlikely (?:to be|that)\b|(?:\bnot|n['’]t)\s(?:\w+ly\s)?"
    r"(?:sure|certain|convinced|think|believe|say that|the case that|true that|correct that)\b"
    r"|\b(?:can ?not|can['’]t|couldn['’]t|could not|must not|will not|won['’]t)\s(?:\w+ly\s)?be\s"
    r"(?!(?:\w+ly\s)?(?:[a-z]{2,}ed|true|right|correct|wrong|false|the|an?|seen|shown|found|known|in|any|other)\b)"
    r"|(?:并非|不(?:可能|会)?(?:是|等于))(?=\s?[^\s，,。.；的])(?!吗|不)",
    re.IGNORECASE,
)
_DENIED = re.compile(r"[^,，]*?(?=[,，]|\bbut\b|\brather\b|\binstead\b|\bbecause\b|而是|$)", re.IGNORECASE)
_KEEPS_OPEN = re.compile(
    r"(?:\bnot|n['’]t|\bcannot)\s(?:\w+ly\s)?(?:rule out|exclude|eliminate|dismiss)\b", re.IGNORECASE
)


def asserted(text: str) -> str:
    """The text without what it only asks, supposes, doubts, denies or quotes as wrong."""
    if (text.isascii() and text.isalnum()) or not mentions(text, _HINTS):
        return text
    pieces, place = [], 0
    for start, end in _unasserted(text):
        pieces.append(text[place:start])
        place = end
    return " ".join([*pieces, text[place:]]) if pieces else text


def is_asserted(text: str, place: int) -> bool:
    """Whether the author stands by what is at that place."""
    near = text[max(0, place - 300) : place + 300]
    if not mentions(near, _HINTS):
        return True
    place = min(place, 300)
    return not any(start <= place < end for start, end in _unasserted(near))


def _unasserted(text: str) -> Iterator[tuple[int, int]]:
    """The parts of a text that assert nothing, as [start, end), in the order of their ends."""
    start, before = 0, ""
    for end in (*(match.end() for match in _END.finditer(text)), len(text)):
        clause = text[start:end]
        if clause and mentions(clause, _HINTS):
            if before and _rejects(clause, before):
                yield start - len(before), start
            yield from ((start + a, start + b) for a, b in _of_clause(clause))
        start, before = end, clause


def _rejects(clause: str, before: str) -> bool:
    """Whether a clause does nothing but reject what stands before it; a lone word or letter is an answer, no claim."""
    rejects = _REJECTS.fullmatch(clause)
    if not rejects or not _TWO_WORDS.search(before):
        return False
    of_claims = rejects["claim"] is not None or rejects["view"]
    return not of_claims or _CLAIM.search(before) is not None


def _of_clause(clause: str) -> Iterator[tuple[int, int]]:
    """The same of a sentence, or of what stands before or after a colon in one."""
    if _ASKS.search(clause, max(0, len(clause) - 3)):
        yield 0, len(clause)
        return
    start = 0
    rejected = _REJECTED.search(clause)
    if rejected:
        aside = max((aside.end() for aside in _ASIDE.finditer(clause, 0, rejected.start())), default=0)
        if len(clause[aside : rejected.start()].split()) > 1:  # "Wait, that is wrong" rejects what stands before it
            yield aside, rejected.end()
            start = rejected.end()
    would, keeps_open = _WOULD.search(clause, start), _KEEPS_OPEN.search(clause, start)
    unreal = _UNREAL.search(clause, start) if would or keeps_open else None
    open_end = (unreal and would) or (would and _WOULD_HAVE.search(clause, start)) or keeps_open
    if open_end:
        last = max(match.end() for match in (unreal, would, open_end) if match)
        turn = _TURN.search(clause, last)
        end = turn.start() if turn else len(clause)
        if unreal and would:  # "No, if it were red, it would stop" asserts its "no"
            start = max(start, clause.rfind(",", start, min(unreal.start(), would.start())) + 1)
        yield start, end
        start = end
    for denies in _DENIES.finditer(clause, start):
        if denies.start() >= start:
            denied = _DENIED.match(clause, denies.end())
            end = denied.end() if denied else len(clause)
            yield denies.start(), end
            start = end
