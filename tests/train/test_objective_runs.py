"""The run file of every preset trains the tiny model for two steps."""

from __future__ import annotations

import json
import tomllib

import pyarrow.parquet as pq
import pytest

from vlmrl import catalog
from vlmrl.cli import main

COUNTING = {"sources": ["counting"], "seed": 3}
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
    extra = ["--objective.hicra.planning_ngrams", str(tmp_path / "grams.txt")] if name == "hicra" else []
    assert main(["train", str(tmp_path / "run.toml"), *extra]) == 0
    stored = tomllib.loads((tmp_path / name / "config.toml").read_text())["objective"]
    preset = catalog.load("objectives", name).PRESET
    assert all(stored[k].items() >= v.items() if isinstance(v, dict) else stored[k] == v for k, v in preset.items())
    rows = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
    steps = [row for row in rows if "all/loss" in row]
    assert [row["step"] for row in steps] == [1, 2]
    assert all(row["all/optimizer_steps"] > 0 and row["all/grad_norm"] > 0 for row in steps)


def test_rl_plus_shows_every_group_its_demonstration(tmp_path):
    """It is judged and trained on, and no measure of the policy counts it."""
    (tmp_path / "run.toml").write_text(RUN.format(name="rl_plus", folder=tmp_path))
    assert main(["train", str(tmp_path / "run.toml"), "--sampler.name", "refill"]) == 0
    steps = [json.loads(line) for line in (tmp_path / "rl_plus" / "metrics.jsonl").read_text().splitlines()]
    counting = {sample.id: sample.demonstration for sample in catalog.load("recipes", "synthetic").build(8, **COUNTING)}
    for step in (1, 2):
        rows = pq.read_table(tmp_path / "rl_plus" / "rollouts" / f"step_{step:06d}.parquet").to_pylist()
        own = [row["score"] for row in rows if row["kind"] == "policy"]
        shown = [row for row in rows if row["kind"] == "demo"]
        assert len(own) == 3 * len(shown) > 0
        assert all(row["response"] == counting[row["id"]] and row["score"] == 1 for row in shown)
        assert steps[step - 1]["all/rollouts"] == len(own)
        assert steps[step - 1]["all/reward"] == pytest.approx(sum(own) / len(own))
    history = {row["key"]: row for row in pq.read_table(tmp_path / "rl_plus" / "history.parquet").to_pylist()}
    for key in {row["key"] for row in rows}:
        mine = [row["score"] for row in rows if row["key"] == key and row["kind"] == "policy"]
        assert history[key[:16]]["reward"] == pytest.approx(sum(mine) / 3, abs=1e-3)
        assert history[key[:16]]["pass_rate"] == pytest.approx(sum(mine) / 3, abs=1e-3)


def test_a_row_without_a_demonstration_is_refused(tmp_path, capsys):
    data = tmp_path / "data.jsonl"
    data.write_text(
        json.dumps(
            {
                "id": "bare",
                "source": "s",
                "messages": [{"role": "user", "content": "1 + 1?"}],
                "reward": [{"verifier": "math", "target": "2"}],
            }
        )
    )
    (tmp_path / "run.toml").write_text(RUN.format(name="rl_plus", folder=tmp_path))
    for extra in ([], ["--dry-run"]):
        assert main(["train", str(tmp_path / "run.toml"), "--data.train", f'["{data}"]', *extra]) == 2
        assert "sample 'bare': no demonstration" in capsys.readouterr().err
