"""Places in other toolkits' answers: boxes as corners, under the keys that the verifiers know, with their coordinates.

places("[{'Position': [1, 2, 3, 4], 'Confidence': 1}]", field)      [{"bbox_2d": [1, 2, 3, 4]}]
framed("[84, 112, 252, 224]", answer, task, {})     [84, 112, 336, 336], {"coords": "pixels", "image_size": [840, 560]}
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vlmrl.data.foreign.asked import asked_coords
from vlmrl.data.foreign.row import bare, literal
from vlmrl.data.foreign.task import Answer, Task
from vlmrl.data.media import image_size
from vlmrl.errors import UserError
from vlmrl.reading.boxes import BOX_KEYS, parse_boxes
from vlmrl.reading.frames import COORDS
from vlmrl.reading.points import POINT_KEYS, parse_points
from vlmrl.reading.polygons import POLYGON_KEYS

FORMS = ("xyxy", "xywh")
_COORDINATES = {*BOX_KEYS, *POINT_KEYS, *POLYGON_KEYS, "Position"}
_CORNERS = (("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max"))
_SIDES = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"))
_LABELS = ("label", "category", "class", "name", "class_name", "category_name", "category_id")
_TAGS = re.compile(r"<\|?(?:box|box_start|quad|quad_start|point|point_start|loc_?\d+)\|?>", re.IGNORECASE)
_MOST = 1.001
"""The largest number of coordinates from 0 to 1, with rounding."""


def places(value: Any, field: str, xywh: bool = False, verifier: str | None = None) -> Any:
    """The places in a true answer, with the keys that the verifiers know; boxes of the form `xywh` as corners.

    A box or a point in prose or in tags is read as one in the answer of a model.
    """
    read = bare(value)
    read = literal(read) if isinstance(read, str) else read
    if isinstance(read, str):
        read = spoken(read, verifier)
    if not isinstance(read, list | dict):
        raise UserError(f"{field}: expected a list of boxes, or of other places, got {value!r:.80}")
    read = _numeric(read)
    if xywh:
        read = _corners(read)
    return [_place(item) for item in read] if isinstance(read, list) else _place(read)


def spoken(text: str, verifier: str | None = "dynamic_iou") -> list[Any] | None:
    """The boxes, or for `point` the points, in prose or in tags; None if there are none."""
    if verifier == "point":
        return [list(point.coords) for point in parse_points(text) or ()] or None
    boxes = parse_boxes(text) if verifier == "dynamic_iou" else None
    return [{"bbox_2d": list(b.coords)} | ({"label": b.label} if b.label else {}) for b in boxes or ()] or None


def has_tags(value: Any) -> bool:
    """Whether an answer has a place in the tags of a model, whose coordinates are usually its own."""
    return isinstance(value, str) and bool(_TAGS.search(value))


def _numeric(value: Any) -> Any:
    """The value with numbers in place of lists and coordinates of numbers as text."""
    if isinstance(value, dict):
        sides = {key for keys in (*_CORNERS, *_SIDES) for key in keys}
        return {
            key: _number(inner) if isinstance(inner, str) and key in sides else _numeric(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        numbers = [_number(item) if isinstance(item, str) else item for item in value]
        return value if any(isinstance(n, str) for n in numbers) else [_numeric(inner) for inner in numbers]
    return value


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _place(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    if keys := next((keys for keys in _CORNERS if _are_numbers(item, keys)), None):
        place: dict[str, Any] = {"bbox_2d": [item[key] for key in keys]}
    elif keys := next((keys for keys in _SIDES if _are_numbers(item, keys)), None):
        x, y, width, height = (item[key] for key in keys)
        place = {"bbox_2d": [x, y, x + width, y + height]}
    elif "Position" in item:  # Visual-RFT, with a confidence of 1 in every true answer
        place = {"bbox_2d": item["Position"]}
    elif {"x", "y"} <= item.keys():
        place = {"point_2d": [item["x"], item["y"]]}
    else:
        place = {key: inner for key, inner in item.items() if key not in _LABELS}
    label = next((item[key] for key in _LABELS if isinstance(item.get(key), str) and item[key]), None)
    return place | ({"label": label} if label else {})


def _are_numbers(item: dict[str, Any], keys: tuple[str, ...]) -> bool:
    return all(isinstance(item.get(key), int | float) for key in keys)


def framed(value: Any, answer: Answer, task: Task, params: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The target as a list of places, boxes as corners, and the params that say what its numbers mean."""
    stated = (task.coords or "").split(",")
    where = f"{task.row.where}: answer"
    value = places(value, where, "xywh" in stated, answer.verifier)
    said = params.get("coords") or next((word for word in stated if word in COORDS), None)
    coords, size = said or answer.coords, _size(task, params)
    asked = asked_coords(task.prompt)
    most = max(map(abs, numbers_in(value)), default=None)
    if coords is None and asked and most is not None:
        coords = _plain(most, asked, size, answer.states_coords)
    reason = None
    if most is not None and most <= _MOST and (coords is None or (not said and coords not in ("relative_1", asked))):
        reason = f"are said to be {coords}, but" if coords else "are not stated and"
        reason += " no number is above 1"
    elif most is not None and coords is None and has_tags(answer.value):
        reason = "are not stated, and a model's tags usually hold its own"
    elif most is not None and coords is None and asked:
        reason = f"are not stated, and the prompt asks for {asked}"
    elif most is not None and coords is None and answer.states_coords:
        reason = "are not stated and its schema leaves them open"
    if reason:
        raise UserError(
            f"{where}: {value!r:.60}: the coordinates {reason}; give --coords {'|'.join(COORDS)}, with ',xywh' for "
            "boxes of that form"
        )
    frame: dict[str, Any] = {"answer_coords": asked} if asked else {}
    frame["coords"] = coords or "pixels"
    if size:
        frame["image_size"] = size
    return value, frame


