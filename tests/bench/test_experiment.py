"""The experiments' parts: what is read from their runs, and the pictures of the one on thresholds."""

from __future__ import annotations

import math
from itertools import islice
from typing import Any

import numpy as np
import pytest

from vlmrl.bench.curriculum_results import measure, rollouts_to, summarise
from vlmrl.bench.experiment import cell, inline_table, interval
from vlmrl.bench.thresholds import ARMS, FINER, pictures
from vlmrl.config.run_file import load_run
from vlmrl.data.media import load_image
from vlmrl.rewards.composite import check_spec, gold_response, score
from vlmrl.rewards.schedules import Schedules


def test_an_interval_is_students() -> None:
    """Mean 2, standard deviation 1, three values: 2 +- 4.303 / sqrt(3)."""
    found = interval([1.0, 2.0, 3.0])
    assert found == pytest.approx({"mean": 2.0, "low": 2 - 2.4843, "high": 2 + 2.4843}, abs=1e-3)
    assert cell(found, "{:.2f}") == "2.00 (-0.48 to 4.48)"
    assert interval([0.5]) == {"mean": 0.5}
    assert cell(interval([]), "{}") == "-"


def test_rollouts_to_a_reward_are_linear_between_evaluations() -> None:
    curve = [(0.0, 0.2), (100.0, 0.4), (200.0, 0.3), (300.0, 0.8)]
    assert rollouts_to(curve, 0.3) == pytest.approx(50)
    assert rollouts_to(curve, 0.55) == pytest.approx(250)
    assert rollouts_to(curve, 0.1) == 0
    assert math.isinf(rollouts_to(curve, 0.9))


def test_a_run_is_measured_by_what_it_paid() -> None:
    rows = [{"step": 0, "heldout/all/sampled/mean": 0.2}]
    rows += [{"step": n, "all/groups": 4.0, "all/rollouts": 32.0, "all/zero_variance": n / 4} for n in (1, 2, 3)]
    rows += [{"step": 4, "all/groups": 8.0, "all/rollouts": 64.0, "all/zero_variance": 1.0}]
    rows += [{"step": 4, "heldout/all/sampled/mean": 0.6}]
    found = measure(rows)
    assert found["curve"] == [(0.0, 0.2), (160.0, 0.6)]
    assert found["flat_curve"] == pytest.approx([0.0, 8 * (1 + 2 + 3) + 64])
    assert found["flat"] == pytest.approx((1 + 2 + 3 + 8) / 20)
    assert found["flat_late"] == 1.0
    quick = found | {"curve": [(0.0, 0.2), (40.0, 0.6), (80.0, 0.6)], "flat_curve": [0.0, 10.0, 50.0]}
    summary = summarise([quick], [found])
    assert (summary["cost"], summary["flat_cost"]) == ({"mean": 0.25}, {"mean": 0.25})


def test_pictures_of_the_threshold_experiment_hold_their_box() -> None:
    moved = set()
    for sample in islice(pictures(12, "train", 1), 12):
        (spec,) = sample.reward
        check_spec(spec)
        image = np.asarray(load_image(sample.media.images[0])).astype(int)
        target: Any = spec.target
        x1, y1, x2, y2 = target[0]["bbox_2d"]
        assert spec.params["image_size"] == [image.shape[1], image.shape[0]] == [84 * FINER] * 2
        moved |= {x1 % FINER, y1 % FINER}
        background = np.median(image.reshape(-1, 3), axis=0)
        outside = np.abs(image - background).max(axis=-1) > 40
        assert outside[y1:y2, x1:x2].any(axis=1).all(), "every row of the box shows the shape"
        assert not outside[y1:y2, max(x1 - 1, 0)].any(), "and it begins at its edge"
        assert score(sample, gold_response(sample)).score == 1.0
        assert sample.demonstration is None
    assert moved == set(range(FINER))


@pytest.mark.parametrize("name", [name for name, arm in ARMS.items() if arm])
def test_the_arms_are_schedules_a_run_takes(name: str) -> None:
    config = load_run(["bench_thresholds"], ["--reward.schedules", inline_table({"dynamic_iou": ARMS[name]})])
    values = Schedules(config.reward.schedules).values("grounding", 0.5)["dynamic_iou"]
    expected = {"fixed 0.5": 0.5, "fixed 0.99": 0.99, "published": 0.99, "published, capped": 0.99}
    assert values["threshold"] == expected.get(name, 0.0)
