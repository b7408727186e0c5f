"""Polygons: reading them from an answer, and their areas.

    parse_polygons("(0, 0), (4, 0), (0, 3)")  -> [Polygon((((0.0, 0.0), (4.0, 0.0), (0.0, 3.0)),), None)]
    solid(polygon).area                       -> 6.0, through shapely

Every function is total, and linear in the length of its text.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlmrl.reading import names, places
from vlmrl.reading.boxes import BOX_KEYS, BOX_NAMES
from vlmrl.reading.structures import Extent, is_flat, is_pairs, numbers

MAX_VERTICES = 2000
"""A polygon with more vertices is none."""
MAX_CROSSING = 64
"""A polygon that crosses itself is made valid up to this many vertices: crossings grow with their square."""
_MAX_PIECES = 3
_NAMES = ("polygon", "polygon_2d", "segmentation", "quad", "poly", "points", "vertices", "rotated_box", "rbox", "obb")
POLYGON_KEYS = (*_NAMES, *BOX_KEYS)

Vertex = tuple[float, float]
Ring = tuple[Vertex, ...]
Move = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Takes coordinates [..., 2k] to others, as the methods of `vlmrl.reading.frames.Frame`."""


class Polygon(NamedTuple):
    """A region of one or several rings of vertices, and what it is said to show."""

    rings: tuple[Ring, ...]
    label: str | None = None


def parse_polygons(
    text: str, turn: float = math.pi / 180, extent: Extent | None = None, *, none_in_words: bool = False
) -> list[Polygon] | None:
    """The polygons of an answer; `[]` is the answer "no object"; None if there is nothing to read.

    `places.read` says what is read, and `polygon_from` what a list of numbers means. Exact repetitions are dropped.
    """

    def make(value: list[Any], label: str | None, key: str | None) -> list[Polygon]:
        if is_pairs(value) and len(value) == 2:
            # The corners of a box: <box>(1, 2), (3, 4)</box>.
            value = [*value[0], *value[1]] if key in BOX_NAMES else []
        elif key not in _NAMES and not (is_ring(value) or is_flat(value)):
            return []
        polygon = polygon_from(value, label, turn)
        return [polygon] if polygon else []

    return places.read(text, POLYGON_KEYS, make, extent=extent, none_in_words=none_in_words)


def polygon_from(value: Any, label: Any = None, turn: float = math.pi / 180) -> Polygon | None:
    """A polygon from its vertices, or None.

    [[x, y], ...] or [x, y, x, y, x, y, ...]: three vertices or more; [x1, y1, x2, y2]: a box; [cx, cy, w, h, angle]:
    a rotated box, `turn` radians a unit of its angle, from the x axis towards the y axis; a list of these: one
    region of several parts.
    """
    if not isinstance(value, (list, tuple)):
        return None
    several = all(isinstance(part, list) for part in value) and not is_ring(value)
    rings = [_ring(part, turn) for part in (value if several else [value])]
    kept = tuple(ring for ring in rings if ring)
    if not kept or len(kept) < len(rings):
        return None
    return Polygon(kept, names.said_label(label))


def moved(polygon: Polygon, move: Move) -> Polygon:
    """The polygon with its vertices, [N, 2] of each ring, in other coordinates."""
    rings = (move(np.array(ring)).tolist() for ring in polygon.rings)
    return Polygon(tuple(tuple((x, y) for x, y in ring) for ring in rings), polygon.label)


def solid(polygon: Polygon) -> Any:
    """The union of the polygon's parts as a valid shapely area; None if it has none or crosses itself too much."""
    import shapely

    areas = []
    for ring in polygon.rings:
        area = shapely.Polygon(ring)
        if not area.is_valid:
            if len(ring) > MAX_CROSSING:
                return None
            area = shapely.make_valid(area, method="structure", keep_collapsed=False)
            # A slip of the outline adds a few corners; a scribble adds hundreds, each of which costs time.
            if shapely.get_num_coordinates(area) > _MAX_PIECES * len(ring) + 8:
                return None
        areas.append(area)
    whole = areas[0] if len(areas) == 1 else shapely.union_all(areas)
    return whole if whole.area > 0 else None


def is_ring(value: Any) -> bool:
    """Whether the value is a list of at least three pairs."""
    return isinstance(value, list) and len(value) >= 3 and all(is_flat(pair) and len(pair) == 2 for pair in value)


def _ring(value: Any, turn: float) -> Ring | None:
    coords = numbers([item for pair in value for item in pair] if is_ring(value) else value)
    if coords is None or len(coords) > 2 * MAX_VERTICES:
        return None
    if len(coords) == 5:
        return _rotated(*coords, turn=turn)
    if len(coords) == 4:
        x1, y1, x2, y2 = coords
        return ((x1, y1), (x2, y1), (x2, y2), (x1, y2)) if x1 < x2 and y1 < y2 else None
    if len(coords) % 2 or len(coords) < 6:
        return None
    return tuple(zip(coords[::2], coords[1::2], strict=True))


def _rotated(cx: float, cy: float, width: float, height: float, angle: float, *, turn: float) -> Ring | None:
    if width <= 0 or height <= 0:
        return None
    cos, sin = math.cos(angle * turn), math.sin(angle * turn)
    corners = ((-width / 2, -height / 2), (width / 2, -height / 2), (width / 2, height / 2), (-width / 2, height / 2))
    return tuple((cx + x * cos - y * sin, cy + x * sin + y * cos) for x, y in corners)
