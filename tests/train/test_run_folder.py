"""The folder of a run: what is not ours stays as it is, a refused start leaves no trace, one process at a time."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.command import complains, run
from helpers.replay_run import write_replay_run

from vlmrl.config.run_file import RunConfig, validated
from vlmrl.errors import UserError
from vlmrl.train.run_folder import RunFolder


def config(folder: Path, name: str = "x") -> RunConfig:
    data = {"train": [{"recipe": "synthetic", "n": 1}]}
    return validated({"run": {"name": name, "steps": 1, "folder": str(folder)}, "data": data}, "run.toml")


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every path in a folder, with the content of the files."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def row(number: int, verifier: str = "math") -> str:
    reward = [{"verifier": verifier, "target": str(number + 1)}]
    messages = [{"role": "user", "content": f"what is {number} + 1?"}]
    return json.dumps({"id": f"s{number}", "source": "sums", "messages": messages, "reward": reward}) + "\n"


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    """A run of one step on two rows."""
    (tmp_path / "train.jsonl").write_text(row(0) + row(1))
    answers = {"s0": ["1", "0"], "s1": ["2", "0"]}
    data, rollout = {"train": [str(tmp_path / "train.jsonl")]}, {"group": 2, "prompts": 2}
    sections = {"run": {"steps": 1}, "data": data, "rollout": rollout, "model": {"path": "tiny"}}
    return write_replay_run(tmp_path, answers, **sections)


# --- what is ours -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("leftover", [".lock", ".run.json.partial", ".config.toml.partial"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_start_that_was_killed_at_once_begins_again(tmp_path: Path, leftover: str, resume: bool) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / leftover).write_text("[run")
    folder = RunFolder.open(config(tmp_path), resume)
    folder.begin()
    assert {path.name for path in (tmp_path / "x").iterdir()} == {".lock", "run.json", "config.toml"}


FOREIGN = {
    "notes.txt": "mine",
    ".hidden": "mine",
    "run.json": '{"scripts": {}}',
    "config.toml": 'title = "x"',
    "data/precious.txt": "x",
}


@pytest.mark.parametrize("names", [(name,) for name in FOREIGN] + [("config.toml", "data/precious.txt", "run.json")])
@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_that_is_not_ours_stays_as_it_is(tmp_path: Path, names: tuple[str, ...], resume: bool) -> None:
    for name in names:
        (tmp_path / "x" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x" / name).write_text(FOREIGN[name])
    before = tree(tmp_path)
    with pytest.raises(UserError, match="not empty and not a run"):
        RunFolder.open(config(tmp_path), resume)
    assert tree(tmp_path) == before


def test_not_even_with_metrics_and_data(tmp_path: Path) -> None:
    (tmp_path / "x" / "data").mkdir(parents=True)
    (tmp_path / "x" / "config.toml").write_text('title = "x"')
    (tmp_path / "x" / "metrics.jsonl").write_text("5\n")
    before = tree(tmp_path)
    with pytest.raises(UserError, match="already holds a run"):
        RunFolder.open(config(tmp_path), resume=False)
    with pytest.raises(UserError, match=r"config\.toml: title: unknown field|config\.toml: run: missing"):
        RunFolder.open(config(tmp_path), resume=True)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", [".", "..", ".x", "a/b", ""])
def test_a_name_that_is_a_path_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"run\.name"):
        config(tmp_path, name)


@pytest.mark.parametrize("name", ["x", "run-1", "v1.2", "größe_3"])
def test_other_names_are_taken(tmp_path: Path, name: str) -> None:
    assert RunFolder.open(config(tmp_path, name), resume=False).path.name == name


# --- starts that are refused ------------------------------------------------------------------------------


REFUSALS: dict[str, tuple[str, ...]] = {
    "no such file": ("--data.train", '["nosuch.jsonl"]'),
    "data.heldout": ("--data.heldout", '["nosuch.jsonl"]'),
    "cannot be loaded": ("--model.path", "/nonexistent"),
    "unknown sampler": ("--sampler.name", "unifrom"),
}


@pytest.mark.parametrize("flags", REFUSALS.values(), ids=REFUSALS)
def test_a_start_that_is_refused_leaves_no_trace(run_file: Path, capsys, flags: tuple[str, ...]) -> None:
    before = tree(run_file.parent)
    complains(run(capsys, "train", run_file, *flags))
    assert tree(run_file.parent) == before
    (run_file.parent / "runs" / "x").mkdir(parents=True)
    before = tree(run_file.parent)
    assert run(capsys, "train", run_file, *flags).code == 2
    assert tree(run_file.parent) == before


def test_there_is_nothing_to_resume(run_file: Path, capsys) -> None:
    complains(run(capsys, "train", run_file, "--resume"), "runs/x: there is no run to resume; leave --resume out")
    assert not (run_file.parent / "runs").exists()


def test_a_resume_that_is_refused_changes_nothing(run_file: Path, capsys) -> None:
    assert run(capsys, "train", run_file).code == 0
    before = tree(run_file.parent / "runs")
    for message, flags in {
        "was started with run.seed = 0, not 5": ("--run.seed", "5"),
        "was started with data.train": ("--data.train", '["nosuch.jsonl"]'),
    }.items():
        complains(run(capsys, "train", run_file, "--resume", *flags), message)
    complains(run(capsys, "train", run_file), "already holds a run")
    (run_file.parent / "train.jsonl").write_text(row(1) + row(0))
    done = run(capsys, "train", run_file, "--resume")
    assert done.code == 2
    assert "has changed since the run started" in done.err
    assert tree(run_file.parent / "runs") == before


def test_rows_are_not_mixed_up_if_the_copy_is_gone_as_well(run_file: Path, capsys) -> None:
    assert run(capsys, "train", run_file).code == 0
    shutil.rmtree(run_file.parent / "runs" / "x" / "data")
    done = run(capsys, "train", run_file, "--resume")
    assert done.code == 0
    assert "is damaged or gone; the rows are read again" in done.err
    shutil.rmtree(run_file.parent / "runs" / "x" / "data")
    (run_file.parent / "train.jsonl").write_text(row(1) + row(0))
    done = run(capsys, "train", run_file, "--resume", "--changed-data", "keep")
    assert done.code == 2
    assert "is damaged or gone, and" in done.err


# --- one process at a time --------------------------------------------------------------------------------

HOLD = """
import sys, time
from pathlib import Path
from vlmrl.monitor.run_lock import RunLock
lock = RunLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def test_a_second_process_is_refused_and_a_killed_one_leaves_no_lock(run_file: Path, capsys) -> None:
    folder = run_file.parent / "runs" / "x"
    folder.mkdir(parents=True)
    holder = subprocess.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE)
    try:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        for flags in ((), ("--resume",)):
            done = run(capsys, "train", run_file, *flags)
            complains(done, f"runs/x: is in use by process {holder.pid} on {os.uname().nodename}; wait")
        assert {path.name for path in folder.iterdir()} == {".lock"}
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert run(capsys, "train", run_file, "--resume").code == 0
    assert (folder / ".lock").read_bytes() == b""


