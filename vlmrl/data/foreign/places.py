"""Places in other toolkits' answers: boxes as corners, under the keys that the verifiers know, with their coordinates.

places("[{'Position': [1, 2, 3, 4], 'Confidence': 1}]", field)      [{"bbox_2d": [1, 2, 3, 4]}]
framed("[84, 112, 252, 224]", answer, task, {})     [84, 112, 336, 336], {"coords": "pixels", "image_size": [840, 560]}
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vlmrl.data.foreign.row import bare, literal
from vlmrl.data.foreign.task import Answer, Task
from vlmrl.data.media import image_size
from vlmrl.errors import UserError
from vlmrl.reading.boxes import BOX_KEYS
from vlmrl.reading.frames import COORDS

FORMS = ("xyxy", "xywh")
_COORDINATES = (*BOX_KEYS, "Position", "point_2d", "point", "polygon", "polygon_2d", "segmentation", "quad", "points")
_ASKS_FOR_1000 = re.compile(r"\b0\s*(?:-|–|to|and|,)\s*(?:1,?000|999)\b")


def places(value: Any, field: str, xywh: bool = False) -> Any:
    """The places in a true answer, with the keys that the verifiers know; boxes of the form `xywh` as corners."""
    read = bare(value)
    read = literal(read) if isinstance(read, str) else read
    if not isinstance(read, list | dict):
        raise UserError(f"{field}: expected a list of boxes, or of other places, got {value!r:.80}")
    if xywh:
        read = _corners(read)
    return [_place(item) for item in read] if isinstance(read, list) else _place(read)


def _place(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    if {"x1", "y1", "x2", "y2"} <= item.keys():
        place: dict[str, Any] = {"bbox_2d": [item[key] for key in ("x1", "y1", "x2", "y2")]}
    elif {"x", "y", "width", "height"} <= item.keys():
        x, y = item["x"], item["y"]
        place = {"bbox_2d": [x, y, x + item["width"], y + item["height"]]}
    elif "Position" in item:  # Visual-RFT, with a confidence of 1 in every true answer
        place = {"bbox_2d": item["Position"]}
    elif {"x", "y"} <= item.keys():
        place = {"point_2d": [item["x"], item["y"]]}
    else:
        return item
    label = next((item[key] for key in ("label", "category", "class", "name") if item.get(key)), None)
    return place | ({"label": label} if label else {})


def framed(value: Any, answer: Answer, task: Task, params: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The target as a list of places, boxes as corners, and the params that say what its numbers mean."""
    stated = (task.coords or "").split(",")
    where = f"{task.row.where}: answer"
    value = places(value, where, "xywh" in stated)
    coords = params.get("coords") or next((word for word in stated if word in COORDS), None) or answer.coords
    frame: dict[str, Any] = {}
    if coords is None and _ASKS_FOR_1000.search(task.question):
        # Where targets are compared as they stand, they are in the coordinates that the prompt asks for.
        frame["answer_coords"] = coords = "relative_1000"
    numbers = list(numbers_in(value))
    if coords is None and numbers and (max(numbers) <= 1 or answer.states_coords):
        reason = "its schema leaves them open" if max(numbers) > 1 else "no number is above 1"
        raise UserError(
            f"{where}: {value!r:.60}: the coordinates are not stated and {reason}; give --coords "
            f"{'|'.join(COORDS)}, with ',xywh' for boxes of that form"
        )
    frame["coords"] = coords or "pixels"
    if size := _size(task, params):
        frame["image_size"] = size
    return value, frame


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
    """The coordinates, or times, in a target."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in _COORDINATES:
                yield from numbers_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers_in(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value
