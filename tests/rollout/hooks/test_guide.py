"""Guide in the trainer: the clean prompt is trained on with logprobs under the hint, and a resumed run is equal."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from helpers.hook_runs import (
    check_resumed_run,
    learner_logprobs,
    metrics,
    open_trainer,
    run_steps,
    write_hook_run,
)

from vlmrl.cli import main
from vlmrl.rollout import hook


@pytest.fixture(scope="module")
def run_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hook_run(tmp_path_factory.mktemp("hooks"))


def test_guide_trains_on_the_clean_prompt_with_logprobs_under_the_hint(run_file: Path) -> None:
    trainer = open_trainer(run_file, "guide", "--rollout.hooks", '["guide"]', "--objective.preset", "guide")
    clean_policy = trainer.policy.frozen_copy()
    trained = run_steps(trainer, 2)
    trainer.close()
    rows = metrics(run_file, "guide")
    hinted = [group for group in trained if group.earlier]
    assert len(hinted) == sum(row["hooks/regenerated"] - row["hooks/dropped"] for row in rows)
    assert any(group.stats for group in hinted)
    stored = pq.read_table(run_file.parent / "runs" / "guide" / "rollouts")["kind"].to_pylist()
    assert stored.count("hint") == 6 * sum(row["hooks/regenerated"] for row in rows)
    assert stored.count("policy") == 6 * 6 * 2
    for group in hinted:
        assert group.has_spread
        assert group.sample.prompt[-1].content == "<image>"
        assert {r.kind for r in group.rollouts} == {"hint"}
        assert all(s is None or s.diff_max is None for s in group.stats)
    first = next(group for group in hinted if group.rollouts[0].version == 0)
    with_hint = hook.with_hint(first.sample, "{hint}", str(first.sample.meta["hint"]))
    (prompt,) = trainer.policy.formatter.encode([with_hint])
    sampled = torch.tensor([logprob for r in first.rollouts for logprob in r.logprobs])
    hint_gap, clean_gap = (
        (torch.cat(learner_logprobs(clean_policy, under, first.rollouts)) - sampled).abs().max()
        for under in (prompt, first.prompt)
    )
    assert hint_gap < 1e-4
    assert clean_gap > 0.1


def test_a_dry_run_names_the_hooks_that_no_sample_helps(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    solved = [json.loads(line) for line in (run_file.parent / "train.jsonl").read_text().splitlines()]
    for row in solved:
        del row["meta"]["hint"]
    path = run_file.parent / "solved.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in solved))

    def warnings(*files: Path) -> list[str]:
        entries = json.dumps([str(file) for file in files])
        flags = ["--dry-run", "--data.train", entries, "--rollout.hooks", '["ghpo", "force_answer", "guide"]']
        assert main(["train", str(run_file), *flags]) == 0
        return [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]

    assert warnings(path) == ["warning: no checked sample has meta.hint, so hook 'guide' does nothing"]
    assert warnings(path, run_file.parent / "train.jsonl") == []


def test_a_resumed_run_equals_an_uninterrupted_one(run_file: Path) -> None:
    check_resumed_run(run_file, "guide")
