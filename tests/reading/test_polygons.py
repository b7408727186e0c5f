"""Polygons in an answer, and their areas. What they are worth: tests/verifiers/test_polygon_iou.py."""

import math
from typing import Any

import pytest

from vlmrl.reading.frames import Frame
from vlmrl.reading.polygons import MAX_CROSSING, MAX_VERTICES, Polygon, moved, parse_polygons, polygon_from, solid

TRIANGLE = ((0.0, 0.0), (4.0, 0.0), (0.0, 3.0))


@pytest.mark.parametrize(("text", "polygons"), [
    ("(0, 0), (4, 0), (0, 3)", [Polygon((TRIANGLE,))]), ("[[0, 0], [4, 0], [0, 3]]", [Polygon((TRIANGLE,))]),
    ('{"polygon": [0, 0, 4, 0, 0, 3], "label": "a"}', [Polygon((TRIANGLE,), "a")]), ("[]", []), ("a sign", None),
    ("[1, 2, 3, 4]", [Polygon((((1.0, 2.0), (3.0, 2.0), (3.0, 4.0), (1.0, 4.0)),))]), ("[[0, 0], [4, 0]]", None),
    ("[3, 2, 1, 4]", None),
])  # fmt: skip
def test_parse_polygons(text: str, polygons: list[Polygon] | None) -> None:
    assert parse_polygons(text) == polygons


def area(value: Any, turn: float = math.pi / 180) -> float | None:
    polygon = polygon_from(value, turn=turn)
    shape = solid(polygon) if polygon else None
    return shape.area if shape else None


def test_areas() -> None:
    assert area(TRIANGLE) is None, "tuples are no JSON"
    assert area([list(vertex) for vertex in TRIANGLE]) == 6.0
    assert area([50, 50, 20, 10, 33]) == pytest.approx(200)
    assert area([[0, 0, 2, 0, 2, 2, 0, 2], [10, 0, 11, 0, 11, 1, 10, 1]]) == pytest.approx(5), "two parts"
    assert area([[0, 0], [10, 10], [10, 0], [0, 10]]) == pytest.approx(50), "crosses itself"
    assert area([[0, 0], [1, 1], [2, 2]]) is None
    star = [[math.cos(2.9 * i), math.sin(2.9 * i)] for i in range(MAX_CROSSING + 1)]
    assert area(star) is None


@pytest.mark.parametrize(
    "value", [[20, 20, 20, -20, 0], [1, 2, 3], "x", [[0, 0]] * (MAX_VERTICES + 1), [1, 2, 3, None]]
)
def test_what_is_no_polygon(value: Any) -> None:
    assert polygon_from(value) is None


def test_the_turn_of_a_rotated_box() -> None:
    (degrees,) = polygon_from([0, 0, 4, 2, 90]).rings  # pyright: ignore[reportOptionalMemberAccess]
    (radians,) = polygon_from([0, 0, 4, 2, math.pi / 2], turn=1.0).rings  # pyright: ignore[reportOptionalMemberAccess]
    assert degrees[0] == pytest.approx((1, -2))
    assert list(radians) == [pytest.approx(vertex) for vertex in degrees]


def test_moved() -> None:
    half = moved(Polygon((TRIANGLE,), "a"), Frame("pixels", [8, 6], None, [4, 3]).to_answer)
    assert half == Polygon((((0.0, 0.0), (2.0, 0.0), (0.0, 1.5)),), "a")


def test_parsing_is_bounded() -> None:
    many = str([[n, 0, n + 1, 1] for n in range(5000)])
    assert len(parse_polygons(many) or []) == 1000
