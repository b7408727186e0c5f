"""Detection and grounding: the answered boxes, matched one to one with the true ones, above a threshold.

A pair may match if its labels are compatible and its IoU is at least `threshold`; the matching M of P answered and
G true boxes has the largest sum of IoU, so order never matters. `metric` says what M is worth:

    mixture          S * size_penalty ** abs(|P| - |G|), where S mixes IoU and completeness c:
                     S = (1 - c) * sum of IoU over M / |G|  +  c * (|M|/|P| + |M|/|G|) / 2
                     (V-Triune, arXiv 2505.18129, section 4.2 and its released server, there with a greedy match)
    mixture_average  its mean over the thresholds .5, .55 ... .95, .99 (V-Triune's "average")
    share            |M| / max(|P|, |G|)           (GLM-4.1V, arXiv 2507.01006, table 1: boxes with IoU over tau)
    f1               2 |M| / (|P| + |G|)
    iou              sum of IoU over M / max(|P|, |G|): of a single box its IoU, or 0 below the threshold
    map, map_50, map_75    COCO's average precision of this one image, as pycocotools matches it, * size_penalty ** ...

An answer has no confidences. Ranked as written, boxes added at its end would cost average precision nothing: here
the boxes that fit worst rank first. A label that is answered but not true counts as a category of precision 0.

Labels are compared without case and extra white space. An answered box without a label is compatible with
every true box, unless the target holds several labels: then it says too little and matches none that has one.

`threshold` is a plain number. A schedule over training belongs to the run file; evaluation keeps one value.
Where target and answer are rounded to different grids, even a perfect detector misses 0.99 for most small boxes:
with `reachable_cap`, the threshold of a true box is at most what rounding to whole numbers leaves of a perfect answer
(`detection.reachable_iou`; only for answers in `pixels` and `relative_1000`). On one grid the cap changes nothing.
The parts `iou_50`, `iou_75`, `iou_95` and `iou_99` (recall at these thresholds) never depend on either; `reachable`
is the share of true boxes whose threshold was not lowered. With `evaluation`, which held-out evaluation sets, there
are the parts `map`, `map_50` and `map_75` besides, too slow for training, whatever the metric.

    vlmrl check dynamic_iou
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmrl.reading import boxes, detection
from vlmrl.reading.boxes import Box
from vlmrl.reading.checks import literal, one_of
from vlmrl.reading.detection import Detections
from vlmrl.reading.frames import Frame, framed, written
from vlmrl.verdict import Example, Shape, Verdict, bad_target, unparsed

PRECISION = {"map": detection.COCO_THRESHOLDS, "map_50": (0.5,), "map_75": (0.75,)}
METRICS = (*detection.METRICS, *PRECISION)

_CAR = [{"bbox_2d": [100, 100, 200, 200], "label": "car"}]
EXAMPLES = [
    Example('<answer>[{"bbox_2d": [100, 100, 200, 200], "label": "car"}]</answer>', _CAR, 1.0),
    Example("[100, 100, 200, 200]", _CAR, 1.0),
    Example("[100, 100, 200, 190]", _CAR, 0.93),
    Example("[100, 100, 200, 190]", _CAR, 0.0, {"threshold": 0.95}),
    Example('[{"bbox_2d": [100, 100, 200, 200], "label": "truck"}]', _CAR, 0.0),
    Example("[[100, 100, 200, 200], [0, 0, 5, 5]]", _CAR, (0.7 + 0.3 * 0.75) * 0.6),
    Example("[100, 100, 200, 190]", _CAR, 9 * 0.93 / 11, {"metric": "mixture_average"}),
    Example("[[100, 100, 200, 190], [0, 0, 5, 5]]", _CAR, 0.5, {"metric": "share"}),
    Example("[[100, 100, 200, 190], [0, 0, 5, 5]]", _CAR, 2 / 3, {"metric": "f1"}),
    Example("[100, 100, 200, 190]", _CAR, 0.9, {"metric": "iou"}),
    Example("[100, 100, 200, 192]", _CAR, 0.9, {"metric": "map"}),
    Example("[100, 100, 200, 160]", _CAR, 0.0, {"metric": "map_75"}),
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


@framed
def verify(
    response: str,
    target: Any,
    *,
    metric: str = "mixture",
    threshold: float = 0.5,
    completeness: float = 0.3,
    size_penalty: float = 0.6,
    reachable_cap: bool = True,
    none_in_words: bool = False,
    frame: Frame,
    evaluation: bool = False,
) -> Verdict:
    """Scores the boxes of the answer (`boxes.parse_boxes` says what is read).

    `target`: a list of `{"bbox_2d": [x1, y1, x2, y2], "label": str}` (label optional), or one such object,
    or bare boxes, or JSON of these as text; `[]` means that there is no object, and is then the only right answer,
    or with `none_in_words` also "No objects" and the like. `coords` and `image_size` (width, height in pixels)
    describe the target; `answer_coords` and `answer_size` the answer, where it differs: a model that sees a resized
    image answers in the pixels of that image.
    """
    try:
        true = _to_answer(_true_boxes(target, metric, frame), frame)
    except ValueError as error:
        return bad_target(str(error))
    text = frame.answer_text(response)
    predicted = boxes.parse_boxes(text, frame.answer_extent, none_in_words=none_in_words)
    if predicted is None:
        names = (*detection.PARTS, *(PRECISION if evaluation else ()))
        return unparsed("no box and no [] in the answer", names)
    predicted_P4, true_G4 = _array(predicted), _array(true)
    allowed_GP = detection.compatible([box.label for box in predicted], [box.label for box in true])
    whole = reachable_cap and (frame.answer_coords or frame.coords) in ("pixels", "relative_1000")
    verdict = detection.judge(
        np.where(allowed_GP, boxes.iou_matrix(true_G4, predicted_P4), 0.0),
        metric=metric,
        threshold=threshold,
        completeness=completeness,
        size_penalty=size_penalty,
        reachable_G=detection.reachable_iou(true_G4, frame.scale) if whole else None,
        answer=_show(predicted),
    )
    if evaluation:
        parts = {name: _average_precision(predicted, true, name) for name in PRECISION}
        verdict = dataclasses.replace(verdict, parts=verdict.parts | parts)
    if metric in PRECISION and predicted and true:
        precision = _average_precision(predicted, true, metric) * size_penalty ** abs(len(predicted) - len(true))
        verdict = dataclasses.replace(verdict, score=precision)
    return verdict


@framed
def gold(target: Any, *, frame: Frame, **_: Any) -> str:
    """The true boxes in the answer's coordinates, as JSON."""
    return written("bbox_2d", _to_answer(_boxes(target, frame), frame))


