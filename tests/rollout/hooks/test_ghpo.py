"""GHPO in the trainer: the hinted prompt is trained on, and a resumed run is equal."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.hook_runs import check_resumed_run, metrics, open_trainer, run_steps, write_hook_run


@pytest.fixture(scope="module")
def run_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hook_run(tmp_path_factory.mktemp("hooks"))


def test_ghpo_trains_on_the_hinted_prompt(run_file: Path) -> None:
    trainer = open_trainer(run_file, "ghpo", "--rollout.hooks", '["ghpo"]', "--objective.preset", "bnpo")
    trained = run_steps(trainer, 2)
    trainer.close()
    hinted = [group for group in trained if group.earlier]
    assert any(group.stats for group in hinted)
    for group in hinted:
        solution = str(group.sample.meta["solution"])
        share = (0.25, 0.5, 0.75)[len(group.earlier) - 1]
        assert group.sample.prompt[-1].content == "<image>" + solution[: int(share * len(solution))]
        assert {r.kind for r in group.rollouts} == {"policy"}
        assert all(not any(earlier.scores) for earlier in group.earlier)
    # Agreement is judged on hinted groups like any other.
    assert max(s.diff_max or 0.0 for group in hinted for s in group.stats if s) < 1e-4
    rows = metrics(run_file, "ghpo")
    assert sum(row["hooks/regenerated"] for row in rows) == sum(len(group.earlier) for group in trained)
    for row in rows:
        assert row["all/rollouts"] == 6 * row["all/groups"] == 6 * (6 + row["hooks/regenerated"])
    assert int(trainer.memory.visits_N.sum()) == 12, "the memory knows prompts as they are, once a visit"


def test_a_resumed_run_equals_an_uninterrupted_one(run_file: Path) -> None:
    check_resumed_run(run_file, "ghpo")
