"""Schedules of verifiers' parameters, by progress and matched to the policy; and the warning where a source starves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.population import make_group
from helpers.replay_run import write_replay_run

from vlmrl import catalog
from vlmrl.config.reward import MatchedSchedule, RewardSettings
from vlmrl.config.run_file import load_run
from vlmrl.errors import UserError
from vlmrl.monitor.starvation import ENOUGH, StarvationWatch
from vlmrl.monitor.summary import read_metrics
from vlmrl.rewards.schedules import LATEST, Schedules, matched_value, schedule_value
from vlmrl.train.run_folder import RunFolder
from vlmrl.train.trainer import Trainer
from vlmrl.verdict import Verdict


@pytest.mark.parametrize(
    ("progress", "value"),
    [(0.0, 0.85), (0.10, 0.85), (0.1001, 0.95), (0.25, 0.95), (0.26, 0.99), (1.0, 0.99)],
)
def test_a_schedule_has_v_triunes_values(progress: float, value: float) -> None:
    assert schedule_value([(0.0, 0.85), (0.10, 0.95), (0.25, 0.99)], progress) == value


@pytest.mark.parametrize("reached_by", [0.1, 0.25, 0.5, 0.9])
def test_a_matched_value_is_reached_by_that_share(reached_by: float) -> None:
    scores = np.random.default_rng(3).random(400)
    value = matched_value(MatchedSchedule(part="iou", reached_by=reached_by), scores)
    assert abs((scores >= value).mean() - reached_by) <= 1 / len(scores)


def test_a_matched_value_keeps_within_its_bounds() -> None:
    schedule = MatchedSchedule(part="iou", most=0.9)
    assert [matched_value(schedule, scores) for scores in ([-0.1, -0.2], [0.6, 0.6], [1.0, 1.0])] == [0.0, 0.6, 0.9]


def matched(**settings: Any) -> Schedules:
    return Schedules({"dynamic_iou": {"threshold": MatchedSchedule(part="iou", **settings)}})


def iou(*values: float) -> list[Verdict]:
    return [Verdict(value, parts={"dynamic_iou/iou": value}) for value in values]


def test_a_matched_value_follows_each_source_from_the_next_step_on() -> None:
    schedules = matched()
    assert schedules.values("near", 0.5) == {"dynamic_iou": {"threshold": 0.0}}
    schedules.observe("near", iou(0.8, 0.9))
    schedules.observe("far", iou(0.4, 0.5))
    assert schedules.values("near", 0.5) == {"dynamic_iou": {"threshold": 0.0}}, "the step is not over"
    schedules.advance()
    assert schedules.values("near", 0.5) == {"dynamic_iou": {"threshold": 0.9}}
    assert schedules.values("new", 0.5) == {"dynamic_iou": {"threshold": 0.0}}
    assert schedules.metrics(0.5) == {
        "schedule/dynamic_iou/threshold/near": 0.9,
        "schedule/dynamic_iou/threshold/far": 0.5,
    }
    schedules.observe("near", iou(*[0.1] * LATEST))
    schedules.advance()
    assert schedules.values("near", 0.5) == {"dynamic_iou": {"threshold": 0.1}}, "only the latest answers count"


@pytest.mark.parametrize(
    ("schedules", "complaint"),
    [
        (
            {"dynamic_iou": {"treshold": [(0.0, 0.5)]}},
            "no parameter 'treshold'; did you mean 'threshold'",
        ),
        (
            {"dynamic_iou": {"threshold": {"part": "iuo"}}},
            r"threshold: .* no part 'iuo'; did you mean 'iou'",
        ),
        ({"dynamic_io": {"threshold": [(0.0, 0.5)]}}, "did you mean 'dynamic_iou'"),
    ],
)
def test_a_schedule_of_nothing_known_is_refused(schedules: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        Schedules(RewardSettings.model_validate({"schedules": schedules}).schedules)


# --- in a run ---------------------------------------------------------------------------------------------


@pytest.fixture
def run_file(tmp_path: Path, model_folder) -> Path:
    """A run whose answers miss an edge by 0 to 6 pixels, those of one prompt by different amounts."""
    responses = {}
    for place, sample in enumerate(catalog.load("recipes", "synthetic").build(16, sources=["grounding"])):
        x1, y1, x2, y2 = sample.reward[0].target[0]["bbox_2d"]  # pyright: ignore
        answers = [{"bbox_2d": [x1, y1, x2, y2 - off]} for off in (1, 2, 3, 3 + place % 4)]
        responses[sample.id] = [json.dumps(answer) for answer in answers]
    return write_replay_run(
        tmp_path,
        responses,
        run={"steps": 12},
        model={"path": str(model_folder("qwen2_5_vl"))},
        data={"train": [{"recipe": "synthetic", "n": 16, "sources": ["grounding"]}]},
        rollout={"prompts": 8, "group": 4},
    )


def open_trainer(run_file: Path, name: str, threshold: str, resume: bool = False) -> Trainer:
    flags = ["--run.name", name, "--reward.schedules", f"{{dynamic_iou = {{threshold = {threshold}}}}}"]
    config = load_run([str(run_file)], flags)
    return Trainer(config, RunFolder.open(config, resume))


def run_steps(trainer: Trainer, steps: int) -> None:
    for _ in range(steps):
        trainer.step += 1
        trainer.reinforcement_step()


def figures(trainer: Trainer) -> list[dict[str, float]]:
    rows = read_metrics(trainer.folder.path)
    return [{key: value for key, value in row.items() if not key.startswith("seconds/")} for row in rows]


def test_a_matched_threshold_keeps_groups_apart_and_survives_a_resume(run_file: Path) -> None:
    half = '{part = "iou", reached_by = 0.5}'
    whole = open_trainer(run_file, "whole", half)
    run_steps(whole, 4)
    cut = open_trainer(run_file, "cut", half)
    run_steps(cut, 2)
    cut.save()
    cut.close()
    again = open_trainer(run_file, "cut", half, resume=True)
    run_steps(again, 2)
    assert figures(again) == figures(whole)
    first, *later = figures(whole)
    assert "schedule/dynamic_iou/threshold/grounding" not in first
    for row in later:
        assert row["schedule/dynamic_iou/threshold/grounding"] > 0.8
        assert row["source/grounding/zero_variance"] < 0.5
        assert row["source/grounding/zero"] == pytest.approx(0.5, abs=0.2), "half of the answers reach it"
    whole.close()
    again.close()


def test_a_threshold_out_of_reach_is_named_once(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = open_trainer(run_file, "starved", "[[0.0, 0.99]]")
    steps = ENOUGH // trainer.config.rollout.prompts
    run_steps(trainer, steps - 1)
    assert "starves" not in capsys.readouterr().err
    run_steps(trainer, 2)
    trainer.close()
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "starves" in line]
    assert "source 'grounding' starves: in 100% of its last 64 groups" in line
    assert "dynamic_iou.threshold is 0.99: lower it, or match it to the policy" in line


def test_a_source_is_named_once_though_its_threshold_moves() -> None:
    said: list[str] = []
    watch = StarvationWatch(said.append)
    for step in range(20):
        threshold = 0.5 + step / 1000
        watch.observe(
            [make_group(0, [0, 0]) for _ in range(ENOUGH // 4)],
            lambda _, threshold=threshold: {"exact": {"threshold": threshold}},
        )
    (line,) = said
    assert "exact.threshold is 0.503" in line
