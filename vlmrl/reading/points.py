"""Points: reading them from an answer.

    parse_points("Answer: (500, 250)")      -> [Point((500.0, 250.0), None)]
    parse_points("[50%, 25%]", (640, 480))  -> [Point((320.0, 120.0), None)]

Every function is total, and linear in the length of its text. Coordinates are those the answer uses; what is said in
per cent is a share of `extent`, the largest x and y of those coordinates.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from vlmrl.reading.answers import fold, unfenced
from vlmrl.reading.boxes import (
    BOX_KEYS,
    MAX_BOXES,
    NUMBER,
    REF,
    complete_objects,
    is_flat,
    json_value,
    key_pattern,
    keyed,
    numbers,
    said_label,
)

POINT_KEYS = ("point_2d", "point", "points", "coordinate", "coordinates", "position", "click", *BOX_KEYS)


class Point(NamedTuple):
    """A point of an answer or a target, and what it is said to show."""

    coords: tuple[float, float]
    label: str | None = None


_VALUE = rf"({NUMBER})(\s?%)?"
_PLACE = re.compile(
    rf"{REF}"
    # A box, as (x1,y1),(x2,y2) in box tags or as four numbers, is clicked in its middle.
    rf"|(?:<box>|<\|box_start\|>)\s{{0,9}}\(({NUMBER}),\s{{0,9}}({NUMBER})\),\s{{0,9}}\(({NUMBER}),\s{{0,9}}({NUMBER})\)"
    rf"|[\[(]\s{{0,9}}({NUMBER}),\s{{0,9}}({NUMBER}),\s{{0,9}}({NUMBER}),\s{{0,9}}({NUMBER})\s{{0,9}}[\])]"
    rf"|[\[(]\s{{0,9}}{_VALUE}\s{{0,9}},\s{{0,9}}{_VALUE}\s{{0,9}}[\])]"
    rf"|<point>\s{{0,9}}{_VALUE}(?:\s{{1,9}}|\s{{0,9}},\s{{0,9}}){_VALUE}\s{{0,9}}</point>"
    rf"|\bx\d{{0,3}}[\"']?\s?[=:]\s?[\"']?{_VALUE}[\"']?[\s,;]{{1,9}}[\"']?y\d{{0,3}}[\"']?\s?[=:]\s?[\"']?{_VALUE}"
)
_BARE = re.compile(rf"{_VALUE}(?:\s{{1,9}}|\s{{0,9}},\s{{0,9}}){_VALUE}\s{{0,9}}\.?")
_POINT_KEY = key_pattern(POINT_KEYS)
_ANSWER = re.compile(r"\banswer(?:\sis|\s?:)", re.IGNORECASE)
_TAIL = 30_000
# "1. (3, 4)" in a list begins no sentence.
_NEXT_SENTENCE = re.compile(r"[.!?;]\s+(?=[A-Za-z])")


def parse_points(text: str, extent: tuple[float, float] | None = None) -> list[Point] | None:
    """The points of an answer; `[]` is the answer "no such place"; None if there is nothing to read.

    Read are JSON lists and objects with `point_2d`, `point`, `coordinate` or `x` and `y`, bare `[x, y]` and lists of
    those, `(x, y)`, `x=1, y=2`, `<point>x y</point>`, `<point x="1" y="2">`, in code fences, calls or prose. A box
    stands for its middle. In prose the sentence after the last "answer:" counts, or else the last that names a
    place. Exact repetitions are dropped.
    """
    text = fold(unfenced(text)).strip()
    value = None if re.search(REF, text) else json_value(text)
    if value == []:
        return []
    bare = isinstance(value, list) and not any(isinstance(item, dict) for item in value)
    if bare and not (text.startswith("[") and text.endswith("]")):
        value = None
    points = list(itertools.islice(_json_points(value), 10 * MAX_BOXES)) or _text_points(text, extent)
    return list(dict.fromkeys(points))[:MAX_BOXES] or None


def point_from(value: Any, label: Any = None) -> Point | None:
    """A point from [x, y], or the middle of [x1, y1, x2, y2]; None unless they are finite numbers."""
    coords = numbers(value)
    if coords is None or len(coords) not in (2, 4):
        return None
    x, y = coords if len(coords) == 2 else ((coords[0] + coords[2]) / 2, (coords[1] + coords[3]) / 2)
    return Point((x, y), said_label(label))


def _json_points(value: Any) -> Iterator[Point]:
    # A tool call holds its arguments in an object inside an object.
    while isinstance(value, dict) and keyed(value, POINT_KEYS) is None and "x" not in value:
        value = next((item for item in value.values() if isinstance(item, (dict, list))), [])
    for item in [value] if isinstance(value, dict) or is_flat(value) else value or []:
        coords, label = item, None
        if isinstance(item, dict):
            coords, label = keyed(item, POINT_KEYS) or [item.get("x"), item.get("y")], item.get("label")
        for one in coords if isinstance(coords, list) and not is_flat(coords) else [coords]:
            if point := point_from(one, label):
                yield point


def _text_points(text: str, extent: tuple[float, float] | None) -> list[Point]:
    objects = [point_from(coords, label) for coords, label in complete_objects(text, _POINT_KEY)]
    if any(objects):
        return [point for point in objects if point]
    if whole := _BARE.fullmatch(text):
        return [point for point in [_said(whole.groups(), None, extent)] if point]
    # The commitment stands at the end, and this holds a thousand points.
    text = text[-_TAIL:]
    answer = max((match.end() for match in _ANSWER.finditer(text)), default=len(text))
    after = _sentences(text[answer:], extent)
    return after[0] if after else (_sentences(text, extent) or [[]])[-1]


def _sentences(text: str, extent: tuple[float, float] | None) -> list[list[Point]]:
    """The points of each sentence that names some."""
    sentences: list[list[Point]] = []
    last, label = 0, None
    for place in _PLACE.finditer(text):
        if place["ref"] is not None:
            label = place["ref"]
        elif point := _said(place.groups()[1:], label, extent):
            if not sentences or _NEXT_SENTENCE.search(text, last, place.start()):
                sentences.append([])
            sentences[-1].append(point)
            last = place.end()
    return sentences


def _said(groups: Sequence[str | None], label: str | None, extent: tuple[float, float] | None) -> Point | None:
    """A point from the groups of a match: two or four numbers, one in per cent being followed by its sign."""
    values: list[float] = []
    for group in filter(None, groups):
        if not group.endswith("%"):
            values.append(float(group))
        elif extent is None:
            return None
        else:
            values[-1] *= extent[len(values) - 1] / 100
    return point_from(values, label)
