"""A run that is made longer names what follows its progress."""

from __future__ import annotations

from typing import Any

import pytest

from vlmrl.config.run_file import validated
from vlmrl.train.extension import following_progress

CASES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"learner": {"schedule": "cosine"}}, ["the cosine learning rate"]),
    ({"learner": {"schedule": "cosine", "schedule_updates": 9}}, []),
    ({"sampler": {"stages": [{"name": "uniform", "until": 1.0}]}}, ["the stages of the sampler"]),
    ({"reward": {"schedules": {"dynamic_iou": {"threshold": [[0.0, 0.5]]}}}}, ["reward.schedules"]),
    ({"objective": {"preset": "visionary_r1"}}, ["the objective"]),
    ({"objective": {"group_weight": "pcurl"}}, ["the objective"]),
]


@pytest.mark.parametrize(("sections", "names"), CASES, ids=str)
def test_what_follows_the_progress_is_named(sections: dict[str, Any], names: list[str]):
    base = {"run": {"name": "x", "steps": 2}, "data": {"train": [{"recipe": "synthetic", "n": 1}]}}
    assert following_progress(validated(base | sections, "run.toml")) == names
