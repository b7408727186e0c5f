"""Detection: answered and true regions, matched one to one under their labels, and what the match is worth.

    compatible(["cat"], ["Cat", "dog"])                      -> [[True], [False]]
    judge(iou_GP, metric="f1", threshold=0.5, ...)           -> a Verdict
    average_precision([predicted], [true], thresholds=[0.5]) -> per threshold, as COCO counts it

P answered and G true regions have an IoU matrix [G, P], whatever their form; it is 0 where labels forbid a match.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlmrl.reading.boxes import iou, match
from vlmrl.verdict import Verdict

METRICS = ("mixture", "mixture_average", "share", "f1", "iou")
AVERAGED = (*(n / 100 for n in range(50, 100, 5)), 0.99)
"""The thresholds of `mixture_average` (V-Triune's "average")."""
REPORTED = (0.5, 0.75, 0.95, 0.99)
"""The fixed thresholds of the parts."""
PARTS = ("iou", *(f"iou_{100 * t:.0f}" for t in REPORTED), "precision", "recall")
COCO_THRESHOLDS = tuple(n / 100 for n in range(50, 100, 5))
COCO_AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}


def compatible(predicted: Sequence[str | None], true: Sequence[str | None]) -> NDArray[np.bool_]:
    """[G, P]: whether the labels allow a match, case and extra white space apart.

    A true region without a label takes any. An answered one without a label fits, and so does one in other words ("red
    chair" for "chair"), unless the target holds several labels: then it says too little.
    """
    if not any(true):
        return np.ones((len(true), len(predicted)), dtype=bool)
    theirs, ours = [plain_label(label) for label in predicted], [plain_label(label) for label in true]
    only = len({label for label in ours if label}) <= 1
    allowed = [[t is None or p == t or (only and (p is None or _in_other_words(p, t))) for p in theirs] for t in ours]
    return np.array(allowed, dtype=bool).reshape(len(ours), len(theirs))


def _in_other_words(said: str, true: str) -> bool:
    """Whether one of two labels has all words of the other, but for articles and plurals."""
    a, b = ({word.removesuffix("s") for word in label.split()} - {"the", "a", "an"} for label in (said, true))
    return bool(a and b) and (a <= b or b <= a)


def plain_label(label: str | None) -> str | None:
    """The label without case and extra white space."""
    return " ".join(label.casefold().split()) if label else None


def judge(
    iou_GP: NDArray[np.float64],
    *,
    metric: str,
    threshold: float,
    completeness: float,
    size_penalty: float,
    reachable_G: NDArray[np.float64] | None = None,
    answer: str = "",
) -> Verdict:
    """The verdict of a match, one of `METRICS`; with no region on one side, 1 if there is none on the other either.

    `reachable_G` caps the threshold of each true region. The parts `iou` and `iou_50` ... `iou_99` (recall at these
    thresholds) depend on no parameter.
    """
    true, answered = iou_GP.shape
    if not true or not answered:
        score = float(true == answered)
        return Verdict(score, parts=dict.fromkeys(PARTS, score), answer=answer, why=f"{answered} answered, {true} true")
    caps_G = np.ones(true) if reachable_G is None else reachable_G
    pairs = match(iou_GP, np.minimum(threshold, caps_G)[:, None])
    if metric == "mixture_average":
        matches = [match(iou_GP, np.minimum(t, caps_G)[:, None]) for t in AVERAGED]
        score = sum(_worth(iou_GP, at, "mixture", completeness, size_penalty) for at in matches) / len(AVERAGED)
    else:
        score = _worth(iou_GP, pairs, metric, completeness, size_penalty)
    parts = {"iou": _sum(iou_GP, match(iou_GP)) / true}
    parts |= {f"iou_{100 * t:.0f}": len(match(iou_GP, t)) / true for t in REPORTED}
    parts |= {"precision": len(pairs) / answered, "recall": len(pairs) / true}
    if reachable_G is not None:
        parts["reachable"] = float(np.mean(reachable_G >= threshold))
    why = f"{len(pairs)} of {true} matched at IoU >= {threshold:g}, {answered} answered"
    return Verdict(float(min(score, 1.0)), parts=parts, answer=answer, why=why)


def _sum(iou_GP: NDArray[np.float64], pairs: list[tuple[int, int]]) -> float:
    return float(sum(iou_GP[pair] for pair in pairs))


def _worth(
    iou_GP: NDArray[np.float64], pairs: list[tuple[int, int]], metric: str, completeness: float, size_penalty: float
) -> float:
    true, answered = iou_GP.shape
    if metric == "share":
        return len(pairs) / max(true, answered)
    if metric == "f1":
        return 2 * len(pairs) / (true + answered)
    if metric == "iou":
        return _sum(iou_GP, pairs) / max(true, answered)
    mean_iou = _sum(iou_GP, pairs) / true
    # In this form the score of a perfect answer is exactly 1 for every completeness.
    mixture = mean_iou + completeness * ((len(pairs) / answered + len(pairs) / true) / 2 - mean_iou)
    return mixture * size_penalty ** abs(answered - true)


# --- what rounding leaves ---------------------------------------------------------------------------------


