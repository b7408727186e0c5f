"""Time spans: reading them from an answer.

    parse("from 1:05 to 70 seconds", Timeline())                                 -> [Span(65.0, 70.0)]
    parse('{"end_time": 0.5, "start_time": "0.25"}', Timeline("fraction"))       -> [Span(0.25, 0.5)]
    parse("30 - 60", Timeline("fraction", 120, "seconds"))                       -> [Span(0.25, 0.5)]
    parse("[]", Timeline())                                                      -> []: there is no such moment
    parse("10-20 or 30-40", Timeline())                                          -> None: it leaves two open

Every function is total and linear in the length of its text.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

from vlmrl.reading import commitment, structures, tags
from vlmrl.reading.assertion import asserted
from vlmrl.reading.timelines import Span, Timeline

MAX_SPANS = 100
"""An answer with more spans is not read."""
_LONGEST = 20_000
"""Characters of an answer that are read, from its end."""

_N = r"(?:\d{1,9}(?:\.\d{1,30})?|\.\d{1,30})"
_HOURS, _MINUTES, _SECONDS = r"(?:hours?|hrs?|h)", r"(?:minutes?|mins?|m|分钟?)", r"(?:seconds?|secs?|s|秒)"
_AND = r"(?![A-Za-z])[\s,]{0,3}(?:and\s)?\s?"
_TIME = re.compile(
    r"(?<![A-Za-z0-9_.])(?<!\d:)(?:"
    rf"(?:(?P<h>\d{{1,2}}):)?(?P<m>\d{{1,3}}):(?P<s>[0-5]\d(?:\.\d{{1,9}}|,\d{{3}})?)"
    rf"|(?:(?P<hours>{_N})\s?{_HOURS}{_AND})?(?P<minutes>{_N})\s?{_MINUTES}(?:{_AND}(?P<seconds>{_N})\s?{_SECONDS})?(?![A-Za-z])"
    rf"|(?P<n>{_N})(?:(?:(?:st|nd|rd|th)(?=\s?sec))?\s?(?:(?P<sec>{_SECONDS})(?![A-Za-z])|(?P<percent>%|percent\b)))?"
    r")(?![0-9_]|\.\d|:\d)",
    re.IGNORECASE,
)
_QUOTE = r"[\"'`*<>\s]{0,9}"
_TO = re.compile(
    rf"{_QUOTE}(?:-{{1,2}}>?|–|—|~|→|\bto\b|\btill\b|\buntil\b|\bthrough\b|到|至)(?:\s(?:about|around|the|second))?第?{_QUOTE}",
    re.IGNORECASE,
)
_COMMA, _BETWEEN_AND = re.compile(rf"{_QUOTE},{_QUOTE}"), re.compile(rf"{_QUOTE}and{_QUOTE}", re.I)
_KEY = re.compile(
    r"(?<![A-Za-z])(?:(?P<start>start(?:s|ing)?|begin(?:s|ning)?|开始|起始|(?<=[\"'])from(?=[\"']))|结束|终止|(?<=[\"'])to(?=[\"'])|end(?:s|ing)?|stop(?:s|ping)?|finish(?:es|ing)?)"
    r"(?:[ _-]?(?:time(?:stamp)?|sec(?:ond)?s?)|时间)?[\"'`*]{0,3}"
    r"(?:(?:\s(?!(?:and|or|not)\b)[a-z]{1,20}){1,3}?(?=\sat\s))?\s{0,3}[:=]?\s{0,3}(?:(?:is|at|around|about)\s){0,2}"
    r"[\"'`*]{0,3}",
    re.IGNORECASE,
)
# A quick look before the search for whole names.
_START = re.compile(r"[Ss][Tt][Aa][Rr][Tt]|[Bb][Ee][Gg][Ii][Nn]|始|from[\"']")
_NEGATIVE = re.compile(r"(?:^|[\[(,:=\"']|\b(?:from|to|and|between|is|at))\s{0,3}-$", re.IGNORECASE)
# Numbers of other things than seconds.
_OTHER_UNIT = re.compile(r"\s?(?:frames?|hours?|hrs?|h|days?|ms|milliseconds?)\b|帧|小时", re.IGNORECASE)
_FRAME = re.compile(r"\bframes?\s{0,3}$", re.IGNORECASE)


class _Time(NamedTuple):
    value: float
    unit: str | None
    scale: float
    """What makes a bare neighbour's number a time of the same unit: 60 beside "2 minutes"."""
    at: int
    until: int


