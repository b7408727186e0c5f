"""Samplers in the real trainer: a killed run goes on with the same prompts, and the ledger counts what was paid for.

Also grading, which rolls a run's data out with the same engine and verifiers.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers.command import VLMRL
from helpers.damage import flip, replace_by_folder
from helpers.replay_run import write_replay_run

from vlmrl import catalog
from vlmrl.cli import main
from vlmrl.config.run_file import load_run
from vlmrl.data.sample_files import read_samples
from vlmrl.evaluate.grade import Grader
from vlmrl.monitor.summary import read_metrics
from vlmrl.train import checkpoint
from vlmrl.train.run_folder import ChangedData, RunFolder
from vlmrl.train.trainer import Trainer

SOURCES = ["ocr", "grounding"]


@pytest.fixture
def run_file(tmp_path: Path, model_folder) -> Path:
    """A run whose prompts are, in turn, always right, always wrong, and half right."""
    responses = {
        sample.id: [[str(sample.demonstration)], ["?"], [str(sample.demonstration), "?"]][place % 3]
        for place, sample in enumerate(catalog.load("recipes", "synthetic").build(10, sources=SOURCES))
    }
    return write_replay_run(
        tmp_path,
        responses,
        run={"steps": 4},
        model={"path": str(model_folder("qwen2_5_vl"))},
        data={"train": [{"recipe": "synthetic", "n": 10, "sources": SOURCES}]},
        rollout={"group": 4},
    )


def run_steps(trainer: Trainer, steps: int) -> None:
    for _ in range(steps):
        trainer.step += 1
        trainer.reinforcement_step()


def open_trainer(
    run_file: Path, name: str, *flags: str, resume: bool = False, changed_data: ChangedData | None = None
) -> Trainer:
    config = load_run([str(run_file)], ["--run.name", name, *flags])
    return Trainer(config, RunFolder.open(config, resume, changed_data))


REFILL = ("--sampler.name", "refill", "--sampler.refill.base", "skip_solved", "--sampler.source_weights")
REFILL = (*REFILL, "{ocr = 1, grounding = 2}", "--sampler.refill.margin", "4")


def test_a_resumed_run_draws_the_same_prompts_and_trains_the_same_surplus(run_file: Path) -> None:
    whole = open_trainer(run_file, "whole", *REFILL)
    run_steps(whole, 4)
    cut = open_trainer(run_file, "cut", *REFILL)
    while not cut.sampler.pending:
        run_steps(cut, 1)
    saved = cut.step
    assert saved < 4, "the checkpoint is to hold surplus groups that a later step trains on"
    cut.save()
    cut.close()
    again = open_trainer(run_file, "cut", *REFILL, resume=True)
    assert again.step == saved
    run_steps(again, 4 - saved)
    runs = run_file.parent / "runs"
    assert without_seconds(runs / "cut") == without_seconds(runs / "whole")
    for name, parameter in whole.policy.model.named_parameters():
        assert parameter.equal(dict(again.policy.model.named_parameters())[name])
    for key, column in whole.memory.state_dict().items():
        np.testing.assert_array_equal(column, again.memory.state_dict()[key])
    whole.close()
    again.close()


def without_seconds(folder: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if not k.startswith("seconds/")} for row in read_metrics(folder)]


def test_the_ledger_counts_what_was_paid_for_and_what_was_trained(run_file: Path) -> None:
    trainer = open_trainer(run_file, "paid", "--sampler.name", "refill")
    run_steps(trainer, 4)
    trainer.close()
    rows = read_metrics(run_file.parent / "runs" / "paid")
    for row in rows:
        assert row["all/groups_trained"] == row["all/groups_updated"] == 4
        assert row["all/rollouts"] == 4 * row["all/groups"]
        per_source = [row.get(f"source/{source}/rollouts", 0) for source in ("ocr", "grounding")]
        assert sum(per_source) == row["all/rollouts"]
        stored = run_file.parent / "runs" / "paid" / "rollouts" / f"step_{row['step']:06d}.parquet"
        # A step that the buffer fills pays for nothing.
        assert (pq.read_table(stored).num_rows if stored.exists() else 0) == row["all/rollouts"]
        # What older weights sampled tells nothing about the agreement of engine and learner.
        assert row.get("modality/image/diff_max", 0) < 1e-4
    assert sum(row["sampler/from_buffer"] for row in rows) > 0
    assert trainer.memory.visits_N.sum() * 4 == sum(row["all/rollouts"] for row in rows)


def test_history_of_a_run_grades_the_next(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = open_trainer(run_file, "first")
    run_steps(first, 4)
    history = run_file.parent / "history.parquet"
    assert first.memory.export(history) == 16
    first.close()
    second = open_trainer(run_file, "second", "--sampler.history", json.dumps([str(history)]))
    assert "16 of 20 prompts are graded" in capsys.readouterr().err
    np.testing.assert_array_equal(second.memory.graded_pass_rate_N, first.memory.last_N)
    run_steps(second, 1)
    second.save()
    history.unlink()
    second.close()
    resumed = open_trainer(run_file, "second", "--sampler.history", json.dumps([str(history)]), resume=True)
    np.testing.assert_array_equal(resumed.memory.graded_pass_rate_N, first.memory.last_N)
    resumed.close()


def test_grading_goes_on_where_it_was_stopped(run_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    flags = ["--rollout.group", "6"]
    monkeypatch.setattr("vlmrl.evaluate.BATCH", 8)
    out = run_file.parent / "grades.parquet"
    assert main(["data", "grade", str(run_file), "--out", str(out), *flags]) == 0
    assert "20 prompts" in capsys.readouterr().out
    whole = pq.read_table(out)
    kinds = [[1.0, 0.0, 0.5][place % 3] for place in range(20)]
    by_source = zip(whole["pass_rate"].to_pylist(), kinds, strict=True)
    assert all(right == pytest.approx(kind, abs=0.1) for right, kind in by_source)
    assert set(whole["spread"].to_pylist()) == {0.0, 0.5}

    again = run_file.parent / "again.parquet"
    with monkeypatch.context() as patch:
        patch.setattr(Grader, "_grade", stopped_at(8))
        assert main(["data", "grade", str(run_file), "--out", str(again), *flags]) == 130
    assert refusal(capsys, "data", "grade", run_file, "--out", again, "--rollout.group", "3").endswith(
        "grading was begun with other settings; put them back, or delete the folder"
    )
    assert main(["data", "grade", str(run_file), "--out", str(again), *flags]) == 0
    assert "1 of 3 batches are done" in capsys.readouterr().err
    assert pq.read_table(again).equals(whole)
    assert not (run_file.parent / "again.parquet.parts").exists()
    assert "already there" in refusal(capsys, "data", "grade", run_file, "--out", again)


def test_grading_does_not_mix_batches_of_other_settings(run_file: Path, capsys, monkeypatch) -> None:
    out = run_file.parent / "grades.parquet"
    with monkeypatch.context() as patch:
        patch.setattr(Grader, "_grade", stopped_at(8))
        patch.setattr("vlmrl.evaluate.BATCH", 8)
        assert main(["data", "grade", str(run_file), "--out", str(out)]) == 130
    assert "other settings" in refusal(capsys, "data", "grade", run_file, "--out", out, "--sampler.pass_score", "0.5")


def test_two_at_once_do_not_grade_into_one_file(run_file: Path, capsys, monkeypatch) -> None:
    out = run_file.parent / "grades.parquet"
    grade_batch = Grader._grade

    def meanwhile(grader: Grader, indices: np.ndarray) -> None:
        other = subprocess.run([*VLMRL, "data", "grade", run_file, "--out", out], capture_output=True, text=True)
        assert other.returncode == 2
        assert other.stderr.startswith(f"vlmrl: {out}.parts: is in use by process {os.getpid()} on ")
        assert other.stderr.count("\n") == 1
        grade_batch(grader, indices)

    with monkeypatch.context() as patch:
        patch.setattr(Grader, "_grade", meanwhile)
        assert main(["data", "grade", str(run_file), "--out", str(out)]) == 0
    assert pq.read_table(out).num_rows == 20
    assert not Path(f"{out}.parts").exists()


@pytest.mark.parametrize("name", ["settings.json", "000000000.parquet"])
@pytest.mark.parametrize("damage", [flip, replace_by_folder, lambda path: path.write_bytes(b"")])
def test_damaged_parts_of_grading_are_one_line(
    run_file: Path, capsys, monkeypatch, name: str, damage: Callable[[Path], object]
) -> None:
    out = run_file.parent / "grades.parquet"
    monkeypatch.setattr("vlmrl.evaluate.BATCH", 8)
    with monkeypatch.context() as patch:
        patch.setattr(Grader, "_grade", stopped_at(8))
        assert main(["data", "grade", str(run_file), "--out", str(out)]) == 130
    damage(Path(f"{out}.parts") / name)
    error = refusal(capsys, "data", "grade", run_file, "--out", out)
    assert str(Path(f"{out}.parts") / name) in error or "other settings" in error
    assert not out.exists()


def stopped_at(place: int) -> Callable[[Grader, np.ndarray], None]:
    """`Grader._grade`, interrupted before the batch that begins there."""
    grade_batch = Grader._grade

    def grade(grader: Grader, indices: np.ndarray) -> None:
        if indices[0] == place:
            raise KeyboardInterrupt
        grade_batch(grader, indices)

    return grade


# --- the copy of the data ---------------------------------------------------------------------------------


def write_rows(path: Path, ids: Sequence[str], verifier: str = "exact") -> None:
    rows = [
        {
            "id": name,
            "source": "s",
            "messages": [{"role": "user", "content": f"say {name}"}],
            "reward": [{"verifier": verifier, "target": name}],
        }
        for name in ids
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


OLD, NEW = ([f"{age}{place}" for place in range(8)] for age in ("old", "new"))


@pytest.fixture
def mended_run(tmp_path: Path, model_folder) -> Path:
    """A run on two files of the user's, `train.jsonl` with the old rows and `held.jsonl` with a wrong one."""
    write_rows(tmp_path / "train.jsonl", OLD)
    write_rows(tmp_path / "held.jsonl", ["held"], verifier="exakt")
    files = {"train": "train.jsonl", "heldout": "held.jsonl"}
    return write_replay_run(
        tmp_path,
        {name: [name, "?"] for name in [*OLD, *NEW, "held"]},
        run={"steps": 2},
        model={"path": str(model_folder("qwen2_5_vl"))},
        data={split: [{"path": str(tmp_path / name)}] for split, name in files.items()},
        rollout={"group": 4},
    )


