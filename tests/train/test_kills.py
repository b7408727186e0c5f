"""A run that is killed before any of its file operations, and resumed, ends as if nothing had happened.

VLMRL_EVERY_KILL=1 pytest tests/train/test_kills.py       every operation; otherwise a few, drawn anew each time

The same for the files of a finished run, each damaged in every way: what is wrong is said, or made good.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from helpers.damage import flip, replace_by_folder
from helpers.forks import Forks
from helpers.replay_run import write_replay_run
from helpers.samples import prompt_sample

from vlmrl.data.sample_files import write_samples

SAMPLED = 6
"""Operations that are tried, unless all are."""


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as forks:
        yield forks


@pytest.fixture
def run_file(tmp_path: Path, model_folder) -> Path:
    """Two steps, each with a checkpoint of which one is kept, and an evaluation before, between and after."""
    samples = [prompt_sample(f"s{number}", f"what is {number} + 1?") for number in range(4)]
    write_samples(tmp_path / "rows.jsonl", samples)
    data = {split: [str(tmp_path / "rows.jsonl")] for split in ("train", "heldout")}
    return write_replay_run(
        tmp_path,
        {sample.id: ["3", "0", "none", "1"] for sample in samples},
        run={"steps": 2, "checkpoint_every": 1, "keep_checkpoints": 1},
        eval={"every": 1},
        model={"path": str(model_folder("qwen2_5_vl"))},
        data=data,
        rollout={"prompts": 2, "group": 4},
    )


def content(folder: Path) -> dict[str, Any]:
    """What a run left, by path: all but the times, what holds them, and the number of the run."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    found: dict[str, Any] = {name: path.read_bytes() for name, path in files.items()}
    found |= dict.fromkeys(("report.html", "run.json", "records.json"))
    rows = [json.loads(line) for line in found["metrics.jsonl"].splitlines()]
    found["metrics.jsonl"] = [{k: v for k, v in row.items() if not k.startswith("seconds/")} for row in rows]
    found["summary.json"] = json.loads(found["summary.json"]) | {"seconds": None}
    return found


T = TypeVar("T")


def some(cases: Sequence[T]) -> list[T]:
    """A few of the cases, drawn anew each time, or all of them."""
    if os.environ.get("VLMRL_EVERY_KILL"):
        return list(cases)
    seed = int(os.environ.get("VLMRL_TEST_SEED") or random.randrange(2**32))
    print(f"VLMRL_TEST_SEED={seed} draws the same of {len(cases)} again")
    return random.Random(seed).sample(cases, SAMPLED)


def test_a_run_killed_before_any_file_operation_ends_as_if_it_had_not_been(forks: Forks, run_file: Path):
    folder = run_file.parent / "runs" / "x"
    folder.parent.mkdir()  # otherwise the first run has operations more
    whole = forks.run(["train", run_file], folder)
    assert whole.code == 0, whole.errors
    expected, total = content(folder), len(whole.operations)
    assert total > 50, whole.operations
    for place in some(range(1, total + 1)):
        shutil.rmtree(folder)
        killed = forks.run(["train", run_file], folder, place)
        where = f"operation {place}, {whole.operations[place - 1]}"
        assert killed.code == -9, f"{where}: not killed: {killed.errors}"
        # Before the first operation there is no folder, and so nothing to resume.
        resumed = forks.run(["train", run_file, *(["--resume"] if folder.exists() else [])], folder)
        assert resumed.code == 0, f"{where}: {resumed.errors}"
        now = content(folder)
        assert now.keys() == expected.keys(), where
        assert [name for name in now if now[name] != expected[name]] == [], where