@framed
def check_target(target: Any, *, metric: str = "mixture", frame: Frame, **_: Any) -> None:
    """ValueError for a box that is malformed, reversed, empty or outside the image, a missing size or metric."""
    _true_boxes(target, metric, frame)


def caution(metric: str = "mixture", threshold: float = 0.5, **_: Any) -> str:
    """What a low threshold pays an answer of the whole image."""
    return detection.caution(metric, threshold)


@framed
def shapes(response: str, target: Any, *, frame: Frame, **_: Any) -> list[Shape]:
    """The true and the answered boxes."""
    said = boxes.parse_boxes(frame.answer_text(response), frame.answer_extent) or []
    both = ((_boxes(target, frame), True), (said, False))
    return [frame.shape("box", np.array(b.coords), b.label, true) for places, true in both for b in places]


def _true_boxes(target: Any, metric: str, frame: Frame) -> list[Box]:
    """The target's boxes; ValueError as of `check_target`."""
    one_of("metric", metric, METRICS)
    frame.check()
    places = _boxes(target, frame)
    for box in places:
        frame.check_inside(f"target box {list(box.coords)} reaches", box.coords[:2], box.coords[2:])
    return places


def _boxes(target: Any, frame: Frame) -> list[Box]:
    """The target's boxes, repetitions once, as in answers; ValueError names the first one that is none."""
    target = literal(target)
    if not isinstance(target, (list, dict)):
        raise ValueError(f"target {target!r:.60} is not a list of boxes; give [{{'bbox_2d': [x1, y1, x2, y2]}}, ...]")
    places = []
    for value, label in frame.items(target, boxes.BOX_KEYS):
        box = boxes.box_from(value, label)
        if box is None:
            raise ValueError(
                f"target box {value!r:.60} is not [x1, y1, x2, y2] with x1 < x2 and y1 < y2; correct it, "
                "or say params.box_form = 'xywh'"
            )
        places.append(box)
    return list(dict.fromkeys(places))


def _to_answer(places: list[Box], frame: Frame) -> list[Box]:
    moved_N4 = frame.to_answer(_array(places)).tolist()
    return [Box((x1, y1, x2, y2), box.label) for (x1, y1, x2, y2), box in zip(moved_N4, places, strict=True)]


def _array(places: list[Box]) -> NDArray[np.float64]:
    return np.array([box.coords for box in places], dtype=np.float64).reshape(-1, 4)


def _average_precision(predicted: list[Box], true: list[Box], metric: str) -> float:
    if not predicted or not true:
        return float(not predicted and not true)
    names = {name for box in true if (name := detection.plain_label(box.label))}
    # Where one name is true, a box without a name means it; where none is true, all boxes are of one kind.
    default = min(names) if len(names) == 1 else ""
    ours = [detection.plain_label(box.label) or default for box in true]
    theirs = [(detection.plain_label(box.label) if names else None) or default for box in predicted]
    same_GP = np.array([[a == b for b in theirs] for a in ours])
    fit_P = np.where(same_GP, boxes.iou_matrix(_array(true), _array(predicted)), 0.0).max(axis=0)
    precision_T, _ = detection.average_precision(
        [Detections(_array(predicted), theirs, scores=(1.0 - fit_P).tolist())],
        [Detections(_array(true), ours)],
        thresholds=PRECISION[metric],
    )
    return float(precision_T.mean()) * len(set(ours)) / len({*ours, *theirs})


def _show(places: list[Box]) -> str:
    return json.dumps([{"bbox_2d": list(b.coords), "label": b.label} for b in places[:20]], ensure_ascii=False)
