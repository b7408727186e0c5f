"""The run file of every preset trains the tiny model for two steps."""

from __future__ import annotations

import json
import tomllib

import pytest

from vlmrl import catalog
from vlmrl.cli import main

RUN = """
[run]
name = "{name}"
folder = "{folder}"
steps = 2
sinks = ["jsonl"]

[data]
train = [{{ recipe = "synthetic", n = 8, sources = ["counting"], seed = 3 }}]

[rollout]
prompts = 4
group = 4
max_new_tokens = 8

[reward]
workers = 0

[learner]
learning_rate = 1e-4
updates_per_step = 2

[objective]
preset = "{name}"
"""


@pytest.mark.parametrize("name", catalog.names("objectives"))
def test_a_preset_trains(name, tmp_path):
    (tmp_path / "run.toml").write_text(RUN.format(name=name, folder=tmp_path))
    (tmp_path / "grams.txt").write_text("let me see\n")
    extra = ["--objective.planning_ngrams", str(tmp_path / "grams.txt")] if name == "hicra" else []
    assert main(["train", str(tmp_path / "run.toml"), *extra]) == 0
    stored = tomllib.loads((tmp_path / name / "config.toml").read_text())["objective"]
    preset = catalog.load("objectives", name).PRESET
    assert {key: stored[key] for key in preset} == preset
    rows = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
    steps = [row for row in rows if "all/loss" in row]
    assert [row["step"] for row in steps] == [1, 2]
    assert all(row["all/optimizer_steps"] > 0 and row["all/grad_norm"] > 0 for row in steps)