def test_a_start_that_was_refused_leaves_no_data_behind(mended_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = mended_run.parent
    assert "did you mean 'exact'" in refusal(capsys, "train", mended_run)
    write_rows(folder / "train.jsonl", NEW)
    write_rows(folder / "held.jsonl", ["held"])
    trainer = open_trainer(mended_run, "x")
    assert [sample.id for sample in trainer.train_data] == NEW
    run_steps(trainer, 1)
    trainer.save()
    trainer.close()
    write_rows(folder / "train.jsonl", OLD)
    resumed = open_trainer(mended_run, "x", resume=True, changed_data="keep")
    assert [sample.id for sample in resumed.train_data] == NEW, "a run keeps the data it has begun with"
    resumed.close()


def test_grading_that_was_stopped_before_its_first_batch_leaves_no_data_behind(mended_run: Path, monkeypatch) -> None:
    train, out = mended_run.parent / "train.jsonl", mended_run.parent / "grades.parquet"
    command = ["data", "grade", str(mended_run), "--out", str(out)]
    monkeypatch.setattr("vlmrl.evaluate.BATCH", 4)
    for rows, stop in ((OLD, 0), (NEW, 4), (OLD, None)):  # then part of NEW is graded, and the rest has to be
        write_rows(train, rows)
        with monkeypatch.context() as patch:
            if stop is not None:
                patch.setattr(Grader, "_grade", stopped_at(stop))
            assert main(command) == (0 if stop is None else 130)
    write_rows(train, NEW)
    assert pq.read_table(out)["key"].to_pylist() == [sample.key[:16] for sample in read_samples(str(train))]


def refusal(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_a_checkpoint_has_no_pixels(run_file: Path) -> None:
    trainer = open_trainer(run_file, "lean", *REFILL)
    run_steps(trainer, 2)
    trainer.save()
    found = checkpoint.load_latest(trainer.folder.checkpoints, print)
    assert found
    assert all(set(group) == {"sample", "rollouts", "verdicts", "index"} for group in found[1]["sampler"]["pending"])
    trainer.close()


def test_wrong_samplers_are_refused(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for message, flags in {
        "unknown sampler 'ladderr'; did you mean 'ladder'": ["--sampler.name", "ladderr"],
        "no prompt has a grade": ["--sampler.name", "ladder"],
        "unknown sampler 'x'": ["--sampler.stages", '[{name="x", until=1.0}]'],
        "did you mean 'explore'": ["--sampler.skip_solved.explor", "0.5"],
    }.items():
        assert message in refusal(capsys, "train", run_file, "--run.name", "wrong", *flags)
