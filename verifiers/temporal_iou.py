"""Temporal grounding: how well the answered time spans cover the true ones.

    iou        intersection over union of all that is answered and all that is true
    matched    sum of IoU over the best one-to-one pairs / the larger number of spans
    boundary   iou * (1 - |start error| / T) * (1 - |end error| / T), T the duration       (Time-R1, arXiv 2503.13377)

If there are several spans, `boundary` takes the first start and the last end. `vlmrl.reading.timespans` describes how
an answer is read; one with a reversed or negative span scores 0. If there is no such moment, the target is `[]`, and so
is the right answer.

An answer that names the whole video earns its IoU, which is the true share of the video. `discount_whole` removes this
gain: (score - s) / (1 - s), not below 0, with s the score of the whole video.

The parts `iou`, `precision` and `recall` (shares of the answered and of the true time that overlap) and `iou_30`,
`iou_50`, `iou_70` (R1@0.3, 0.5, 0.7 of Charades-STA) never depend on the parameters.

    vlmrl check temporal_iou
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vlmrl.reading import answers, boxes, timelines, timespans
from vlmrl.reading.checks import one_of
from vlmrl.reading.timelines import Span, Timeline
from vlmrl.verdict import Example, Shape, Verdict, bad_target, unparsed

METRICS = ("iou", "matched", "boundary")
REPORTED = (0.3, 0.5, 0.7)
"""The fixed thresholds of the parts."""
PARTS = ("iou", "precision", "recall", *(f"iou_{at * 100:.0f}" for at in REPORTED))

_FRACTION = {"unit": "fraction", "answer_unit": "seconds", "duration": 40}
EXAMPLES = [
    Example("<think>at the end?</think><answer>10.0 to 20.0</answer>", [10, 20], 1.0),
    Example('{"end_time": "00:20", "start_time": "00:10"}', [10, 20], 1.0),
    Example("from 10 seconds to 15 seconds", [10, 20], 0.5),
    Example("10 - 20", [0.25, 0.5], 1.0, _FRACTION),
    Example("25 % to 50 %", [10, 20], 1.0, {"duration": 40}),
    Example("[[0, 10], [30, 40]]", [[0, 10], [30, 40]], 1.0),
    Example("0 - 40", [[0, 10], [30, 40]], 0.5),
    Example("0 - 40", [[0, 10], [30, 40]], 0.125, {"metric": "matched"}),
    Example("10 - 18", [10, 20], 0.8 * 0.95, {"metric": "boundary", "duration": 40}),
    Example("0 - 40", [10, 20], 0.25),
    Example("0 - 40", [10, 20], 0.0, {"discount_whole": True, "duration": 40}),
    Example("10 - 15", [10, 20], 0.0, {"threshold": 0.7}),
    Example("[]", [], 1.0),
    Example("10 - 20", [], 0.0),
    Example("30 - 40", [10, 20], 0.0),
    Example("20 - 10", [10, 20], 0.0),
    Example("10-20 or 30-40", [10, 20], 0.0),
    Example("10 - 20", [20, 10], None),
    Example("10 - 20", [0.25, 12], None, _FRACTION),
]


def verify(
    response: str,
    target: Any,
    *,
    metric: str = "iou",
    unit: str = "seconds",
    answer_unit: str | None = None,
    duration: float | None = None,
    threshold: float = 0.0,
    discount_whole: bool = False,
    none_in_words: bool = True,
) -> Verdict:
    """Scores the spans of the answer by `metric`; below `threshold` it is 0.

    `target`: [start, end], `{"start_time", "end_time"}`, a list of those, or `[]`, in `unit`: `seconds`, or
    `fraction` of the duration; or JSON of these as text. `answer_unit`: of the plain numbers in answers, if not that
    of the target. `duration`: of the video in seconds; needed where the two differ, and in seconds by `boundary` and
    `discount_whole`. `none_in_words`: "There is no such moment" and the like are `[]`.
    """
    timeline = Timeline(unit, duration, answer_unit)
    try:
        true = _true_spans(target, timeline, metric, discount_whole)
    except ValueError as error:
        return bad_target(str(error))
    answer = answers.extract(response)
    said = timespans.parse(answer.text, timeline, none_in_words=none_in_words) if answer else None
    if said is None:
        return unparsed("no time span in the answer, or one that is reversed or left open", PARTS)
    iou, *shares = timelines.compared(said, true)
    score = _score(iou, said, true, metric, timeline.length)
    parts = dict(zip(PARTS, (iou, *shares, *(float(iou >= at) for at in REPORTED)), strict=True))
    if discount_whole:
        video = [Span(0.0, timeline.length or 0.0)]
        whole = _score(timelines.iou(video, true), video, true, metric, timeline.length)
        score = max(0.0, (score - whole) / (1 - whole)) if 0 < whole < 1 else score
    shown = timelines.written(said, Timeline())
    if score < threshold:
        return Verdict(0.0, parts=parts, answer=shown, why=f"{score:.2f} is below {threshold:g}")
    return Verdict(score, parts=parts, answer=shown)


def gold(
    target: Any,
    *,
    unit: str = "seconds",
    answer_unit: str | None = None,
    duration: float | None = None,
    **_: Any,
) -> str:
    """The true spans in the unit of answers."""
    timeline = Timeline(unit, duration, answer_unit)
    return timelines.written(timelines.true_spans(target, timeline), timeline)


def check_target(
    target: Any,
    *,
    metric: str = "iou",
    unit: str = "seconds",
    answer_unit: str | None = None,
    duration: float | None = None,
    discount_whole: bool = False,
    **_: Any,
) -> None:
    """ValueError for a span that is malformed, reversed or outside the video, or a missing duration."""
    _true_spans(target, Timeline(unit, duration, answer_unit), metric, discount_whole)


def _true_spans(target: Any, timeline: Timeline, metric: str, discount_whole: bool) -> list[Span]:
    """The target's spans; ValueError as of `check_target`."""
    one_of("metric", metric, METRICS)
    spans = timelines.true_spans(target, timeline)
    if timeline.length is None and (metric == "boundary" or discount_whole):
        raise ValueError("duration is missing; boundary and discount_whole need the video's length in seconds")
    return spans


def shapes(
    response: str,
    target: Any,
    *,
    unit: str = "seconds",
    answer_unit: str | None = None,
    duration: float | None = None,
    **_: Any,
) -> list[Shape]:
    """The true and the answered spans; ValueError where the duration is not known."""
    timeline = Timeline(unit, duration, answer_unit)
    if timeline.length is None:
        raise ValueError("duration is missing; a span can only be drawn in a video of known length")
    answer = answers.extract(response)
    said = timespans.parse(answer.text, timeline) if answer else None
    both = ((timelines.true_spans(target, timeline), True), (said or [], False))
    return [
        Shape("span", (span.start / timeline.length, span.end / timeline.length), None, true)
        for spans, true in both
        for span in spans
    ]


def _score(iou: float, said: Sequence[Span], true: Sequence[Span], metric: str, length: float | None) -> float:
    if metric == "iou" or not said or not true:
        return iou
    if metric == "matched":
        iou_NM = np.array([[timelines.iou([a], [b]) for b in true] for a in said])
        return float(sum(iou_NM[pair] for pair in boxes.match(iou_NM))) / max(len(said), len(true))
    assert length is not None
    starts = min(said).start - min(true).start
    ends = max(span.end for span in said) - max(span.end for span in true)
    return iou * max(0.0, 1 - abs(starts) / length) * max(0.0, 1 - abs(ends) / length)
