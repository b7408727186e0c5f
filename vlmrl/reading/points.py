"""Points: reading them from an answer.

    parse_points("Answer: (500, 250)")      -> [Point((500.0, 250.0), None)]
    parse_points("[50%, 25%]", (640, 480))  -> [Point((320.0, 120.0), None)]

Every function is total, and linear in the length of its text. Coordinates are those the answer uses; what is said in
per cent is a share of `extent`, the largest x and y of those coordinates.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from vlmrl.reading import names, places
from vlmrl.reading.boxes import BOX_KEYS, BOX_NAMES
from vlmrl.reading.structures import Extent, is_pairs, numbers

POINT_KEYS = ("point_2d", "point", "points", "coordinate", "click", "center", "start_box", *BOX_KEYS)


class Point(NamedTuple):
    """A point of an answer or a target, and what it is said to show."""

    coords: tuple[float, float]
    label: str | None = None


def parse_points(text: str, extent: Extent | None = None, *, none_in_words: bool = False) -> list[Point] | None:
    """The points of an answer; `[]` is the answer "no such place"; None if there is nothing to read.

    `places.read` says what is read. A box stands for its middle. Of several sentences that name places the last
    counts. Exact repetitions are dropped.
    """
    return places.read(text, POINT_KEYS, _points, extent=extent, last=True, none_in_words=none_in_words)


def point_from(value: Any, label: Any = None) -> Point | None:
    """A point from [x, y], or the middle of [x1, y1, x2, y2]; None unless they are finite numbers."""
    coords = numbers(value)
    if coords is None or len(coords) not in (2, 4):
        return None
    x, y = coords if len(coords) == 2 else ((coords[0] + coords[2]) / 2, (coords[1] + coords[3]) / 2)
    return Point((x, y), names.said_label(label))


def _points(value: list[Any], label: str | None, key: str | None) -> list[Point]:
    if is_pairs(value):
        # The corners of a box: <box>(1, 2), (3, 4)</box>.
        value = [[*value[0], *value[1]]] if len(value) == 2 and key in BOX_NAMES else value
    else:
        value = [value]
    return [point for one in value if (point := point_from(one, label))]
