"""Time lines: spans of a video, the unit of their times, the true ones of a target, and comparing them.

true_spans({"start_time": 10, "end_time": 20}, Timeline())        -> [Span(10.0, 20.0)]
iou([Span(10, 20)], [Span(15, 25)])                               -> 1/3
written([Span(0.25, 0.5)], Timeline("fraction", 40, "seconds"))   -> "[[10, 20]]"
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from vlmrl.reading.checks import literal

UNITS = ("seconds", "fraction")


class Span(NamedTuple):
    """A part of a video, start <= end."""

    start: float
    end: float


class Timeline(NamedTuple):
    """What times mean: the target's `unit`, the video's `duration` in seconds, and the unit of an answer's plain
    numbers where it is not the target's. A time that says its unit ("0:10", "10 s", "5 %") is converted."""

    unit: str = "seconds"
    duration: float | None = None
    answer_unit: str | None = None

    @property
    def length(self) -> float | None:
        """The whole video in the target's unit; None if it is not known."""
        return 1.0 if self.unit == "fraction" else self.duration

    def factor(self, said: str | None) -> float | None:
        """What converts a time of the unit `said` (None: a plain number); None if it takes an unknown duration."""
        said = said or self.answer_unit or self.unit
        if said == self.unit:
            return 1.0
        if self.duration is None:
            return None
        return self.duration if said == "fraction" else 1 / self.duration

    def check(self) -> None:
        """`ValueError` for an unknown unit, or a duration that is missing or not positive."""
        for name, unit in (("unit", self.unit), ("answer_unit", self.answer_unit or "seconds")):
            if unit not in UNITS:
                raise ValueError(f"{name} {unit!r} is unknown; use seconds or fraction")
        if self.duration is not None and not (_is_time(self.duration) and self.duration > 0):
            raise ValueError(f"duration {str(self.duration)[:60]} is not a length in seconds")
        if self.factor(None) is None:
            raise ValueError(f"duration is missing; a target in {self.unit} and answers in {self.answer_unit} need it")


def true_spans(target: Any, timeline: Timeline) -> list[Span]:
    """The target's spans; `ValueError` unless each has 0 <= start < end <= the whole video."""
    timeline.check()
    target = literal(target)
    items = target if isinstance(target, list) and not _is_pair(target) else [target]
    return [_true_span(item, timeline.length) for item in items]


def _true_span(item: Any, length: float | None) -> Span:
    pair: Any = [item.get("start_time"), item.get("end_time")] if isinstance(item, dict) else item
    if not _is_pair(pair):
        raise ValueError(f"target {str(item)[:60]!r} is not a span; give [start, end], a list of those, or [] for none")
    start, end = float(pair[0]), float(pair[1])
    if not 0 <= start < end:
        raise ValueError(f"target span {[start, end]} is not 0 <= start < end")
    if length is not None and end > length:
        raise ValueError(
            f"target span {[start, end]} ends after the video, {length:g}; clip it or correct the duration"
        )
    return Span(start, end)


def _is_pair(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(map(_is_time, value))


def _is_time(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9


def written(spans: Sequence[Span], timeline: Timeline) -> str:
    """The spans as an answer: `[[10, 20.5]]` in the unit of answers."""
    factor = timeline.factor(None) or 1.0
    return "[" + ", ".join("[" + ", ".join(_plain(time / factor) for time in span) + "]" for span in spans) + "]"


def _plain(time: float) -> str:
    return f"{time:.12f}".rstrip("0").rstrip(".")


# --- comparing --------------------------------------------------------------------------------------------


def merged(spans: Sequence[Span]) -> list[Span]:
    """The union of the spans: disjoint, in order."""
    if len(spans) < 2:
        return list(spans)
    union: list[Span] = []
    for span in sorted(spans):
        if union and span.start <= union[-1].end:
            union[-1] = Span(union[-1].start, max(union[-1].end, span.end))
        else:
            union.append(span)
    return union


def overlap(a: Sequence[Span], b: Sequence[Span]) -> float:
    """The length of what both unions cover."""
    return sum(max(0.0, min(p.end, q.end) - max(p.start, q.start)) for p in merged(a) for q in merged(b))


def total(spans: Sequence[Span]) -> float:
    """The length of what the spans cover."""
    return sum(span.end - span.start for span in merged(spans))


def iou(a: Sequence[Span], b: Sequence[Span]) -> float:
    """Intersection over union of what the spans cover together; 1 if there are none on either side."""
    return compared(a, b)[0]


def compared(a: Sequence[Span], b: Sequence[Span]) -> tuple[float, float, float]:
    """The IoU of what the spans cover together, and the shares of `a` and of `b` in common; 1 if neither covers any."""
    common, of_a, of_b = overlap(a, b), total(a), total(b)
    nothing = float(not a and not b)
    union = of_a + of_b - common
    value = common / union if union > 0 else nothing
    share_a = min(1.0, common / of_a) if of_a > 0 else nothing
    share_b = min(1.0, common / of_b) if of_b > 0 else nothing
    # A conversion of units and back must not cost the last digit.
    return 1.0 if value > 1 - 1e-9 else value, share_a, share_b
