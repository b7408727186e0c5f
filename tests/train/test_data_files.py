"""`--resume` notices that a data file has changed, and goes on with the rows that it is told to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.replay_run import write_replay_run
from PIL import Image

from vlmrl.cli import main
from vlmrl.train import checkpoint
from vlmrl.train.data_files import _media_hash

ONE_STEP = ("--run.max_minutes", "1e-6")


def row(number: int) -> dict[str, Any]:
    return {
        "id": f"s{number}",
        "source": "sums",
        "messages": [{"role": "user", "content": f"what is {number} + 1?"}],
        "reward": [{"verifier": "math", "target": str(number + 1)}],
    }


@pytest.fixture
def stopped(tmp_path: Path) -> str:
    """The file of a run of four steps, stopped after the first."""
    write(tmp_path, range(8))
    answers = {f"s{n}": [str(n + 1), "0"] for n in range(20)}
    sections = {"data": {"train": [str(tmp_path / "train.jsonl")]}, "run": {"steps": 4}, "rollout": {"group": 2}}
    path = str(write_replay_run(tmp_path, answers, **sections))
    assert main(["train", path, *ONE_STEP]) == 0
    return path


def write(folder: Path, numbers) -> None:
    (folder / "train.jsonl").write_text("".join(json.dumps(row(n)) + "\n" for n in numbers))


def drawn(folder: Path, *steps: int) -> set[str]:
    import pyarrow.parquet as pq

    files = (folder / "runs" / "x" / "rollouts" / f"step_{step:06d}.parquet" for step in steps)
    return {name for file in files for name in pq.read_table(file)["id"].to_pylist()}


def test_a_changed_file_stops_a_resume_in_one_line(stopped: str, tmp_path: Path, capsys) -> None:
    write(tmp_path, range(9))
    assert main(["train", stopped, "--resume"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vlmrl: ")]
    assert f"{tmp_path}/train.jsonl has changed since the run started; put the earlier file back" in line
    assert "--changed-data keep" in line
    assert "--changed-data reload" in line
    write(tmp_path, range(8))
    assert main(["train", stopped, "--resume"]) == 0


def test_a_run_that_keeps_its_rows_ends_as_if_nothing_had_changed(stopped: str, tmp_path: Path) -> None:
    write(tmp_path, range(10, 18))
    assert main(["train", stopped, "--resume", "--changed-data", "keep"]) == 0
    assert drawn(tmp_path, 3, 4) == {f"s{n}" for n in range(8)}


def test_a_reloaded_run_goes_on_with_the_new_rows_and_knows_the_old_ones(stopped: str, tmp_path: Path, capsys) -> None:
    numbers = [*range(17, 9, -1), *range(4)]
    write(tmp_path, numbers)
    visited = {numbers.index(n) for n in range(4) if f"s{n}" in drawn(tmp_path, 1)}
    assert main(["train", stopped, "--resume", "--changed-data", "reload", *ONE_STEP]) == 0
    said = f"12 training rows are read anew, {len(visited)} of them were visited before; the sampler starts a new epoch"
    assert said in capsys.readouterr().err
    step, state = checkpoint.load_latest(tmp_path / "runs" / "x" / "checkpoints", print) or (0, {})
    assert step == 2
    assert visited
    assert visited <= set(state["memory"]["index"].tolist())
    assert main(["train", stopped, "--resume"]) == 0, "the new rows are now those of the run"
    assert drawn(tmp_path, 2, 3, 4) == {f"s{n}" for n in numbers}


def test_a_run_does_not_need_its_files_again(stopped: str, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").unlink()
    assert main(["train", stopped, "--resume"]) == 0
    assert drawn(tmp_path, 3, 4) == {f"s{n}" for n in range(8)}


def test_a_run_without_a_checkpoint_starts_with_the_rows_of_today(stopped: str, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "runs" / "x" / "checkpoints")
    write(tmp_path, range(10, 18))
    assert main(["train", stopped, "--resume"]) == 0
    assert drawn(tmp_path, 1, 2, 3, 4) == {f"s{n}" for n in range(10, 18)}


# --- media ------------------------------------------------------------------------------------------------


@pytest.fixture
def with_pictures(tmp_path: Path) -> str:
    """The file of a run of four steps with a picture in every row, stopped after the first."""
    rows = []
    for n in range(8):
        Image.new("RGB", (56, 56), (n * 9, 0, 0)).save(tmp_path / f"{n}.png")
        asked = [{"role": "user", "content": f"<image>what is {n} + 1?"}]
        rows.append(row(n) | {"messages": asked, "media": {"images": [f"{n}.png"]}})
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    sections = {"data": {"train": [str(tmp_path / "train.jsonl")]}, "run": {"steps": 4}, "rollout": {"group": 2}}
    path = str(write_replay_run(tmp_path, {f"s{n}": [str(n + 1), "0"] for n in range(8)}, **sections))
    assert main(["train", path, *ONE_STEP]) == 0
    return path


def test_changed_pictures_stop_a_resume_in_one_line(with_pictures: str, tmp_path: Path, capsys) -> None:
    old = (tmp_path / "3.png").read_bytes()
    for n in (3, 5):
        Image.new("RGB", (56, 56), "blue").save(tmp_path / f"{n}.png")
    assert main(["train", with_pictures, "--resume"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vlmrl: ")]
    says = "2 images, videos or audio clips have changed since the run started, the first is "
    assert f"{says}{tmp_path}/3.png; put the earlier files back, or go on with" in line
    assert line.endswith("(--resume --changed-data keep)")
    assert main(["train", with_pictures, "--resume", "--changed-data", "keep", *ONE_STEP]) == 0
    assert main(["train", with_pictures, "--resume", *ONE_STEP]) == 0, "they are now those of the run"
    (tmp_path / "3.png").write_bytes(old)
    assert main(["train", with_pictures, "--resume"]) == 2


def test_pictures_that_are_as_they_were_or_gone_for_a_while_do_not_count_as_changed(
    with_pictures: str, tmp_path: Path
) -> None:
    old = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(old)  # another time of change
    (tmp_path / "3.png").rename(tmp_path / "away.png")
    flags = ["--data.on_unreadable", "skip"]
    assert main(["train", with_pictures, "--resume", *flags, *ONE_STEP]) == 0
    (tmp_path / "away.png").rename(tmp_path / "3.png")
    assert main(["train", with_pictures, "--resume", *flags, *ONE_STEP]) == 0
    Image.new("RGB", (56, 56), "blue").save(tmp_path / "3.png")
    assert main(["train", with_pictures, "--resume", *flags]) == 2


@pytest.mark.parametrize("place", [0, 4095, 9000, 12_999])
def test_a_change_of_the_first_or_the_last_block_is_seen(tmp_path: Path, place: int) -> None:
    path, data = tmp_path / "x", bytearray(13_000)
    path.write_bytes(data)
    before = _media_hash(str(path))
    data[place] = 1
    path.write_bytes(data)
    assert _media_hash(str(path)) != before
    assert _media_hash(str(tmp_path / "gone")) == 0


def test_a_changed_picture_that_no_model_takes_is_found_before_the_next_step(
    with_pictures: str, tmp_path: Path, capsys
) -> None:
    Image.new("RGB", (6000, 20)).save(tmp_path / "7.png")
    assert main(["train", with_pictures, "--resume", "--changed-data", "keep"]) == 2
    assert "sample 's7': media.images.0: " in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "runs" / "x" / "rollouts" / "step_000002.parquet").exists()