def test_a_killed_holder_is_named_and_one_that_ended_is_not(tmp_path: Path, capsys) -> None:
    RunFolder.open(config(tmp_path), resume=False).close()
    RunFolder.open(config(tmp_path), resume=False).close()
    assert capsys.readouterr().err == ""
    (tmp_path / "x" / ".lock").write_text("process 7 on another\n")
    RunFolder.open(config(tmp_path), resume=False).close()
    assert "process 7 on another was killed" in capsys.readouterr().err


# --- what a run remembers ---------------------------------------------------------------------------------


def test_another_version_is_said(tmp_path: Path, capsys) -> None:
    RunFolder.open(config(tmp_path), resume=False).close()
    marker = json.loads((tmp_path / "x" / "run.json").read_text())
    (tmp_path / "x" / "run.json").write_text(json.dumps(marker | {"vlmrl": "0.0.1"}))
    RunFolder.open(config(tmp_path), resume=True).close()
    assert "was started with vlmrl 0.0.1 and goes on with" in capsys.readouterr().err


def test_a_processor_that_has_changed_is_refused(run_file: Path, capsys, model_folder) -> None:
    model = run_file.parent / "model"
    shutil.copytree(model_folder("qwen2_5_vl"), model)
    assert run(capsys, "train", run_file, "--model.path", model).code == 0
    processor = model / "preprocessor_config.json"
    if not processor.exists():
        processor = model / "processor_config.json"
    processor.write_text(processor.read_text() + "\n")
    done = run(capsys, "train", run_file, "--model.path", model, "--resume")
    assert done.code == 2
    assert f"{processor}: has changed since the run started; put the earlier model folder back" in done.err


@pytest.mark.parametrize("schedule", ["constant", "linear"])
def test_a_finished_run_can_be_extended(run_file: Path, capsys, schedule: str) -> None:
    flags = ("--learner.schedule", schedule)
    assert run(capsys, "train", run_file, *flags).code == 0
    done = run(capsys, "train", run_file, *flags, "--resume", "--run.steps", "3")
    assert done.code == 0
    assert "[x] run.steps is 3 now, 1 before" in done.err
    assert ("as in a run of 3: the linear learning rate" in done.err) == (schedule == "linear")
    assert run(capsys, "train", run_file, *flags, "--run.name", "whole", "--run.steps", "3").code == 0
    rows = [
        [json.loads(line) for line in (run_file.parent / "runs" / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("x", "whole")
    ]
    rates = [[row["all/learning_rate"] for row in one] for one in rows]
    assert rates[0][1:] == rates[1][1:], "from there on as in a run of three steps"
    files = [run_file.parent / "runs" / name / "model" / "model.safetensors" for name in ("x", "whole")]
    assert files[0].read_bytes() == files[1].read_bytes()
    complains(run(capsys, "train", run_file, *flags, "--resume"), "run.steps = 1", "has done 3 already")
