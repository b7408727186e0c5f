"""Commitment: which of the places or times in a text are its answer. For readers of coordinates and of spans.

    committed("It is not at (1, 2), it is at (3, 4).", [(13, 19), (30, 36)])  -> [1]
    committed("(1, 2) or (3, 4)", [(0, 6), (10, 16)])                         -> None: it leaves two open
    says_none("There are no cars in the image.")                             -> True

Every function is total and linear in the length of its text, which `answers.fold` has made plain.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile

# "The man not wearing a hat is at ..." denies the hat.
_NEGATION = (
    r"\bnot\b(?! only\b| \w+ing\b[^.]{0,60}\b(?:is|are)\b)|\bno\b(?! (?:doubt|problem)\b)"
    r"|\b(?:never|none|nothing|nowhere|neither|nor|cannot|rather than|instead of|except|outside)\b|n't\b"
    r"|不|没|沒|未|并非|無|无"
)
_DENIED = re.compile(_NEGATION, re.IGNORECASE)
_REFUTED = re.compile(
    rf"[\s\"')\]}}:]{{0,9}}(?:\w{{1,20}} ){{0,2}}(?:\w{{0,9}}(?:{_NEGATION})|(?:wrong|incorrect|false|mistaken?)\b|错)",
    re.IGNORECASE,
)
_CORRECTION = re.compile(
    r"\?\s*no\b|\b(?:wait|actually|correction|sorry|hm+|scratch that|on second thought|instead(?! of))\b(?:,?\s*no\b)?"
    r"|更正|不对|应该是",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[.!?;,。、](?=\s|$)|[。\n]|\bbut\b|\brather\b(?! than)|而是|而非", re.IGNORECASE)
_ALTERNATIVE = re.compile(r"\b(?:or|maybe|perhaps|possibly|alternatively|either)\b[^\d]{0,25}$|或", re.IGNORECASE)
_NOTE = re.compile(
    r"(?:^|[\n.;])[\s(*-]{0,9}(?:note|n\.b\.|remark|explanation|reasoning|where|here,"
    r"|(?:the )?(?:image|coordinates?|video)\b|注)",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w")
_ALONE = re.compile(r"[\s\])}\"']*(?:[.!。\n]|$)")
_SENTENCE = re.compile(r"[.!?]\s+(?=[^\W\d])|。\s*(?=\w)")
_PARAGRAPH = re.compile(r"\n\s{0,9}[^\W\d]\w*(?:[ ,]{1,9}\w+){3}")
_CUT = re.compile(
    r"\s{0,9},?\s{0,9}(?:\b(?:to|and|or|until|through)|[-~=]|到|至|或)\s{0,9}(?:[.。<\n]|$)", re.IGNORECASE
)
_NEAR = 200


def committed(text: str, spans: Sequence[tuple[int, int]], *, last: bool = False) -> list[int] | None:
    """The places that the answer stands by, as indices of their `spans` in the text, which are in order.

    None if it keeps alternatives open or is cut off after its last place; [] if it denies all. A denied place, one
    before a correction, and what follows in a note are left out. An answer that begins with nothing but its places is
    explained by its further sentences; of other texts all sentences count, or the `last` that names a place.
    """
    if not spans or _CUT.match(text, spans[-1][1]):
        return None
    if len(spans) == 1 and not (_WORD.search(text, 0, spans[0][0]) or _WORD.search(text, spans[0][1])):
        return [0]
    kept: list[list[int]] = []
    until = 0
    for n, (start, end) in enumerate(spans):
        gap = text[max(until, start - _NEAR) : start]
        if n and leaves_open(gap):
            return None
        if kept and _NOTE.search(gap):
            break
        corrections = list(_CORRECTION.finditer(gap))
        if corrections:
            kept, gap = [], gap[corrections[-1].end() :]
        if not kept or _SENTENCE.search(gap):
            kept.append([])
        after = text[end : spans[n + 1][0] if n + 1 < len(spans) else len(text)][:_NEAR]
        if not _is_denied(gap, after, ends=n + 1 == len(spans)):
            kept[-1].append(n)
        until = end
    kept = [sentence for sentence in kept if sentence]
    if len(spans) > 1 and kept and not _WORD.search(text, 0, spans[kept[0][0]][0]):
        first = kept[0]
        first[1:] = takewhile(lambda n: not _PARAGRAPH.search(text, spans[n - 1][1], spans[n][0]), first[1:])
        if _ALONE.match(text, spans[first[-1]][1]):
            return first
    return [n for sentence in (kept[-1:] if last else kept) for n in sentence]


def leaves_open(gap: str) -> bool:
    """Whether the text between two places makes the second an alternative to the first."""
    return bool(_ALTERNATIVE.search(gap))


def _is_denied(before: str, after: str, *, ends: bool) -> bool:
    """Whether the clause of a place denies it, by the text before and after the place."""
    begin = max((clause.end() for clause in _CLAUSE.finditer(before)), default=0)
    if _DENIED.search(before, begin):
        return True
    # What stands between two places of one clause is about the second.
    clause = _CLAUSE.search(after)
    return bool((clause or ends) and _REFUTED.match(after[: clause.start() if clause else len(after)]))


# --- none ---------------------------------------------------------------------------------------------------

_SEEN = (
    r"(?:visible|present|found|detected|shown|seen|located|there|in|on|exist\w*|appears?|occurs?|happens?|take place|"
    r"contain\w*|match\w*|be (?:found|seen|detected|located))"
)
_NONE = re.compile(
    r"(?:none|null|nil|n/?a|nothing|empty|\[\s*\]|\{\s*\})(?: (?:is |was )?(?:found|visible|present|detected))?"
    r"|there (?:(?:is|are|was|were) not|(?:is|are|was|were)n't) (?:any|an?) [^.,]{1,60}"
    r"|(?:there(?:'s| is| are| was| were) |i (?:see|find|detect) "
    r"|the (?:image|video|picture|screen) (?:has|contains|shows) )?"
    rf"(?:no|zero|not any|none of the) [^.,]{{1,60}}"
    rf"|(?:the|this|that|these|any|such|no|an?|it|they) ?[^.,]{{0,60}}? ?(?:(?:is|are|was|were|do|does|did|can|could)"
    rf"(?: ?not|n't)|cannot|never)(?: be)? {_SEEN}\b[^.,]{{0,60}}"
    r"|i (?:do not|don't|did not|didn't|cannot|can't) (?:see|detect|spot) (?:any|an?|such)\b[^.,]{1,60}"
    r"|(?:图(?:像|片)?中|画面中|视频中|这里)?(?:没有|不存在|未(?:发现|检测到|出现)|无)[^。，,.]{0,20}",
    re.IGNORECASE,
)
_UNSURE = re.compile(
    r"\b(?:idea|clue|answer|doubt|way|problem|comment|other|others|more|further|longer|information|context|matter|need|"
    r"issue|sure|clear|certain|but|however|except|besides|apart|if|whether|unless|maybe|perhaps|might|may|probably|or|"
    r"only|yet|reason|evidence|provided|given|attached|to)\b|^no (?:image|video|picture)\b",
    re.IGNORECASE,
)
_DIGIT = re.compile(r"\d")
_LONGEST_NONE = 160


def says_none(text: str) -> bool:
    """Whether the text is one plain statement that there is no such thing: "No objects", "The cup is not visible."."""
    if len(text) > _LONGEST_NONE or _DIGIT.search(text):
        return False
    text = " ".join(text.split()).strip(" \"'`*.。!()").replace("’", "'")
    return not _UNSURE.search(text) and bool(_NONE.fullmatch(text))
