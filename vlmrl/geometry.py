"""Boxes: reading them from an answer, converting their coordinates, comparing and matching them.

A box is [x1, y1, x2, y2] with x1 < x2 and y1 < y2; many are a float array of shape [N, 4]. Coordinates
are `pixels` of an image of size (width, height), or relative to it: `relative_1000` (0 to 1000) or
`relative_1` (0 to 1). Nothing here rounds.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from vlmrl.answers import unfenced

Coords = Literal["pixels", "relative_1000", "relative_1"]
COORDS: tuple[str, ...] = get_args(Coords)
MAX_BOXES = 1000
"""An answer is read up to this many boxes."""
_MAX_COORDINATE = 1e7
_KEYS = ("bbox_2d", "bbox", "box_2d", "box")


class Box(NamedTuple):
    """A box of an answer or a target: `coords` [x1, y1, x2, y2] and what it is said to show."""

    coords: tuple[float, float, float, float]
    label: str | None = None


# --- comparing --------------------------------------------------------------------------------------------


def iou_matrix(a_N4: NDArray[np.float64], b_M4: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of every pair: [N, 4] and [M, 4] -> [N, M]; 0 where both are empty."""
    a, b = a_N4[:, None, :], b_M4[None, :, :]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    overlap_NM = np.prod(np.clip(sides, 0.0, None), axis=-1)
    union_NM = _area(a) + _area(b) - overlap_NM
    return np.divide(overlap_NM, union_NM, out=np.zeros_like(overlap_NM), where=union_NM > 0)


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1)


def match(score_NM: NDArray[np.float64], least: float = 0.0) -> list[tuple[int, int]]:
    """One-to-one pairs (n, m) with the largest sum of scores, each score above 0 and at least `least`.

    Optimal (Hungarian), so the order of the boxes never matters.
    """
    from scipy.optimize import linear_sum_assignment

    usable_NM = np.where(score_NM >= least - 1e-9, score_NM, 0.0)
    rows, columns = linear_sum_assignment(usable_NM, maximize=True)
    return [(int(n), int(m)) for n, m in zip(rows, columns, strict=True) if usable_NM[n, m] > 0]


def reachable_iou(box: Sequence[float], coords: Coords, image_size: Sequence[float]) -> float:
    """The best IoU with `box` that an answer in whole pixels of the image can have.

    A threshold above it pays nobody: for a box of 5 % of the image side, 0.99 is mostly out of reach.
    """
    true_14 = convert(np.array([box], float), coords, "pixels", image_size, image_size)
    edges = [(math.floor(edge), math.ceil(edge)) for edge in true_14[0]]
    return float(iou_matrix(np.array(list(itertools.product(*edges)), float), true_14).max())


# --- coordinates ------------------------------------------------------------------------------------------


def extent(coords: str, image_size: Sequence[float] | None) -> tuple[float, float]:
    """The largest x and y of a coordinate system; `pixels` needs the image's (width, height)."""
    if coords == "relative_1000":
        return 1000.0, 1000.0
    if coords == "relative_1":
        return 1.0, 1.0
    if coords != "pixels":
        raise ValueError(f"coords {coords!r} is unknown; use one of {', '.join(COORDS)}")
    if image_size is None:
        raise ValueError("image_size is missing; boxes in pixels need [width, height] of their image")
    if (
        not isinstance(image_size, (list, tuple))
        or len(image_size) != 2
        or not all(_finite(side) and side > 0 for side in image_size)
    ):
        raise ValueError(f"image_size {image_size!r} is not [width, height] in pixels")
    return float(image_size[0]), float(image_size[1])


def convert(
    boxes_N4: NDArray[np.float64],
    source: str,
    target: str,
    source_size: Sequence[float] | None = None,
    target_size: Sequence[float] | None = None,
) -> NDArray[np.float64]:
    """Boxes in the coordinates `source` expressed in those of `target`; the sizes are needed for `pixels`."""
    old, new = extent(source, source_size), extent(target, target_size)
    return boxes_N4 * np.array([*new, *new]) / np.array([*old, *old])


# --- reading ----------------------------------------------------------------------------------------------

