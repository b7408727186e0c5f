"""Matches of regions and what they are worth. Average precision: tests/verifiers/test_dynamic_iou.py."""

import numpy as np
import pytest

from vlmrl.reading.detection import METRICS, PARTS, Detections, average_precision, compatible, judge, reachable_iou

PLAIN = {"threshold": 0.5, "completeness": 0.3, "size_penalty": 0.6}


def test_compatible() -> None:
    assert compatible(["cat"], ["Cat", "dog"]).tolist() == [[True], [False]]
    assert compatible([None, " a  Cat "], ["a cat"]).tolist() == [[True, True]]
    assert compatible([None], ["cat", "dog"]).tolist() == [[False], [False]], "two labels, none said"
    assert compatible(["cat"], [None]).tolist() == [[True]]
    assert compatible([], ["cat"]).shape == (1, 0)
    assert compatible(["the red chairs"], ["chair"]).tolist() == [[True]], "other words for the only label"
    assert compatible(["lamp"], ["chair"]).tolist() == [[False]]
    assert compatible(["dog"], ["brown dog", "white dog"]).tolist() == [[False], [False]], "it may be either"


@pytest.mark.parametrize(("metric", "score"), [
    ("mixture", (0.7 * 1.4 / 2 + 0.3 * (2 / 3 + 1) / 2) * 0.6), ("share", 2 / 3), ("f1", 4 / 5), ("iou", 1.4 / 3),
])  # fmt: skip
def test_judge(metric: str, score: float) -> None:
    iou_GP = np.array([[0.8, 0.0, 0.1], [0.0, 0.6, 0.0]])
    verdict = judge(iou_GP, metric=metric, **PLAIN)  # pyright: ignore[reportArgumentType]
    assert verdict.score == pytest.approx(score)
    assert (verdict.parts["iou_50"], verdict.parts["iou_75"], verdict.parts["precision"]) == (1.0, 0.5, 2 / 3)


@pytest.mark.parametrize("metric", METRICS)
def test_nothing_there_and_nothing_answered(metric: str) -> None:
    for shape, score in (((0, 0), 1.0), ((0, 2), 0.0), ((2, 0), 0.0)):
        verdict = judge(np.zeros(shape), metric=metric, **PLAIN)  # pyright: ignore[reportArgumentType]
        assert (verdict.score, verdict.parts) == (score, dict.fromkeys(PARTS, score))


def test_a_cap_lowers_the_threshold_of_its_region() -> None:
    iou_GP = np.array([[0.4]])
    strict = judge(iou_GP, metric="share", **PLAIN)  # pyright: ignore[reportArgumentType]
    capped = judge(iou_GP, metric="share", reachable_G=np.array([0.4]), **PLAIN)  # pyright: ignore[reportArgumentType]
    assert (strict.score, capped.score, capped.parts["reachable"]) == (0.0, 1.0, 0.0)


def test_reachable_iou_falls_with_the_size_of_the_box() -> None:
    boxes_N4 = np.array([[10.3, 10.3, 13.3, 13.3], [10.3, 10.3, 40.3, 40.3], [10.3, 10.3, 510.3, 510.3]])
    reachable_N = reachable_iou(boxes_N4, (0.7, 0.7))
    assert (np.diff(reachable_N) > 0).all()
    assert 0.0 < reachable_N[0] < reachable_N[2] < 1.0


def test_average_precision_of_known_answers() -> None:
    true = [Detections(np.array([[0.0, 0, 10, 10], [20, 0, 30, 10]]), ["a", "a"])]
    half = [Detections(np.array([[0.0, 0, 10, 10], [50, 0, 60, 10]]), ["a", "a"], scores=(0.9, 0.8))]
    precision_T, recall_T = average_precision(half, true, thresholds=[0.5])
    assert (precision_T[0], recall_T[0]) == (pytest.approx(51 / 101), 0.5)
    none_T, _ = average_precision([half[0]], [Detections(np.zeros((0, 4)), [])], thresholds=[0.5])
    assert none_T.tolist() == [-1.0]
