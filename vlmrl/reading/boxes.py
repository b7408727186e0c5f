"""Boxes: reading them from an answer, comparing and matching them. Their coordinates: `vlmrl.reading.frames`.

A box is [x1, y1, x2, y2] with x1 < x2 and y1 < y2; many are a float array of shape [N, 4].
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlmrl.reading import names, places
from vlmrl.reading.structures import Extent, is_pairs, numbers

BOX_NAMES = ("bbox_2d", "bbox", "box_2d", "box", "bounding_box", "bounding_box_2d", "boundingbox", "bndbox", "rect")
"""Names of one box in an object."""
BOX_KEYS = (*BOX_NAMES, "boxes", "bboxes", "bounding_boxes", "coordinates", "coords", "position", "location")
"""Names that the coordinates of an object may have, the preferred ones first."""


class Box(NamedTuple):
    """A box of an answer or a target: `coords` [x1, y1, x2, y2] and what it is said to show."""

    coords: tuple[float, float, float, float]
    label: str | None = None


# --- comparing --------------------------------------------------------------------------------------------


def iou_matrix(a_N4: NDArray[np.float64], b_M4: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of every pair: [N, 4] and [M, 4] -> [N, M]; 0 where both are empty."""
    return iou(a_N4[:, None], b_M4[None])


def iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of boxes [..., 4] and [..., 4], broadcast against each other; 0 where both are empty."""
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    overlap = np.prod(np.clip(sides, 0.0, None), axis=-1)
    union = _area(a) + _area(b) - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1)


def match(score_NM: NDArray[np.float64], least: float | NDArray[np.float64] = 0.0) -> list[tuple[int, int]]:
    """One-to-one pairs (n, m) with the largest sum of scores, each above 0 and at least `least` (one, or [N, 1]).

    Optimal (Hungarian), so the order of the boxes never matters.
    """
    usable_NM = np.where(score_NM >= least - 1e-9, score_NM, 0.0)
    if usable_NM.size == 1:
        return [(0, 0)] if usable_NM[0, 0] > 0 else []
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(usable_NM, maximize=True)
    return [(int(n), int(m)) for n, m in zip(rows, columns, strict=True) if usable_NM[n, m] > 0]


# --- reading ----------------------------------------------------------------------------------------------


def parse_boxes(text: str, extent: Extent | None = None, *, none_in_words: bool = False) -> list[Box] | None:
    """The boxes of an answer; `[]` is the answer "no object"; None if there is nothing to read.

    `places.read` says what is read. Two pairs `(x1, y1), (x2, y2)` are the corners of a box. A box with a coordinate
    that is not finite, or with reversed or equal corners, is dropped; so are exact repetitions.
    """
    return places.read(text, BOX_KEYS, _boxes, extent=extent, none_in_words=none_in_words)


def box_from(value: Any, label: Any = None) -> Box | None:
    """A box from four numbers (or numbers as strings); None unless they are finite, x1 < x2, y1 < y2."""
    coords = numbers(value)
    if coords is None or len(coords) != 4:
        return None
    x1, y1, x2, y2 = coords
    return Box((x1, y1, x2, y2), names.said_label(label)) if x1 < x2 and y1 < y2 else None


def _boxes(value: list[Any], label: str | None, _: str | None) -> list[Box]:
    fours = [value]
    if is_pairs(value) and len(value) % 2 == 0:
        fours = [[*low, *high] for low, high in zip(value[::2], value[1::2], strict=True)]
    return [box for four in fours if (box := box_from(four, label))]
