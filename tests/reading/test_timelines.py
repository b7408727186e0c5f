"""Units of times, true spans, and their overlaps."""

from typing import Any

import pytest

from vlmrl.reading.timelines import Span, Timeline, iou, merged, overlap, total, true_spans, written


@pytest.mark.parametrize(("timeline", "said", "factor"), [
    (Timeline(), None, 1.0), (Timeline(), "fraction", None), (Timeline(duration=40), "fraction", 40.0),
    (Timeline("fraction", 40), "seconds", 1 / 40), (Timeline("fraction", 40, "seconds"), None, 1 / 40),
    (Timeline("fraction"), "seconds", None), (Timeline("fraction"), None, 1.0),
])  # fmt: skip
def test_factor(timeline: Timeline, said: str | None, factor: float | None) -> None:
    assert timeline.factor(said) == factor


@pytest.mark.parametrize("timeline", [Timeline("frames"), Timeline(duration=0), Timeline("fraction", None, "seconds")])
def test_check_refuses(timeline: Timeline) -> None:
    Timeline("fraction", 40, "seconds").check()
    with pytest.raises(ValueError, match=r"unit|duration"):
        timeline.check()


def test_true_spans() -> None:
    assert true_spans([1, 2], Timeline()) == [Span(1.0, 2.0)]
    assert true_spans([{"start_time": 1, "end_time": 2}, [3, 4]], Timeline()) == [Span(1.0, 2.0), Span(3.0, 4.0)]
    assert true_spans([], Timeline()) == []


@pytest.mark.parametrize("target", ["1-2", [2, 1], [1, 1], [-1, 2], [[1, 2], [3]], [1, 50], [True, 2]])
def test_true_spans_refuses(target: Any) -> None:
    with pytest.raises(ValueError, match="span"):
        true_spans(target, Timeline(duration=40))


def test_written_in_the_unit_of_answers() -> None:
    assert written([Span(10.0, 20.5)], Timeline()) == "[[10, 20.5]]"
    assert written([Span(0.25, 0.5)], Timeline("fraction", 40, "seconds")) == "[[10, 20]]"


def test_measures() -> None:
    a, b = [Span(0.0, 10.0), Span(5.0, 15.0)], [Span(10.0, 30.0)]
    assert merged(a) == [Span(0.0, 15.0)]
    assert merged([Span(5.0, 6.0), Span(0.0, 1.0)]) == [Span(0.0, 1.0), Span(5.0, 6.0)]
    assert (total(a), overlap(a, b), iou(a, b)) == (15.0, 5.0, pytest.approx(5 / 30))
    assert (iou([], []), iou(a, [])) == (1.0, 0.0)
