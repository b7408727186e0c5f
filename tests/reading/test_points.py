"""Points in an answer. What they are worth: tests/verifiers/test_point.py."""

from typing import Any

import pytest

from vlmrl.reading.places import MAX_PLACES
from vlmrl.reading.points import Point, parse_points, point_from

ONE = Point((3.0, 4.0))


@pytest.mark.parametrize(("text", "extent", "points"), [
    ("Answer: (500, 250)", None, [Point((500.0, 250.0))]), ("[50%, 25%]", (640, 480), [Point((320.0, 120.0))]),
    ("[50%, 25%]", None, None), ("[]", None, []), ("[3, 4]", None, [ONE]), ("x=3, y=4", None, [ONE]),
    ('{"x": 3, "y": 4}', None, [ONE]), ("<point>3 4</point>", None, [ONE]), ('<point x="3" y="4">', None, [ONE]),
    ('[{"point_2d": [3, 4], "label": "cat"}]', None, [Point((3.0, 4.0), "cat")]), ("3, 4", None, [ONE]),
    ("[2, 2, 4, 6]", None, [ONE]), ("(9, 9) is wrong. It is (3, 4).", None, [ONE]), ("[[3, 4], [3, 4]]", None, [ONE]),
    ("the button", None, None), ("[1, 2, 3]", None, None),
])  # fmt: skip
def test_parse_points(text: str, extent: Any, points: list[Point] | None) -> None:
    assert parse_points(text, extent) == points


@pytest.mark.parametrize("value", [[1], [1, 2, 3], ["a", 2], [float("nan"), 2], [True, 2], "12", None])
def test_what_is_no_point(value: Any) -> None:
    assert point_from(value) is None


def test_parse_points_is_bounded() -> None:
    assert len(parse_points(str([[n, 0] for n in range(5000)])) or []) == MAX_PLACES
