"""The Rollouter in a run: groups that hold their demonstration."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from vlmrl import catalog
from vlmrl.cli import main

COUNTING = {"sources": ["counting"], "seed": 3}
RUN = """
[run]
name = "rl_plus"
folder = "{folder}"
steps = 2
sinks = ["jsonl"]

[model]
device = "cpu"

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
preset = "rl_plus"
"""


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    (tmp_path / "run.toml").write_text(RUN.format(folder=tmp_path))
    return tmp_path / "run.toml"


def test_rl_plus_shows_every_group_its_demonstration(run_file, tmp_path):
    """It is judged and trained on, and no measure of the policy counts it."""
    assert main(["train", str(run_file), "--sampler.name", "refill"]) == 0
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


def test_a_row_without_a_demonstration_is_refused(run_file, tmp_path, capsys):
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
    for extra in ([], ["--dry-run"]):
        assert main(["train", str(run_file), "--data.train", f'["{data}"]', *extra]) == 2
        assert "sample 'bare': no demonstration" in capsys.readouterr().err
