"""Frames: places in an image, in the coordinates of the target or of the answer. For boxes, polygons and points.

frame = Frame("pixels", [640, 480], answer_coords="relative_1000")
frame.scale                                                     -> (1.5625, 2.083...), from target to answer
frame.answer("<answer>[320, 240, 640, 480]</answer>")           -> "[320, 240, 640, 480]"
list(true_items({"bbox_2d": [1, 2, 3, 4]}, boxes.BOX_KEYS))  -> [([1, 2, 3, 4], None)]
written("bbox_2d", [([1, 2, 3, 4], "cat")])                     -> '[{"bbox_2d": [1, 2, 3, 4], "label": "cat"}]'
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from vlmrl.reading import answers, boxes, location_tokens

Corner = tuple[float, float]


class Frame(NamedTuple):
    """The parameters that describe the coordinates of the target and, where they differ, of the answer.

    `coords` is one of `boxes.COORDS`, a size is (width, height) in pixels. What is computed from them raises a
    `ValueError` for coordinates that are unknown, and for a size that is needed and missing.
    """

    coords: str = "pixels"
    image_size: Sequence[float] | None = None
    answer_coords: str | None = None
    answer_size: Sequence[float] | None = None

    @property
    def scale(self) -> Corner:
        """What takes a target's x and y to those of the answer."""
        return boxes.answer_scale(*self)

    @property
    def extent(self) -> Corner | None:
        """The target's largest x and y; None if nobody said how large its image is."""
        return boxes.answer_extent(self.coords, self.image_size, None, None)

    @property
    def answer_extent(self) -> Corner | None:
        """The same of the answer."""
        return boxes.answer_extent(*self)

    def check(self) -> None:
        """`ValueError` unless both sides' coordinates are known, with the sizes that a conversion needs."""
        boxes.answer_scale(*self)

    def answer(self, response: str) -> str:
        """What the response answers, location tokens spelled out; nothing if its thinking never ended."""
        answer = answers.extract(response)
        return location_tokens.spell_out(answer.text, self.answer_extent) if answer else ""

    def check_inside(self, extent: Corner, what: str, *corners: Corner) -> None:
        """`ValueError` that says what lies outside unless all of these corners of a target are within its extent."""
        if not all(0 <= x <= extent[0] and 0 <= y <= extent[1] for x, y in corners):
            inside = f"{extent[0]:g} x {extent[1]:g} {self.coords}"
            raise ValueError(f"{what} outside the image ({inside}); mend it")


def true_items(
    target: Any, keys: Sequence[str], is_one: Callable[[Any], bool] = boxes.is_flat
) -> Iterator[tuple[Any, Any]]:
    """(coordinates, label) of a target's items: one object, coordinates that are one item, or a list of these."""
    for item in [target] if isinstance(target, dict) or is_one(target) else target:
        yield (boxes.keyed(item, keys), item.get("label")) if isinstance(item, dict) else (item, None)


def written(key: str, places: Iterable[tuple[Any, str | None]]) -> str:
    """(coordinates, label) as an answer in JSON."""
    items = [{key: coords} | ({"label": label} if label else {}) for coords, label in places]
    return json.dumps(items, ensure_ascii=False)