def parse(text: str, timeline: Timeline, *, none_in_words: bool = False) -> list[Span] | None:
    """The spans of an answer in the target's unit; `[]` is the answer "nowhere"; None if there is nothing to read.

    Read are start and end by name (JSON in any order, quoted or not, or prose), `[start, end]`, and ranges ("10 to
    20", "0:10-0:20", "between 10 and 20 seconds"); `commitment` says which of them count. None as well where one is
    reversed or negative, where the unit cannot be converted, and where alternatives are kept open. `none_in_words`:
    "There is no such moment" is `[]` as well.
    """
    value = structures.whole(text.strip())
    if structures.is_empty(value):
        return []
    text = asserted(tags.plain(text[-_LONGEST:]))
    if none_in_words and commitment.says_none(text):
        return []
    times = [_time(match) for match in _TIME.finditer(text)]
    if any(commitment.leaves_open(text[a.until : b.at]) for a, b in pairwise(times)):
        return None
    pairs = _pairs(text, times)
    if value is None:
        pairs.sort(key=lambda pair: min(pair[0].at, pair[1].at))
        ends = [(min(start.at, end.at), max(start.until, end.until)) for start, end in pairs]
        pairs = [pairs[n] for n in commitment.committed(text, ends) or []]
    spans = [_span(text, start, end, timeline) for start, end in pairs]
    found = [span for span in spans if span is not None]
    return found if found and len(found) == len(spans) <= MAX_SPANS else None


def _time(match: re.Match[str]) -> _Time:
    at, until = match.span()
    if match["m"]:
        value = 3600 * int(match["h"] or 0) + 60 * int(match["m"]) + float(match["s"].replace(",", "."))
        return _Time(value, "seconds", 1.0, at, until)
    if match["minutes"]:
        parts = (match["hours"], match["minutes"], match["seconds"])
        value = sum(scale * float(part or 0) for scale, part in zip((3600, 60, 1), parts, strict=True))
        return _Time(value, "seconds", 60.0, at, until)
    if match["percent"]:
        return _Time(float(match["n"]) / 100, "fraction", 0.01, at, until)
    return _Time(float(match["n"]), "seconds" if match["sec"] else None, 1.0, at, until)


def _pairs(text: str, times: list[_Time]) -> list[tuple[_Time, _Time]]:
    """Starts and ends: those that are called so, and all ranges of other times; none if a name has no partner."""
    named = _named(text, times)
    called = {time for _, time in named}
    if {name for name, _ in named} != {"start", "end"}:
        return _ranges(text, times)
    pairs = []
    for first, second in zip(named[::2], [*named[1::2], ("", None)], strict=False):
        both = dict((first, second))
        if both.keys() != {"start", "end"}:
            return []
        pairs.append((both["start"], both["end"]))
    return pairs + [pair for pair in _ranges(text, times) if called.isdisjoint(pair)]


def _named(text: str, times: list[_Time]) -> list[tuple[str, _Time]]:
    """The times that are called a start or an end, in the order of the text."""
    if not _START.search(text):
        return []
    by_place = {time.at: time for time in times}
    keys = [key for key in _KEY.finditer(text) if key.end() in by_place]
    return [("start" if key["start"] else "end", by_place[key.end()]) for key in keys]


def _ranges(text: str, times: list[_Time]) -> list[tuple[_Time, _Time]]:
    """Neighbouring times with a word or sign of range between them; none if three share one ("10-20-30")."""
    joined = [_is_range(text, a, b, alone=len(times) == 2) for a, b in pairwise(times)]
    if any(a and b for a, b in pairwise(joined)):
        return []
    return [pair for pair, is_range in zip(pairwise(times), joined, strict=True) if is_range]


def _is_range(text: str, start: _Time, end: _Time, alone: bool) -> bool:
    gap = text[start.until : end.at]
    if len(gap) > 40:
        return False
    before = text[max(0, start.at - 20) : start.at].rstrip("\"'`* ")
    if _BETWEEN_AND.fullmatch(gap):
        return before.lower().endswith(("between", "between the"))
    if alone and gap.isspace() and not re.search(r"[^\s.]", text[: start.at] + text[end.until :]):
        return True
    if _COMMA.fullmatch(gap):
        after = text[end.until : end.until + 20].lstrip("\"'`* ")
        return alone or (before.endswith(("[", "(")) and after.startswith(("]", ")")))
    return bool(_TO.fullmatch(gap))


def _span(text: str, start: _Time, end: _Time, timeline: Timeline) -> Span | None:
    if start.unit is None and end.unit:
        start = start._replace(value=start.value * end.scale, unit=end.unit)
    elif end.unit is None and start.unit:
        end = end._replace(value=end.value * start.scale, unit=start.unit)
    factors = timeline.factor(start.unit), timeline.factor(end.unit)
    before = [text[max(0, time.at - 12) : time.at] for time in (start, end)]
    negative = any("-" in each and _NEGATIVE.search(each) for each in before)
    other = _FRAME.search(before[0]) or _OTHER_UNIT.match(text, end.until)
    if factors[0] is None or factors[1] is None or other or negative:
        return None
    span = Span(start.value * factors[0], end.value * factors[1])
    return span if span.start <= span.end else None