_NUMBER = r"([\s\"']{0,20}[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?[\s\"']{0,20})"
_FOUR = re.compile(rf"[\[(]{_NUMBER},{_NUMBER}\)?\s{{0,9}},\s{{0,9}}\(?{_NUMBER},{_NUMBER}[\])]")
_OBJECT = re.compile(r"\{[^{}]*\}")
_KEY = re.compile(rf"[\"']?(?:{'|'.join(_KEYS)})[\"']?\s*:\s*(?=[\[(])")
# A quote ends a label only where the object goes on: labels may hold apostrophes.
_LABEL = re.compile(r"[\"']?label[\"']?\s*:\s*([\"'])(.{0,300}?)\1\s{0,20}(?=[,}])", re.DOTALL)


def parse_boxes(text: str) -> list[Box] | None:
    """The boxes of an answer; `[]` is the answer "no object"; None if there is nothing to read.

    Read are JSON lists and single objects with `bbox_2d`, `bbox` or `box` and an optional `label`, bare
    `[x1, y1, x2, y2]`, lists of those and `(x1,y1),(x2,y2)`, in code fences or prose, with single quotes,
    apostrophes in labels, numbers as strings, and lists cut off in the middle. A box with a coordinate
    that is not finite, or with reversed or equal corners, is dropped; so are exact repetitions.
    """
    text = unfenced(text).strip()
    value = _json_value(text)
    if value == []:
        return []
    found = _from_json(value) if value is not None else _from_text(text)
    kept = dict.fromkeys(itertools.islice(found, 10 * MAX_BOXES))
    return list(kept)[:MAX_BOXES] or None


def box_from(value: Any, label: Any = None) -> Box | None:
    """A box from four numbers (or numbers as strings); None unless they are finite, x1 < x2, y1 < y2."""
    if not isinstance(value, (list, tuple)) or len(value) != 4:
        return None
    numbers = [_number(item) for item in value]
    x1, y1, x2, y2 = numbers
    if x1 is None or y1 is None or x2 is None or y2 is None or x1 >= x2 or y1 >= y2:
        return None
    return Box((x1, y1, x2, y2), label if isinstance(label, str) and label.strip() else None)


def box_value(item: dict[str, Any]) -> Any:
    """The coordinates in an object, under whichever of their usual names."""
    return next((item[key] for key in _KEYS if key in item), None)


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _MAX_COORDINATE


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value.strip(" \"'\n\t"))
        except ValueError:
            return None
    return float(value) if _finite(value) else None


def _json_value(text: str) -> Any:
    """The JSON value in the text between its outermost brackets; None if there is none."""
    first = min((i for i in (text.find("["), text.find("{")) if i >= 0), default=0)
    last = max(text.rfind("]"), text.rfind("}")) + 1
    try:
        return json.loads(text[first:last])
    except (ValueError, RecursionError):
        return None


def _from_json(value: Any) -> Iterator[Box]:
    """Boxes in a JSON value: an object, a list of objects or boxes, or an object that holds such a list."""
    if isinstance(value, dict) and box_value(value) is None:
        value = next((item for item in value.values() if isinstance(item, list)), [])
    items = value if isinstance(value, list) and not _is_flat(value) else [value]
    for item in items:
        if isinstance(item, dict):
            box = box_from(box_value(item), item.get("label"))
        else:
            box = box_from(item)
        if box:
            yield box


def _is_flat(value: list[Any]) -> bool:
    return len(value) == 4 and not any(isinstance(item, (list, dict)) for item in value)


def _from_text(text: str) -> Iterator[Box]:
    """Boxes in text that is no valid JSON: the complete objects, or else the bare quadruples."""
    some_object = False
    for piece in _OBJECT.finditer(text):
        key = _KEY.search(piece[0])
        four = _FOUR.match(piece[0], key.end()) if key else None
        if four is None:
            continue
        some_object = True
        label = _LABEL.search(piece[0])
        box = box_from(four.groups(), label[2] if label else None)
        if box:
            yield box
    if not some_object:
        yield from (box for four in _FOUR.finditer(text) if (box := box_from(four.groups())))