def _plain(most: float, asked: str, size: list[int] | None, states: bool) -> str | None:
    """The coordinates of a target whose prompt asks for some, if its numbers leave no other; None if they do.

    `states` says that the prompts of the schema speak of the targets too.
    """
    limit = {"relative_1000": 1000, "relative_100": 100, "relative_1": _MOST}[asked]
    if most > limit:
        return "pixels"
    return asked if states or most <= _MOST or (size is not None and most > max(size)) else None


def _size(task: Task, params: Mapping[str, Any]) -> list[int] | None:
    images = task.media.get("images", [])
    number = params.get("image", 0)
    if not images:
        if task.media.get("videos"):
            return None
        raise UserError(f"{task.row.where}: images: missing; a row with places needs its image")
    if len(images) > 1 and "image" not in params:
        raise UserError(
            f"{task.row.where}: answer: the prompt has {len(images)} images; say which one the target is in, "
            "as in --params image=0 (the first that the prompt shows)"
        )
    if not isinstance(number, int) or not 0 <= number < len(images):
        raise UserError(f"{task.row.where}: params.image: expected 0 to {len(images) - 1}, got {number!r:.40}")
    try:
        return list(image_size(images[number]))
    except UserError as error:
        raise UserError(f"{task.row.where}: images: {error}") from None


def _corners(value: Any) -> Any:
    """The target with every [x, y, width, height] as [x1, y1, x2, y2]."""
    if isinstance(value, dict):
        return {key: _corners(inner) if key in _COORDINATES else inner for key, inner in value.items()}
    if isinstance(value, list):
        if len(value) == 4 and all(isinstance(number, int | float) for number in value):
            x, y, width, height = value
            return [x, y, x + width, y + height]
        return [_corners(inner) for inner in value]
    return value


def numbers_in(value: Any) -> Iterator[float]:
    """The coordinates, or times, in a target; not the angle of a rotated box."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in _COORDINATES:
                yield from numbers_in(inner)
    elif isinstance(value, list):
        is_rotated = len(value) == 5 and all(isinstance(inner, int | float) for inner in value)
        for inner in value[:4] if is_rotated else value:
            yield from numbers_in(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value