def reachable_iou(boxes_N4: NDArray[np.float64], scale: tuple[float, float] = (1.0, 1.0)) -> NDArray[np.float64]:
    """The IoU with each box that an answer in whole numbers can be held to: [N], 1 where nothing is lost by rounding.

    The boxes are in the answer's coordinates, `scale` of its units to one of the target's. Two roundings separate
    them from a perfect answer: the answer's, and, of a target in whole numbers, the target's own half unit. The value
    is the least that both can leave; for boxes of a pixel or two, the smaller of 0.5 and the best that whole numbers
    allow. Of an image of 504 x 504 pixels and a grid of 1000, a box of 5 % of the side can be held to 0.94.
    """
    unit_4 = np.array([*scale, *scale])
    target_N4 = boxes_N4 / unit_4
    whole_N1 = np.isclose(target_N4, np.round(target_N4), rtol=0, atol=1e-6).all(axis=-1, keepdims=True)
    slack_N4 = 0.5 + 0.5 * unit_4 * whole_N1 - 1e-6
    # Of all roundings in between, those at the ends are the worst, edge by edge.
    worst_N = _iou_of_edges(boxes_N4, np.ceil(boxes_N4 - slack_N4), np.floor(boxes_N4 + slack_N4)).min(axis=-1)
    best_N = _iou_of_edges(boxes_N4, np.floor(boxes_N4), np.ceil(boxes_N4)).max(axis=-1)
    return np.maximum(worst_N, np.minimum(best_N, 0.5))


_CHOICES = np.array(list(itertools.product((0, 1), repeat=4)))


def _iou_of_edges(
    boxes_N4: NDArray[np.float64], low_N4: NDArray[np.float64], high_N4: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[N, 16]: the IoU of each box with the 16 whose every edge is one of two."""
    return iou(boxes_N4[:, None], np.where(_CHOICES, high_N4[:, None], low_N4[:, None]))


# --- average precision ------------------------------------------------------------------------------------


class Detections(NamedTuple):
    """The boxes of one image, [N, 4], and the category of each; answered ones with scores.

    Of the true ones, `crowd` marks regions that excuse any number of detections inside them, and `areas`, where the
    area of a mask is known, decides between small, medium and large in place of the box's.
    """

    boxes: NDArray[np.float64]
    labels: Sequence[str | int]
    scores: Sequence[float] = ()
    crowd: Sequence[int] = ()
    areas: Sequence[float] = ()


def average_precision(
    predicted: Sequence[Detections],
    true: Sequence[Detections],
    *,
    thresholds: Sequence[float] = COCO_THRESHOLDS,
    area: str = "all",
    most: int = 100,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average precision and recall over categories, per IoU threshold: [T], [T]; -1 where no true box is in range.

    pycocotools matches, per image and category, the `most` best scored boxes; precision is interpolated at 101
    recalls. mAP over a set of images is the mean of the first over the COCO thresholds.
    """
    from pycocotools.cocoeval import COCOeval

    run: Any = COCOeval(iouType="bbox")  # its stubs hide the two stores that are filled here
    run.params.maxDets, run.params.iouThrs = [most], np.array(thresholds)
    categories = sorted({label for image in true for label in image.labels}, key=str)
    for number, (answered, real) in enumerate(zip(predicted, true, strict=True)):
        _add(run._dts, number, answered)
        _add(run._gts, number, real)
    curves = []
    for category in categories:
        run.ious = {(n, category): run.computeIoU(n, category) for n in range(len(true))}
        images = [run.evaluateImg(n, category, COCO_AREAS[area], most) for n in range(len(true))]
        curves.append(_curve([image for image in images if image], run.params.recThrs))
    counted = np.array([curve for curve in curves if curve])
    if not counted.size:
        return -np.ones(len(thresholds)), -np.ones(len(thresholds))
    precision_T, recall_T = counted.mean(axis=0)
    return precision_T, recall_T


def _add(store: dict[tuple[int, str | int], list[dict[str, Any]]], number: int, image: Detections) -> None:
    for n, ((x1, y1, x2, y2), label) in enumerate(zip(image.boxes.tolist(), image.labels, strict=True)):
        crowd = image.crowd[n] if image.crowd else 0
        box: dict[str, Any] = {"id": n + 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": crowd, "ignore": crowd}
        box["area"] = image.areas[n] if image.areas else (x2 - x1) * (y2 - y1)
        store[number, label].append(box | ({"score": image.scores[n]} if image.scores else {}))


def _curve(images: list[dict[str, NDArray]], recalls_R: NDArray) -> list[list[float]] | None:
    """[average precision, recall] of one category, each per threshold; None if no true box of it counts."""
    real = sum(np.count_nonzero(image["gtIgnore"] == 0) for image in images)
    if not real:
        return None
    order = np.argsort(-np.concatenate([image["dtScores"] for image in images]), kind="stable")
    matched_TD, ignored_TD = (
        np.concatenate([image[name] for image in images], axis=1)[:, order] for name in ("dtMatches", "dtIgnore")
    )
    found, precisions = [], []
    for matched, ignored in zip(matched_TD > 0, ignored_TD.astype(bool), strict=True):
        right, wrong = np.cumsum(matched & ~ignored), np.cumsum(~matched & ~ignored)
        precision = right / np.maximum(right + wrong, 1)
        best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
        precisions.append(float(best[np.searchsorted(right / real, recalls_R)].mean()))
        found.append(float(right[-1] / real) if len(right) else 0.0)
    return [precisions, found]


def caution(metric: str, threshold: float) -> str:
    """How a metric that counts matches pays an answer of the whole image; empty if the threshold is high enough."""
    if metric not in ("share", "f1") or threshold >= 0.1:
        return ""
    return f"metric {metric!r} with the threshold {threshold:g} pays an answer of the whole image; raise the threshold"
