"""Boxes: reading them from an answer, comparing and matching them. Their coordinates: `vlmrl.reading.frames`.

A box is [x1, y1, x2, y2] with x1 < x2 and y1 < y2; many are a float array of shape [N, 4].
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlmrl.reading.answers import unfenced

MAX_BOXES = 1000
"""An answer is read up to this many boxes."""
_MAX_COORDINATE = 1e7
BOX_KEYS = ("bbox_2d", "bbox", "box_2d", "box")


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
    from scipy.optimize import linear_sum_assignment

    usable_NM = np.where(score_NM >= least - 1e-9, score_NM, 0.0)
    rows, columns = linear_sum_assignment(usable_NM, maximize=True)
    return [(int(n), int(m)) for n, m in zip(rows, columns, strict=True) if usable_NM[n, m] > 0]


# --- reading ----------------------------------------------------------------------------------------------

# One way to read any digits, so that no failed match tries them twice.
NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?"
_QUOTED = rf"([\s\"']{{0,20}}{NUMBER}[\s\"']{{0,20}})"
_FOUR = rf"[\[(]{_QUOTED},{_QUOTED}\)?\s{{0,9}},\s{{0,9}}\(?{_QUOTED},{_QUOTED}[\])]"
# Qwen-VL and InternVL write the label before its boxes: <ref>dog</ref><box>(1,2),(3,4)</box>.
REF = r"(?:<ref>|<\|object_ref_start\|>)(?P<ref>[^<]{0,300})(?:</ref>|<\|object_ref_end\|>)"
_LABELLED_FOUR = re.compile(rf"{REF}|{_FOUR}")
_OBJECT = re.compile(r"\{[^{}]*\}")
_LIST = r"[\"']?\s*:\s*([\[(][-+\d.,eE\s\"'\[\]()]*)"
_IN_LIST = re.compile(NUMBER)
# A quote ends a label only where the object goes on: labels may hold apostrophes.
_LABEL = re.compile(r"[\"']?label[\"']?\s*:\s*([\"'])(.{0,300}?)\1\s{0,20}(?=[,}])", re.DOTALL)


def parse_boxes(text: str) -> list[Box] | None:
    """The boxes of an answer; `[]` is the answer "no object"; None if there is nothing to read.

    Read are JSON lists and single objects with `bbox_2d`, `bbox` or `box` and an optional `label`, bare
    `[x1, y1, x2, y2]`, lists of those and `(x1,y1),(x2,y2)`, after a label in `<ref>` or not, in code fences or
    prose, with single quotes, apostrophes in labels, numbers as strings, and lists cut off in the middle. A box
    with a coordinate that is not finite, or with reversed or equal corners, is dropped; so are exact repetitions.
    """
    text = unfenced(text).strip()
    value = None if re.search(REF, text) else json_value(text)
    if value == []:
        return []
    found = _from_text(text) if value is None else (box_from(item, label) for item, label in items(value, BOX_KEYS))
    kept = dict.fromkeys(box for box in itertools.islice(found, 10 * MAX_BOXES) if box)
    return list(kept)[:MAX_BOXES] or None


def box_from(value: Any, label: Any = None) -> Box | None:
    """A box from four numbers (or numbers as strings); None unless they are finite, x1 < x2, y1 < y2."""
    coords = numbers(value)
    if coords is None or len(coords) != 4:
        return None
    x1, y1, x2, y2 = coords
    return Box((x1, y1, x2, y2), said_label(label)) if x1 < x2 and y1 < y2 else None


def said_label(value: Any) -> str | None:
    """The label, if it is a text that says something."""
    return value if isinstance(value, str) and value.strip() else None


def keyed(item: dict[str, Any], keys: Sequence[str]) -> Any:
    """The value under the first of the keys that the object has, or None."""
    return next((item[key] for key in keys if key in item), None)


def finite(value: Any) -> bool:
    """Whether the value is a number that can be a coordinate."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _MAX_COORDINATE


def number(value: Any) -> float | None:
    """A coordinate from a number or a string that holds one; None unless it is finite."""
    if isinstance(value, str):
        try:
            value = float(value.strip(" \"'\n\t"))
        except ValueError:
            return None
    return float(value) if finite(value) else None


def numbers(value: Any) -> list[float] | None:
    """The coordinates in a list of numbers (or numbers as strings); None if one of its items is none."""
    found = [number(item) for item in value] if isinstance(value, (list, tuple)) else []
    return [item for item in found if item is not None] if None not in found else None


def is_flat(value: Any) -> bool:
    """Whether the value is a list that holds no list or object."""
    return isinstance(value, list) and bool(value) and not any(isinstance(item, (list, dict)) for item in value)


def json_value(text: str) -> Any:
    """The JSON value in the text between its outermost brackets; None if there is none."""
    first = min((i for i in (text.find("["), text.find("{")) if i >= 0), default=0)
    last = max(text.rfind("]"), text.rfind("}")) + 1
    try:
        return json.loads(text[first:last])
    except (ValueError, RecursionError):
        return None


def items(value: Any, keys: Sequence[str]) -> Iterator[tuple[Any, Any]]:
    """(coordinates, label) in a JSON value: an object, a list of objects or of coordinates, an object with a list."""
    if isinstance(value, dict) and keyed(value, keys) is None:
        value = next((item for item in value.values() if isinstance(item, list)), [])
    for item in value if isinstance(value, list) and not is_flat(value) else [value]:
        yield (keyed(item, keys), item.get("label")) if isinstance(item, dict) else (item, None)


def key_pattern(keys: Sequence[str]) -> re.Pattern[str]:
    """A pattern that finds one of the keys and its list of numbers in an object that is not valid JSON."""
    return re.compile(rf"[\"']?\b(?:{'|'.join(keys)}){_LIST}")


def complete_objects(text: str, key: re.Pattern[str]) -> Iterator[tuple[list[str], str | None]]:
    """(numbers, label) of every complete object in a text that is not valid JSON."""
    for piece in _OBJECT.finditer(text):
        if found := key.search(piece[0]):
            label = _LABEL.search(piece[0])
            yield _IN_LIST.findall(found[1]), label[2] if label else None


_BOX_KEY = key_pattern(BOX_KEYS)


def _from_text(text: str) -> Iterator[Box | None]:
    """Boxes in text that is not valid JSON: its complete objects, or else its quadruples with their labels."""
    some_object = False
    for coords, label in complete_objects(text, _BOX_KEY):
        some_object = True
        yield box_from(coords, label)
    label = None
    for match in () if some_object else _LABELLED_FOUR.finditer(text):
        if match["ref"] is not None:
            label = match["ref"]
        else:
            yield box_from(match.groups()[1:], label)
