"""Spans in an answer. Every way to write them: tests/verifiers/test_temporal_iou.py."""

import pytest

from vlmrl.reading.timelines import Span, Timeline
from vlmrl.reading.timespans import MAX_SPANS, parse


@pytest.mark.parametrize(("text", "timeline", "spans"), [
    ("from 1:05 to 70 seconds", Timeline(), [Span(65.0, 70.0)]),
    ('{"end_time": 0.5, "start_time": "0.25"}', Timeline("fraction"), [Span(0.25, 0.5)]),
    ("30 - 60", Timeline("fraction", 120, "seconds"), [Span(0.25, 0.5)]), ("[]", Timeline(), []),
    ("1 - 2 minutes", Timeline(), [Span(60.0, 120.0)]), ("25 % to 50 %", Timeline(duration=40), [Span(10.0, 20.0)]),
    ("10-20 or 30-40", Timeline(), None), ("20 - 10", Timeline(), None), ("25 % to 50 %", Timeline(), None),
    ("| event | start | end |\n|---|---|---|\n| jump | 0:02 | 0:06 |", Timeline(), [Span(2.0, 6.0)]),
    ("| Start time (s) | End time (s) |\n|---|---|\n| 2.5 | 6 |", Timeline(), [Span(2.5, 6.0)]),
    ("He starts dancing at 01:05 and stops at 01:20.", Timeline(), [Span(65.0, 80.0)]),
    ("She begins to sing at 2 s and finishes at 6 s", Timeline(), [Span(2.0, 6.0)]),
    ("第2秒到第6秒", Timeline(), [Span(2.0, 6.0)]), ("He starts to dance, not to sing, at 2 s", Timeline(), None),
    ("a moment", Timeline(), None), ("[1,2]," * (MAX_SPANS + 1), Timeline(), None),
])  # fmt: skip
def test_parse(text: str, timeline: Timeline, spans: list[Span] | None) -> None:
    assert parse(text, timeline) == spans
