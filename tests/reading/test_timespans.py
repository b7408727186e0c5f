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
    ("a moment", Timeline(), None), ("[1,2]," * (MAX_SPANS + 1), Timeline(), None),
])  # fmt: skip
def test_parse(text: str, timeline: Timeline, spans: list[Span] | None) -> None:
    assert parse(text, timeline) == spans
