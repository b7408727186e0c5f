"""Frames: the coordinates of a target and those of the answer. For boxes, polygons and points.

    frame = Frame("pixels", [640, 480], answer_coords="relative_1000")
    frame.to_answer(np.array([[64.0, 48, 320, 240]]))          -> [[100, 100, 500, 500]]
    frame.from_answer(np.array([[500.0, 250]]))                -> [[320, 120]]
    frame.answer_text("<answer>[100, 100, 500, 500]</answer>") -> "[100, 100, 500, 500]"

Coordinates are `pixels` of an image of size (width, height), or relative to it: `relative_1000` (0 to 1000),
`relative_100` (per cent, as Molmo points) or `relative_1` (0 to 1). Nothing here rounds.

The functions of a verifier take one argument, `frame`; `framed` gives them the parameters that a row of data has.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from vlmrl.reading import answers, location_tokens, names, structures

_SIDE = {"relative_1000": 1000.0, "relative_100": 100.0, "relative_1": 1.0}
COORDS = ("pixels", *_SIDE)

Corner = tuple[float, float]
_T = TypeVar("_T")


class Frame(NamedTuple):
    """The coordinates of the target and, where they differ, of the answer.

    `coords` is one of `COORDS`, a size is (width, height) in pixels. What is computed from them raises a `ValueError`
    for coordinates that are unknown, and for a size that is needed and missing, or malformed.
    """

    coords: str = "pixels"
    image_size: Sequence[float] | None = None
    answer_coords: str | None = None
    answer_size: Sequence[float] | None = None

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Self:
        """The frame that the parameters of a row of data describe; those of other things are ignored."""
        return cls(**{name: params[name] for name in cls._fields if name in params})

    def check(self) -> None:
        """`ValueError` unless both coordinates are known, with the sizes that a conversion needs."""
        _ = self.scale, self.extent

    def check_inside(self, what: str, *corners: Corner) -> None:
        """`ValueError` that says what is outside the image, unless all of these corners of a target are inside."""
        limit = self.extent
        if limit and not all(0 <= x <= limit[0] and 0 <= y <= limit[1] for x, y in corners):
            raise ValueError(f"{what} outside the image ({limit[0]:g} x {limit[1]:g} {self.coords}); correct it")

    @property
    def extent(self) -> Corner | None:
        """The target's largest x and y; None for pixels of an image of unknown size."""
        return _known_extent(self.coords, self.image_size)

    @property
    def answer_extent(self) -> Corner | None:
        """The answer's largest x and y; None for pixels of an image of unknown size."""
        return _known_extent(self.answer_coords or self.coords, self.answer_size or self.image_size)

    @property
    def scale(self) -> Corner:
        """The factors from a target's x and y to those of the answer."""
        theirs = self.answer_coords or self.coords
        for name, value in (("coords", self.coords), ("answer_coords", theirs)):
            if value not in COORDS:
                raise ValueError(f"{name} {value!r} is unknown; use one of {', '.join(COORDS)}")
        same_size = self.coords != "pixels" or self.answer_size is None or self.answer_size == self.image_size
        if theirs == self.coords and same_size:
            return 1.0, 1.0
        old, new = extent(self.coords, self.image_size), extent(theirs, self.answer_size or self.image_size)
        return new[0] / old[0], new[1] / old[1]

    @property
    def pixel_scale(self) -> Corner:
        """The factors from a target's x and y to pixels of its image; 1 where the image's size is unknown."""
        if self.coords == "pixels" or self.image_size is None:
            return 1.0, 1.0
        (width, height), (x, y) = extent("pixels", self.image_size), extent(self.coords, None)
        return width / x, height / y

    def to_answer(self, target: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coordinates x, y, x, y, ... [..., 2k] of the target as those of the answer."""
        return scaled(target, self.scale)

    def from_answer(self, answer: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coordinates x, y, x, y, ... [..., 2k] of the answer as those of the target."""
        return answer / np.resize(self.scale, answer.shape[-1])

    def to_pixels(self, target: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coordinates x, y, x, y, ... [..., 2k] of the target as pixels of its image, where its size is known."""
        return scaled(target, self.pixel_scale)

    def answer_text(self, response: str) -> str:
        """What the response answers, location tokens spelled out; empty if its thinking never ended."""
        answer = answers.marked(response)
        return location_tokens.spell_out(answers.unfenced(answer.text), self.answer_extent) if answer else ""


def framed(function: Callable[..., _T]) -> Callable[..., _T]:
    """The function with the fields of `Frame` as keyword parameters in place of its parameter `frame`."""
    own = inspect.signature(function)
    fields = [field.replace(kind=field.KEYWORD_ONLY) for field in inspect.signature(Frame).parameters.values()]
    flat = [one for name, own_one in own.parameters.items() for one in (fields if name == "frame" else [own_one])]

    @functools.wraps(function)
    def with_fields(*args: Any, **params: Any) -> _T:
        others = {name: value for name, value in params.items() if name not in Frame._fields}
        return function(*args, frame=Frame.of(params), **others)

    with_fields.__signature__ = own.replace(parameters=flat)  # pyright: ignore[reportAttributeAccessIssue]
    return with_fields


def extent(coords: str, image_size: Sequence[float] | None) -> Corner:
    """The largest x and y of a coordinate system; `pixels` needs the image's (width, height)."""
    if coords in _SIDE:
        return _SIDE[coords], _SIDE[coords]
    if coords != "pixels":
        raise ValueError(f"coords {coords!r} is unknown; use one of {', '.join(COORDS)}")
    if image_size is None:
        raise ValueError("image_size is missing; boxes in pixels need [width, height] of their image")
    if (
        not isinstance(image_size, (list, tuple))
        or len(image_size) != 2
        or not all(structures.finite(side) and side > 0 for side in image_size)
    ):
        raise ValueError(f"image_size {image_size!r} is not [width, height] in pixels")
    return float(image_size[0]), float(image_size[1])


def _known_extent(coords: str, size: Sequence[float] | None) -> Corner | None:
    return None if coords == "pixels" and size is None else extent(coords, size)


def scaled(coords: NDArray[np.float64], scale: Corner) -> NDArray[np.float64]:
    """Coordinates x, y, x, y, ... [..., 2k] with every x and every y multiplied by its factor."""
    return coords * np.resize(scale, coords.shape[-1])


# --- targets and answers as JSON ----------------------------------------------------------------------------


def true_items(
    target: Any, keys: Sequence[str], is_one: Callable[[Any], bool] = structures.is_flat
) -> Iterator[tuple[Any, Any]]:
    """(coordinates, label) of a target's items: one object, coordinates that are one item, or a list of these."""
    for item in [target] if isinstance(target, dict) or is_one(target) else target:
        yield (names.keyed(item, keys), names.label_of(item)) if isinstance(item, dict) else (item, None)


def written(key: str, places: Iterable[tuple[Any, str | None]]) -> str:
    """(coordinates, label) as an answer in JSON."""
    items = [{key: coords} | ({"label": label} if label else {}) for coords, label in places]
    return json.dumps(items, ensure_ascii=False)
