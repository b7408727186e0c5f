"""Detection and grounding: matched IoU of the answered boxes with the true ones, above a threshold.

The reward of V-Triune (arXiv 2505.18129, section 4.2 and its released server), with an optimal one-to-one
matching M of P answered and G true boxes in place of the greedy one. A pair may match if its labels are
compatible and its IoU is at least `threshold`:

    S = (1 - c) * sum of IoU over M / |G|  +  c * (|M|/|P| + |M|/|G|) / 2        c = completeness
    score = S * size_penalty ** abs(|P| - |G|)

Labels are compared without case and extra white space. An answered box without a label is compatible with
every true box, unless the target holds several labels: then it says too little and matches none.

`threshold` is a plain number. A schedule over training belongs to the run file; evaluation keeps one value.
The parts `iou_50`, `iou_75`, `iou_95` and `iou_99` (recall at these thresholds) never depend on it.

    vlmrl check dynamic_iou
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmrl import answers, geometry
from vlmrl.geometry import Box
from vlmrl.verdict import Example, Verdict, bad_target, unparsed

REPORTED = (0.5, 0.75, 0.95, 0.99)
"""The fixed thresholds of the parts."""

_CAR = [{"bbox_2d": [100, 100, 200, 200], "label": "car"}]
EXAMPLES = [
    Example('<answer>[{"bbox_2d": [100, 100, 200, 200], "label": "car"}]</answer>', _CAR, 1.0),
    Example("[100, 100, 200, 200]", _CAR, 1.0),
    Example("[100, 100, 200, 190]", _CAR, 0.93),
    Example("[100, 100, 200, 190]", _CAR, 0.0, {"threshold": 0.95}),
    Example('[{"bbox_2d": [100, 100, 200, 200], "label": "truck"}]', _CAR, 0.0),
    Example("[[100, 100, 200, 200], [0, 0, 5, 5]]", _CAR, (0.7 + 0.3 * 0.75) * 0.6),
    Example("[]", [], 1.0),
    Example("[1, 2, 3, 4]", [], 0.0),
    Example("there is a car", _CAR, 0.0),
    Example("[100, 100, 200, 200]", [200, 100, 100, 200], None),
    Example(
        "[50, 100, 100, 200]",
        [250, 250, 500, 500],
        1.0,
        {"coords": "relative_1000", "answer_coords": "pixels", "answer_size": [200, 400]},
    ),
]


def verify(
    response: str,
    target: Any,
    *,
    threshold: float = 0.5,
    completeness: float = 0.3,
    size_penalty: float = 0.6,
    coords: str = "pixels",
    image_size: Sequence[float] | None = None,
    answer_coords: str | None = None,
    answer_size: Sequence[float] | None = None,
) -> Verdict:
    """Scores the boxes of the answer (`geometry.parse_boxes` says what is read).

    `target`: a list of `{"bbox_2d": [x1, y1, x2, y2], "label": str}` (label optional), or one such object,
    or bare boxes; `[]` means that there is no object, and `[]` is then the only right answer. `coords` and
    `image_size` (width, height in pixels) describe the target; `answer_coords` and `answer_size` the
    answer, where it differs: a model that sees a resized image answers in the pixels of that image.
    """
    try:
        scale = _scale(coords, image_size, answer_coords, answer_size)
        check_target(target, coords=coords, image_size=image_size)
    except ValueError as error:
        return bad_target(str(error))
    answer = answers.extract(response)
    predicted = geometry.parse_boxes(answer.text) if answer else None
    if predicted is None:
        return unparsed("no box and no [] in the answer")
    true = _moved(_true_boxes(target), scale)
    verdict_of = _score_boxes if predicted and true else _score_empty
    return verdict_of(predicted, true, threshold, completeness, size_penalty)


def gold(
    target: Any,
    *,
    coords: str = "pixels",
    image_size: Sequence[float] | None = None,
    answer_coords: str | None = None,
    answer_size: Sequence[float] | None = None,
    **_: Any,
) -> str:
    """The true boxes in the answer's coordinates, as JSON."""
    boxes = _moved(_true_boxes(target), _scale(coords, image_size, answer_coords, answer_size))
    items = [{"bbox_2d": list(box.coords)} | ({"label": box.label} if box.label else {}) for box in boxes]
    return json.dumps(items, ensure_ascii=False)


def check_target(
    target: Any,
    *,
    coords: str = "pixels",
    image_size: Sequence[float] | None = None,
    answer_coords: str | None = None,
    answer_size: Sequence[float] | None = None,
    **_: Any,
) -> None:
    """ValueError for a box that is malformed, reversed, empty or outside the image, or a missing size."""
    _scale(coords, image_size, answer_coords, answer_size)
    boxes = _true_boxes(target)
    if coords == "pixels" and image_size is None:
        width = height = float("inf")
    else:
        width, height = geometry.extent(coords, image_size)
    for box in boxes:
        x1, y1, x2, y2 = box.coords
        if min(x1, y1) < 0 or x2 > width or y2 > height:
            inside = f"{width:g} x {height:g} {coords}"
            raise ValueError(f"target box {list(box.coords)} reaches outside the image ({inside}); mend it")


