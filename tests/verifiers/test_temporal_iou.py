"""Time spans: every way to write them, the measures, and the bugs of released temporal rewards."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmrl import catalog
from vlmrl.reading import timelines, timespans
from vlmrl.reading.timelines import Span, Timeline
from vlmrl.verdict import Verdict

SECONDS = Timeline()


def verify(response: str, target: Any, **params: Any) -> Verdict:
    return catalog.load("verifiers", "temporal_iou").verify(response, target, **params)


def score(response: str, target: Any, **params: Any) -> float | None:
    return verify(response, target, **params).score


@pytest.mark.parametrize("said", [
    '{"start_time": 10, "end_time": 20}', '{"start_time": "10", "end_time": "20"}',
    '{"end_time": 20.0, "start_time": 10.0}', "{'end_time': '20', 'start_time': '10'}",
    '```json\n[{"start": "00:10", "end": "00:20"}]\n```', "start_time: 10\nend_time: 20",
    '{"segments": [["0:10", "0:20"]]}', '{"begin": 10, "end": 20, "confidence": 0.9}',
    "10 - 20", "10s-20s", "10.0 to 20.0", "from 10 seconds to 20 seconds", "between 10 and 20 seconds",
    "The event happens in 10.0 - 20.0 seconds.", "It starts at 10 seconds and ends at 20 seconds.",
    "The person stops at 10 to 20", "[10, 20]", "(10.0, 20.0)", "10, 20", "<10> to <20>", "**10** to **20**",
    "00:10–00:20", "00:00:10,000 --> 00:00:20,000", "0:10 to 20 seconds", "10 to 20 sec", "１０ ～ ２０",
    "从10秒到20秒", "<think>5 to 30? no</think>\n<answer>\n10 to 20\n</answer>\n", r"\boxed{[10, 20]}",
])  # fmt: skip
def test_ways_to_write_a_span(said: str) -> None:
    assert score(said, [10, 20]) == 1.0
    assert score(said, {"start_time": 10, "end_time": 20}) == 1.0


@pytest.mark.parametrize(("said", "start", "end"), [
    ("1:02:03 to 1:02:04.5", 3723, 3724.5), ("1 minute 20 seconds to 2 minutes", 80, 120), ("1m20s - 1m40s", 80, 100),
    ("1 - 2 minutes", 60, 120), ("1 hour 1 minute to 1h 2m 3s", 3660, 3723), (".5 to 1.25", 0.5, 1.25),
    ("The answer is 5 seconds (0:03 to 0:08)", 3, 8), ("2:05-130", 125, 130),
])  # fmt: skip
def test_clock_times_and_long_units(said: str, start: float, end: float) -> None:
    assert timespans.parse(said, SECONDS) == [Span(start, end)]


@pytest.mark.parametrize("said", [
    "", "20 - 10", '{"start_time": 20, "end_time": 10}', "1.2.3 - 4", "1.2.3", "-5 to 10", "from -5 to 10", "[-5, 10]",
    "10", "at 10 and 20", "10-20-30", "[10, 20, 30]", "[10, 20, 30, 40]", "10-20 or 30-40", "10 to 20, maybe 30 to 40",
    "start: 10 or 12, end: 20", "20 to 30, 10 to 5", "[start, end]", '{"start_time": {"end_time": 3}}',
    '{"start_time": 10, "start_time": 12, "end_time": 20}', '{"start_time": 10}', "<think>10 to 20", "1e1 - 2e1",
    "the whole video", "9" * 50 + " - " + "9" * 60, "[1,2]," * 101,
])  # fmt: skip
def test_what_is_no_span(said: str) -> None:
    assert verify(said, [10, 20]).status == "unparsed"
    assert score(said, [10, 20]) == 0.0


@pytest.mark.parametrize(("said", "true", "iou", "matched"), [
    ("0-10", [[0, 10], [20, 30]], 0.5, 0.5), ("20-30, 0-10", [[0, 10], [20, 30]], 1.0, 1.0),
    ("0-30", [[0, 10], [20, 30]], 2 / 3, 1 / 6), ("[[0,5],[5,10]]", [[0, 10]], 1.0, 0.25),
    ("[[0,10],[0,10]]", [[0, 10]], 1.0, 0.5), ("0-10, 50-60", [[0, 10]], 0.5, 0.5), ("[]", [[0, 10]], 0.0, 0.0),
    ("0-10", [], 0.0, 0.0), ("[]", [], 1.0, 1.0), ("none", [], 1.0, 1.0), ("There is no such moment.", [], 1.0, 1.0),
    ("5-5", [[0, 10]], 0.0, 0.0), ("10-20", [[0, 10]], 0.0, 0.0),
])  # fmt: skip
def test_several_segments(said: str, true: Any, iou: float, matched: float) -> None:
    assert score(said, true) == pytest.approx(iou)
    assert score(said, true, metric="matched") == pytest.approx(matched)


def test_one_answer_in_two_notations_counts_as_a_whole() -> None:
    assert score("It starts at 10 and ends at 20 (0:10-0:20).", [10, 20]) == 1.0
    assert score('{"start_time": 10, "end_time": 20} and also 30-40', [10, 20]) == 0.5


def test_the_boundary_factor_of_time_r1() -> None:
    params = {"metric": "boundary", "duration": 100}
    assert score("10-20", [10, 20], **params) == 1.0
    assert score("12-20", [10, 20], **params) == pytest.approx(0.8 * 0.98)
    assert score("5-25", [10, 20], **params) == pytest.approx(0.5 * 0.95 * 0.95)
    assert score("0-100", [10, 20], **params) == pytest.approx(0.1 * 0.9 * 0.2)
    assert score("10-500", [10, 20], **params) == 0.0
    assert score("10-20", [10, 20], metric="boundary") is None


def test_units_are_converted() -> None:
    frame = {"unit": "fraction", "answer_unit": "seconds", "duration": 33.3}
    gold = catalog.load("verifiers", "temporal_iou").gold([0.1, 0.7], **frame)
    assert gold == "[[3.33, 23.31]]"
    assert score(gold, [0.1, 0.7], **frame) == 1.0
    assert score("0.25 to 0.5", [0.25, 0.5], unit="fraction") == 1.0
    assert score("25% - 50%", [0.25, 0.5], unit="fraction") == 1.0
    assert score("10 to 20%", [3.33, 6.66], duration=33.3) == 1.0
    assert score("0:10 to 0:20", [0.25, 0.5], unit="fraction", duration=40) == 1.0
    # Without a duration a time in seconds says nothing about fractions.
    assert verify("0:10 to 0:20", [0.25, 0.5], unit="fraction").status == "unparsed"


def test_no_format_pays_for_a_wrong_span() -> None:
    """Released rewards pay 0.5 for these: well laid out, disjoint, reversed or no time at all (0.65: the whole)."""
    layout = '<think>x</think><answer>{{"start_time": "{}", "end_time": "{}"}}</answer>'
    frame = {"unit": "fraction", "answer_unit": "seconds", "duration": 100}
    assert score(layout.format(50, 60), [0.1, 0.4], **frame) == 0.0
    assert score(layout.format(40, 10), [0.1, 0.4], **frame) == 0.0
    assert score(layout.format("1.2.3", 40), [0.1, 0.4], **frame) == 0.0
    assert score(layout.format(0, 100), [0.1, 0.4], **frame) == pytest.approx(0.3)


def test_the_whole_video_can_be_worth_nothing() -> None:
    params = {"discount_whole": True, "duration": 100}
    assert score("0-100", [10, 40]) == pytest.approx(0.3)
    assert score("0-100", [10, 40], **params) == 0.0
    assert score("10-40", [10, 40], **params) == 1.0
    assert score("10-30", [10, 40], **params) == pytest.approx((2 / 3 - 0.3) / 0.7)
    assert score("0-100", [0, 100], **params) == 1.0
    assert score("[]", [], **params) == 1.0
    # More time than there is earns less still.
    assert score("0-100000", [10, 40]) == pytest.approx(0.0003)


def test_parts_do_not_follow_the_parameters() -> None:
    plain = verify("10-15", [10, 20])
    strict = verify("10-15", [10, 20], threshold=0.7, metric="boundary", duration=30, discount_whole=True)
    assert (plain.score, strict.score) == (0.5, 0.0)
    assert plain.parts == strict.parts
    assert plain.parts == {"iou": 0.5, "precision": 1.0, "recall": 0.5, "iou_30": 1.0, "iou_50": 1.0, "iou_70": 0.0}


@pytest.mark.parametrize(("target", "params", "says"), [
    ([20, 10], {}, "start < end"), ([10, 10], {}, "start < end"), ([-1, 10], {}, "0 <= start"),
    ([10, 20], {"unit": "fraction"}, "ends after the video, 1"), ([10, 50], {"duration": 40}, "after the video, 40"),
    ("10-20", {}, "not a span"), ([[1, 2], [3]], {}, r"\[3\]"), ([10, 20], {"metric": "giou"}, "giou.*matched"),
    ([10, 20], {"unit": "frames"}, "frames"), ([10, 20], {"answer_unit": "fraction"}, "duration is missing"),
    ([10, 20], {"duration": 0}, "duration 0"), ([10, 20], {"discount_whole": True}, "duration is missing"),
])  # fmt: skip
def test_bad_targets_say_value_and_mend(target: Any, params: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        catalog.load("verifiers", "temporal_iou").check_target(target, **params)
    assert verify("10-20", target, **params).status == "bad_target"


_SPANS = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 90)).map(lambda p: Span(p[0] / 3, (p[0] + p[1]) / 3)))


@given(a=_SPANS, b=_SPANS)
def test_iou_is_symmetric_and_counts_points(a: list[Span], b: list[Span]) -> None:
    inside = [{third for s in spans for third in range(round(3 * s.start), round(3 * s.end))} for spans in (a, b)]
    union = len(inside[0] | inside[1])
    assert timelines.iou(a, b) == pytest.approx(len(inside[0] & inside[1]) / union if union else 1.0)
    assert timelines.iou(a, b) == pytest.approx(timelines.iou(b, a))


@given(spans=_SPANS)
def test_written_spans_are_read_again(spans: list[Span]) -> None:
    read = timespans.parse(timelines.written(spans[:9], SECONDS), SECONDS)
    assert read is not None
    assert [pytest.approx(span) for span in spans[:9]] == read


@pytest.mark.parametrize("said", [
    "第10秒到第20秒", "从第 10 秒到第 20 秒。", "事件发生在第10秒至第20秒之间。", "开始时间：10秒，结束时间：20秒",
    "［10，20］",
    r"\boxed{10 \text{ to } 20}", r"\boxed{10\text{s} - 20\text{s}}", r"\boxed{\left(10, 20\right)}", "Answer: 10 20",
    "from 10th second to 20th second", '{"from": 10, "to": 20}', "It does not happen from 0 to 5, but from 10 to 20.",
    "Answer: [10, 20]\n(note: the video has 60 seconds, from 0 to 60)", "[10, 20]. The whole video runs from 0 to 60.",
    "First I thought 5 to 8. Actually, 10 to 20.",
])  # fmt: skip
def test_spans_as_models_print_them(said: str) -> None:
    assert score(said, [10, 20]) == 1.0


@pytest.mark.parametrize("said", [
    "It does not happen from 10 to 20.", "Not from 10 to 20", "The event never happens between 10 and 20 seconds.",
    "事件没有发生在第10秒到第20秒之间。", "[10, 20] is wrong", "frames 10 to 20", "10 to 20 frames", "第10帧到第20帧",
    "10 to 20 hours", "from 10 to 20 to", "10 * 20", "10 20 kg", "10 people, 20 cars",
])  # fmt: skip
def test_what_only_looks_like_a_span(said: str) -> None:
    assert score(said, [10, 20]) == 0.0


def test_targets_as_text() -> None:
    module = catalog.load("verifiers", "temporal_iou")
    for target in ("[10.0, 20.0]", "[[10, 20]]", "{'start_time': 10, 'end_time': 20}", "(10, 20)"):
        module.check_target(target)
        assert score(module.gold(target), target) == score("10 - 20", target) == 1.0
        assert score("30 - 40", target) == 0.0


def test_none_in_words_can_be_switched_off() -> None:
    for said in ("None", r"\boxed{\text{None}}", "The event does not occur in the video.", "视频中没有这个事件"):
        assert score(said, []) == 1.0
        assert score(said, [], none_in_words=False) == 0.0
        assert score(said, [10, 20]) == 0.0
    assert score("I cannot tell whether it happens.", []) == 0.0
