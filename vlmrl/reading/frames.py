"""Frames: the coordinates of a target and those of the answer. For boxes, polygons and points.

    frame = declared({}, [[64, 48, 320, 240]], [(640, 480)])   -> Frame("pixels", [640, 480])
    frame = frame._replace(answer_coords="relative_1000")
    frame.to_answer(np.array([[64.0, 48, 320, 240]]))          -> [[100, 100, 500, 500]]
    frame.from_answer(np.array([[500.0, 250]]))                -> [[320, 120]]
    frame.answer_text("<answer>[100, 100, 500, 500]</answer>") -> "[100, 100, 500, 500]"
    frame.rewritten("the box [64, 48, 320, 240]")              -> "the box [100, 100, 500, 500]"

Coordinates are `pixels` of an image of size (width, height), or relative to it: `relative_1000` (0 to 1000),
`relative_100` (per cent, as Molmo points) or `relative_1` (0 to 1). Only `rewritten` rounds, to what models write.

The functions of a verifier take one argument, `frame`; `framed` gives them the parameters that a row of data has.
Which frame a model writes in is added by `vlmrl.rewards.frames`.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from vlmrl.reading import answers, location_tokens, names, structures
from vlmrl.reading.checks import literal, one_of
from vlmrl.verdict import Shape

_SIDE = {"relative_1000": 1000.0, "relative_100": 100.0, "relative_1": 1.0}
COORDS = ("pixels", *_SIDE)
BOX_FORMS = ("xyxy", "xywh")
_SMALLEST = 2
"""Places in pixels reach at least so far: below it the numbers are shares of the image, perhaps rounded."""
_DECIMALS = {"pixels": 0, "relative_1000": 0, "relative_100": 1, "relative_1": 3}
"""Digits after the point with which models write coordinates."""
# A list of an even number of numbers, without lists in it.
_PAIR = rf"\s{{0,9}}{structures.NUMBER}\s{{0,9}}[,，]\s{{0,9}}{structures.NUMBER}\s{{0,9}}"
_COORDINATES = re.compile(rf"[\[(（]{_PAIR}(?:[,，]{_PAIR}){{0,200}}[\])）]")

Corner = tuple[float, float]
_T = TypeVar("_T")


class Frame(NamedTuple):
    """The coordinates of the target and, where they differ, of the answer.

    `coords` is one of `COORDS`, a size is (width, height) in pixels. `box_form` says whether boxes of the target are
    corners (`xyxy`) or a corner with width and height (`xywh`); answers always have corners. `image` is the index of
    the image that both are of, among the prompt's images, or among its videos if it has no image. What is computed
    from them raises a `ValueError` for coordinates that are unknown, and for a size that is needed and missing, or
    malformed.
    """

    coords: str = "pixels"
    image_size: Sequence[float] | None = None
    answer_coords: str | None = None
    answer_size: Sequence[float] | None = None
    box_form: str = "xyxy"
    image: int = 0

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Self:
        """The frame that the parameters of a row of data describe; those of other things are ignored."""
        return cls(**{name: params[name] for name in cls._fields if name in params})

    def check(self) -> None:
        """`ValueError` unless both coordinates are known, with the sizes that a conversion needs."""
        one_of("box_form", self.box_form, BOX_FORMS)
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

    def items(
        self, target: Any, keys: Sequence[str], is_one: Callable[[Any], bool] = structures.is_flat
    ) -> Iterator[tuple[Any, Any]]:
        """(coordinates, label) of a target's items: one object, coordinates that are one item, or a list of these.

        Four plain numbers are the corners of a box, whatever form the target has them in.
        """
        for item in [target] if isinstance(target, dict) or is_one(target) else target:
            value, label = (names.keyed(item, keys), names.label_of(item)) if isinstance(item, dict) else (item, None)
            if self.box_form == "xywh" and (box := structures.numbers(value)) and len(box) == 4:
                value = [box[0], box[1], box[0] + box[2], box[1] + box[3]]
            yield value, label

    def written(self, coords: Sequence[float], exact: bool = False) -> str:
        """Coordinates x, y, x, y, ... of the target in those of the answer, rounded as models write them or `exact`."""
        digits = 9 if exact else _DECIMALS[self.answer_coords or self.coords]
        moved = self.to_answer(np.asarray(coords, dtype=np.float64)).tolist()
        return ", ".join(f"{value:.{digits}f}" for value in moved)

    @property
    def rounding(self) -> float:
        """The most by which `written` moves a place, as a share of the image's shorter side."""
        half = 0.5 * 10.0 ** -_DECIMALS[self.answer_coords or self.coords]
        return half / min(self.answer_extent or (1.0,))

    def rewritten(self, text: str) -> str:
        """The text with each list of coordinates in it, `[x, y]`, `(x, y)` or `[x1, y1, x2, y2]`, as the answer has it.

        Other ways to write a place, such as x=3 and y=4, stay as they are, and so does a list that reaches outside the
        image, such as a pair of years.
        """
        if self.scale == (1.0, 1.0):
            return text
        return _COORDINATES.sub(self._moved, text)

    def _moved(self, match: re.Match[str]) -> str:
        coords = [float(number) for number in re.findall(structures.NUMBER, match[0])]
        limit = self.extent or (math.inf, math.inf)
        if not (min(coords) >= 0 and max(coords[::2]) <= limit[0] and max(coords[1::2]) <= limit[1]):
            return match[0]
        return match[0][0] + self.written(coords) + match[0][-1]

    def shape(self, kind: str, coords: NDArray[np.float64], label: str | None, true: bool) -> Shape:
        """A place to draw: coordinates x, y, x, y, ... [2k] of the target if it is `true`, else of the answer.

        `ValueError` where the size of their image is not known.
        """
        limit = self.extent if true else self.answer_extent
        if limit is None:
            raise ValueError("image_size is missing; a place can only be drawn in an image of known size")
        return Shape(kind, tuple((coords / np.resize(limit, coords.shape[-1])).tolist()), label, true)

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