def _true_boxes(target: Any) -> list[Box]:
    """The target's boxes; ValueError names the first one that is none."""
    if not isinstance(target, (list, dict)):
        raise ValueError(f"target {target!r} is no list of boxes; give [{{'bbox_2d': [x1, y1, x2, y2]}}, ...]")
    items = [target] if isinstance(target, dict) or _is_box(target) else target
    boxes = []
    for item in items:
        value, label = (geometry.box_value(item), item.get("label")) if isinstance(item, dict) else (item, None)
        box = geometry.box_from(value, label)
        if box is None:
            raise ValueError(f"target box {value!r} is not [x1, y1, x2, y2] with x1 < x2 and y1 < y2; mend it")
        boxes.append(box)
    return boxes


def _is_box(value: list[Any]) -> bool:
    return len(value) > 0 and not any(isinstance(item, (list, dict)) for item in value)


def _scale(
    coords: str,
    image_size: Sequence[float] | None,
    answer_coords: str | None,
    answer_size: Sequence[float] | None,
) -> tuple[float, float] | None:
    """What takes the target's x and y to the answer's; None where both share their coordinates."""
    for name, value in (("coords", coords), ("answer_coords", answer_coords or coords)):
        if value not in geometry.COORDS:
            raise ValueError(f"{name} {value!r} is unknown; use one of {', '.join(geometry.COORDS)}")
    same_size = coords != "pixels" or answer_size is None or answer_size == image_size
    if (answer_coords or coords) == coords and same_size:
        return None
    old = geometry.extent(coords, image_size)
    new = geometry.extent(answer_coords or coords, answer_size or image_size)
    return new[0] / old[0], new[1] / old[1]


def _moved(boxes: list[Box], scale: tuple[float, float] | None) -> list[Box]:
    if scale is None:
        return boxes
    x, y = scale
    return [Box((b.coords[0] * x, b.coords[1] * y, b.coords[2] * x, b.coords[3] * y), b.label) for b in boxes]


def _array(boxes: list[Box]) -> NDArray[np.float64]:
    return np.array([box.coords for box in boxes], dtype=np.float64)


def _normal(label: str | None) -> str | None:
    return " ".join(label.casefold().split()) if label else None


def _compatible(predicted: list[Box], true: list[Box]) -> NDArray[np.bool_]:
    """[G, P]: whether the labels allow a match."""
    theirs, ours = [_normal(box.label) for box in predicted], [_normal(box.label) for box in true]
    unlabelled_matches = len({label for label in ours if label}) <= 1
    return np.array(
        [[t is None or (unlabelled_matches if p is None else p == t) for p in theirs] for t in ours],
        dtype=bool,
    )


def _score_boxes(
    predicted: list[Box], true: list[Box], threshold: float, completeness: float, size_penalty: float
) -> Verdict:
    iou_GP = np.where(_compatible(predicted, true), geometry.iou_matrix(_array(true), _array(predicted)), 0.0)
    pairs = geometry.match(iou_GP, threshold)
    mean_iou = sum(iou_GP[pair] for pair in pairs) / len(true)
    precision, recall = len(pairs) / len(predicted), len(pairs) / len(true)
    # In this form the score of a perfect answer is exactly 1 for every c.
    score = mean_iou + completeness * ((precision + recall) / 2 - mean_iou)
    score *= size_penalty ** abs(len(predicted) - len(true))
    parts = {"iou": float(sum(iou_GP[pair] for pair in geometry.match(iou_GP)) / len(true))}
    parts |= {f"iou_{100 * t:.0f}": len(geometry.match(iou_GP, t)) / len(true) for t in REPORTED}
    parts |= {"precision": precision, "recall": recall}
    why = f"{len(pairs)} of {len(true)} boxes matched at IoU >= {threshold:g}, {len(predicted)} answered"
    return Verdict(float(min(score, 1.0)), parts=parts, answer=_show(predicted), why=why)


def _score_empty(
    predicted: list[Box], true: list[Box], threshold: float, completeness: float, size_penalty: float
) -> Verdict:
    """Where one side holds no box: right only if both do."""
    score = 1.0 if not predicted and not true else 0.0
    parts = dict.fromkeys(("iou", *(f"iou_{100 * t:.0f}" for t in REPORTED), "precision", "recall"), score)
    return Verdict(
        score, parts=parts, answer=_show(predicted), why=f"{len(predicted)} boxes answered, {len(true)} true"
    )


def _show(boxes: list[Box]) -> str:
    return json.dumps([{"bbox_2d": list(b.coords), "label": b.label} for b in boxes[:20]], ensure_ascii=False)