STOPPED = {
    "data/train": "stopped at once; add --resume to go on",
    "heldout/.step_000000": "stopped at once; add --resume to go on",
    "rollouts/.step_000001": "stopped after step 1; add --resume to go on",
    "rollouts/.step_000002": "stopped after step 2; add --resume to go on",
    "heldout/.step_000002": "stopped at once; add --resume to go on",
    ".summary.json": "stopped at once; add --resume to go on",
}
"""A file that is being written when the signal comes: while the run loads, evaluates, trains, and ends."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=str)
def test_a_signal_stops_a_run_in_a_line_wherever_it_is(forks: Forks, run_file: Path, number: signal.Signals):
    folder = run_file.parent / "runs" / "x"
    folder.parent.mkdir()
    whole = forks.run(["train", run_file], folder)
    expected = content(folder)
    for name, said in STOPPED.items():
        place = next(n for n, done in enumerate(whole.operations, 1) if f"{folder}/{name}" in done)
        shutil.rmtree(folder)
        stopped = forks.run(["train", run_file], folder, place, number)
        assert stopped.code == 130, (name, stopped)
        assert stopped.errors.splitlines()[-1] == f"[x] {said}", name
        assert "Traceback" not in stopped.errors
        resumed = forks.run(["train", run_file, "--resume"], folder)
        assert resumed.code == 0, (name, resumed)
        now = content(folder)
        assert [path for path in now.keys() | expected.keys() if now.get(path) != expected.get(path)] == [], name


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a flipped bit": flip,
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "gone": Path.unlink,
    "JSON": lambda path: path.write_bytes(b'{"weights": {}}\n'),
    "a list": lambda path: path.write_bytes(b"5\n"),
    "noise": lambda path: path.write_bytes(bytes(range(256))),
    "a folder": replace_by_folder,
}


SOMETIMES = """
def sometimes(response, target):
    return float(response == target) if response.isdigit() else 1 / 0
"""
"""A reward of the user that fails for some answers, which the run then keeps as unscored."""


@pytest.mark.timeout(3000)  # all of them take some minutes
def test_a_damaged_run_is_not_believed(forks: Forks, run_file: Path):
    """Report, score and `--resume` of a run one of whose files is damaged: a line and exit code 2, or the same result
    as of the whole run, or that of another start, which is said."""
    own = run_file.parent / "own.py"
    own.write_text(SOMETIMES)
    rows = run_file.parent / "rows.jsonl"
    rows.write_text(rows.read_text().replace('"counting"', '"sometimes"').replace('"target": 1', '"target": "1"'))
    folder, kept = run_file.parent / "runs" / "x", run_file.parent / "kept"
    train = ["train", run_file, "--reward.verifiers_path", f"{own}:sometimes"]
    assert forks.run(train, folder).code == 0
    shutil.copytree(folder, kept)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    answers = [file for file in files if file.name == "unscored.jsonl" or file.parts[0] in ("heldout", "rollouts")]
    assert len(answers) == 6

    def score(file: Path) -> list[Any]:
        out = run_file.parent / "scored.jsonl"
        return ["score", folder / file, "--verifiers-path", f"{own}:sometimes", "--out", out]

    expected, page = content(folder), (folder / "report.html").read_bytes()
    scored = {}
    for file in answers:
        assert forks.run(score(file), folder).code == 0
        scored[file] = (run_file.parent / "scored.jsonl").read_bytes()
    for file, damage in some([(file, damage) for file in files for damage in DAMAGES]):
        where = f"{file}: {damage}"
        scores = score(file if file in answers else random.choice(answers))
        for command in (["report", folder], scores, [*train, "--resume"]):
            shutil.rmtree(folder)
            shutil.copytree(kept, folder)
            DAMAGES[damage](folder / file)
            done = forks.run(command, folder)
            said = done.errors.splitlines()
            assert "Traceback" not in done.errors, f"{where}: {done.errors}"
            if done.code == 2:
                assert len([line for line in said if line.startswith("vlmrl: ")]) == 1, f"{where}: {said}"
                continue
            assert done.code == 0, f"{where}: {done}"
            if command[0] == "report":
                assert (folder / "report.html").read_bytes() == page, where
            elif command is scores:
                now = (run_file.parent / "scored.jsonl").read_bytes()
                assert now == scored[scores[1].relative_to(folder)], where
            else:
                now = content(folder)
                # A run deletes its oldest rollouts, and its user may delete what could not be judged.
                may_go = damage == "gone" and (file.parts[0] == "rollouts" or file.name == "unscored.jsonl")
                compared = expected.keys() - ({str(file)} if may_go else set())
                differ = [name for name in compared if now.get(name) != expected[name]]
                assert not differ or len(said) > 1, f"{where}: {differ} differ, and nothing was said"