# --- what is not said -------------------------------------------------------------------------------------


def declared(params: Mapping[str, Any], target: Any, sizes: Sequence[Corner]) -> Frame:
    """The frame that a row's parameters state, with what they leave out read from the images.

    `sizes` are those (width, height) of the prompt's images, or of its videos if it has no image; with none the frame
    is the stated one. Without `coords` the numbers are pixels of the stored image. `ValueError` if that is not plain:
    no number is above 1, or the prompt has several images and `image` does not say which; and if `image_size` is not
    the size of the image.
    """
    frame = Frame.of(params)
    values = list(_numbers(literal(target)))
    shown = str(target)[:60]
    if "coords" not in params and values and max(values) < _SMALLEST:
        known = ", ".join(COORDS)
        raise ValueError(
            f"params.coords: missing, and all numbers of {shown} are below {_SMALLEST}; say which: {known}"
        )
    if frame.coords in ("relative_1000", "relative_100") and values and 0 < max(values) <= 1:
        raise ValueError(f"params.coords: {frame.coords!r}, but no number of {shown} is above 1; is it relative_1?")
    if not sizes:
        return frame
    if "image" not in params and len(sizes) > 1:
        raise ValueError(
            f"params.image: missing; the prompt has {len(sizes)} images, say which one the target is of (from 0)"
        )
    if type(frame.image) is not int or not 0 <= frame.image < len(sizes):
        raise ValueError(f"params.image: {frame.image!r} is not the index of an image; the prompt has {len(sizes)}")
    size = sizes[frame.image]
    if frame.image_size is not None and tuple(extent("pixels", frame.image_size)) != tuple(size):
        raise ValueError(
            f"params.image_size: {list(frame.image_size)} is not the size of the image, {size[0]:g} x {size[1]:g}; "
            "correct it or leave it out"
        )
    return frame._replace(image_size=list(size))


def _numbers(value: Any) -> Iterator[float]:
    """The numbers of a target's lists and objects."""
    if isinstance(value, dict):
        for item in value.values():
            yield from _numbers(item)
    elif isinstance(value, list):
        if (coords := structures.numbers(value)) is not None:
            yield from coords[:4] if len(coords) == 5 else coords  # the fifth is the angle of a rotated box
        for item in value if coords is None else ():
            yield from _numbers(item)


# --- answers as JSON ----------------------------------------------------------------------------------------


def written(key: str, places: Iterable[tuple[Any, str | None]]) -> str:
    """(coordinates, label) as an answer in JSON."""
    items = [{key: coords} | ({"label": label} if label else {}) for coords, label in places]
    return json.dumps(items, ensure_ascii=False)
