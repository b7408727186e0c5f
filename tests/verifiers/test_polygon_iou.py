"""Polygons: every way to write one, areas against known values, and what must not pay."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmrl import catalog
from vlmrl.reading.polygons import MAX_VERTICES, polygon_from, solid
from vlmrl.verdict import Verdict

SQUARE = [[10, 10], [30, 10], [30, 30], [10, 30]]
TRIANGLE = [[0, 0], [40, 0], [0, 30]]


def verify(response: Any, target: Any, **params: Any) -> Verdict:
    text = response if isinstance(response, str) else json.dumps(response)
    return catalog.load("verifiers", "polygon_iou").verify(text, target, **params)


def score(response: Any, target: Any, **params: Any) -> float | None:
    return verify(response, target, **params).score


@pytest.mark.parametrize("said", [
    "[[10, 10], [30, 10], [30, 30], [10, 30]]", "[[[10, 10], [30, 10], [30, 30], [10, 30]]]",
    "[10, 10, 30, 10, 30, 30, 10, 30]", "[[10, 10, 30, 10, 30, 30, 10, 30]]", "[10, 10, 30, 30]",
    "(10,10), (30,10), (30,30), (10,30)", "The sign is (10, 10) (30, 10) (30, 30) (10, 30).",
    "<quad>(10,10),(30,10),(30,30),(10,30)</quad>", "<ref>sign</ref><quad>(10,10),(30,10),(30,30),(10,30)</quad>",
    "<box>(10,10),(30,30)</box>", '{"polygon": [10, 10, 30, 10, 30, 30, 10, 30], "label": "Sign"}',
    '```json\n[{"segmentation": [[10, 10, 30, 10, 30, 30, 10, 30]]}]\n```', '{"bbox_2d": ["10", "10", "30", "30"]}',
    "[{'polygon': [[10, 10], [30, 10], [30, 30], [10, 30]], 'label': 'sign'}, {'polygon': [[1, 2], [3",
    '{"rotated_box": [20, 20, 20, 20, 90]}', "[20, 20, 20, 20, 0]", "<think>[1, 2, 3, 4]</think>[10, 10, 30, 30]",
    "[[10, 10], [30, 10], [30, 30], [10, 30], [10, 10]]", "[[10, 30], [30, 30], [30, 10], [10, 10]]",
])  # fmt: skip
def test_ways_to_write_a_square(said: str) -> None:
    assert score(said, {"polygon": SQUARE, "label": "sign"}) == 1.0
    assert score(said, SQUARE) == 1.0


@pytest.mark.parametrize("said", [
    "", "a sign", "[10, 10]", "[[10, 10], [30, 30]]", "[20, 20, 20, -20, 0]", "[10, 10, 20, 10, 30]",
    "[1, 1, 2, 2, 3, 3]",
    "[10, 10, 30, 10, 30, 30, NaN, 30]", "[10, 10, 30, 10, 30, 30, 1e999, 30]", "[]", "<think>[10, 10, 30, 30]",
    '{"polygon": [10, 10, 30, 10, 30, 30, 10, 30], "label": "door"}', str(SQUARE * (MAX_VERTICES // 4 + 1)),
])  # fmt: skip
def test_what_is_no_square(said: str) -> None:
    assert score(said, {"polygon": SQUARE, "label": "sign"}) == 0.0


def test_known_areas() -> None:
    plain = {"metric": "iou", "threshold": 0.0}
    assert score([20, 20, 20, 20, 45], SQUARE, **plain) == pytest.approx(1 / math.sqrt(2), abs=1e-9), "an octagon"
    assert score([[0, 0, 40, 30]], TRIANGLE, **plain) == pytest.approx(0.5)
    assert score([10, 10, 30, 20], SQUARE, **plain) == pytest.approx(0.5)
    mask = {"segmentation": [[0, 0, 10, 0, 10, 10, 0, 10], [20, 0, 30, 0, 30, 10, 20, 10]]}
    assert score([[0, 0, 30, 10]], mask, **plain) == pytest.approx(2 / 3), "two parts of one mask"
    assert score(mask, mask) == 1.0


@pytest.mark.parametrize(("unit", "direction", "angle"), [
    ("degrees", "clockwise", 30), ("degrees", "counterclockwise", -30), ("radians", "clockwise", math.pi / 6),
    ("radians", "counterclockwise", -math.pi / 6),
])  # fmt: skip
def test_units_and_directions_of_angles(unit: str, direction: str, angle: float) -> None:
    cos, sin = math.cos(math.pi / 6), math.sin(math.pi / 6)
    # On the screen, y down: a bar turned clockwise points down to the right.
    corners = [[50 + x * cos - y * sin, 50 + x * sin + y * cos] for x, y in ((-20, -5), (20, -5), (20, 5), (-20, 5))]
    params = {"angle_unit": unit, "angle_direction": direction}
    assert score([50, 50, 40, 10, angle], {"polygon": corners}, **params) == pytest.approx(1.0)
    assert score([50, 50, 40, 10, -angle], {"polygon": corners}, **params) == 0.0
    assert score(catalog.load("verifiers", "polygon_iou").gold([50, 50, 40, 10, angle], **params),
                 [50, 50, 40, 10, angle], **params) == 1.0  # fmt: skip


def test_an_outline_that_crosses_itself_is_mended_and_a_scribble_is_not() -> None:
    bowtie = polygon_from([[0, 0], [10, 10], [10, 0], [0, 10]])
    assert bowtie is not None
    assert solid(bowtie).area == pytest.approx(50)
    scribble = [[math.cos(2.9 * i) * 50 + 50, math.sin(2.9 * i) * 50 + 50] for i in range(60)]
    assert verify([scribble], SQUARE).status == "unparsed"
    circle = [[math.cos(i / 50) * 50 + 50, math.sin(i / 50) * 50 + 50] for i in range(314)]
    assert score([circle], [circle]) == 1.0


def test_metrics_and_order() -> None:
    target = [SQUARE, TRIANGLE, [60, 60, 80, 80]]
    answer = [SQUARE, [60, 60, 80, 78]]
    for metric, value in [("share", 2 / 3), ("f1", 4 / 5), ("iou", 1.9 / 3),
                          ("mixture", (0.7 * 1.9 / 3 + 0.3 * (1 + 2 / 3) / 2) * 0.6)]:  # fmt: skip
        assert score([answer[0], [60, 60, 80, 60, 80, 78, 60, 78]], target, metric=metric) == pytest.approx(value)
        assert score(target[::-1], target, metric=metric) == 1.0
        many = [[x, y, x + 20, y + 20] for x in range(0, 100, 10) for y in range(0, 100, 10)]
        assert (score(many, target, metric=metric) or 0.0) < 0.1
        assert score([0, 0, 1000, 1000], target, metric=metric) == 0.0
    assert score("[]", []) == 1.0
    assert score([SQUARE], []) == 0.0
    assert score([[n, 0, n + 1, 1] for n in range(500)], SQUARE, size_penalty=1.0, threshold=0.0) == 0.0


def test_coordinates_of_target_and_answer_may_differ() -> None:
    frame = {"coords": "relative_1000", "answer_coords": "pixels", "image_size": [200, 100]}
    assert score([[0, 0], [100, 0], [0, 50]], [[0, 0], [500, 0], [0, 500]], **frame) == 1.0


@pytest.mark.parametrize(("target", "params", "says"), [
    ([[1, 1], [2, 2], [3, 3]], {}, "no area"), ("square", {}, "list of polygons"), ([[1, 2]], {}, "vertices"),
    ([[[0, 0], [1, 1]]], {}, "vertices"), (SQUARE, {"metric": "map"}, "map.*mixture"), ([5, 5, 1, 0, 3], {}, "angle"),
    (SQUARE, {"angle_unit": "turns"}, "turns.*radians"), (SQUARE, {"angle_direction": "left"}, "left.*clockwise"),
    (SQUARE, {"image_size": [9, 9]}, "9 x 9"), (SQUARE, {"answer_coords": "relative_1"}, "image_size"),
])  # fmt: skip
def test_bad_targets_say_value_and_mend(target: Any, params: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        catalog.load("verifiers", "polygon_iou").check_target(target, **params)
    assert verify("[]", target, **params).status == "bad_target"


def test_a_rotated_box_may_reach_over_the_edge() -> None:
    assert score([5, 50, 40, 10, 45], [5, 50, 40, 10, 45], image_size=[100, 100]) == 1.0


VERTEX = st.tuples(st.integers(0, 99), st.integers(0, 99)).map(list)


@settings(max_examples=150, deadline=None)
@given(a=st.lists(VERTEX, min_size=3, max_size=9), b=st.lists(VERTEX, min_size=3, max_size=9))
def test_the_measure_is_symmetric_and_bounded(a: list, b: list) -> None:
    plain = {"metric": "iou", "threshold": 0.0}
    one, other = score([a], [b], **plain), score([b], [a], **plain)
    if one is not None and other is not None:
        assert one == pytest.approx(other, abs=1e-9)
        assert 0.0 <= one <= 1.0
        assert score([a], [a]) == score([b], [b]) == 1.0


def test_targets_as_text_and_none_in_words() -> None:
    module = catalog.load("verifiers", "polygon_iou")
    for target in (str(SQUARE), f"{{'polygon': {SQUARE}, 'label': 'sign'}}", json.dumps([{"polygon": SQUARE}])):
        module.check_target(target)
        assert score(module.gold(target), target) == score(SQUARE, target) == 1.0
        assert score(TRIANGLE, target) < 0.5  # pyright: ignore[reportOptionalOperand]
    assert score("No objects", []) == 0.0
    assert score("No objects", [], none_in_words=True) == 1.0
    assert score("No objects", SQUARE, none_in_words=True) == 0.0


@pytest.mark.parametrize("said", [
    "The sign is not at [[10, 10], [30, 10], [30, 30], [10, 30]].", "[[10, 10], [30, 10], [30, 30], [10,",
    "[10, 10, 30, 30] or [50, 50, 60, 60]", "from x=10 to x=30, y=10 to",
])  # fmt: skip
def test_denied_open_and_cut_off_polygons_earn_nothing(said: str) -> None:
    assert verify(said, SQUARE).status == "unparsed"
