"""A sample whose medium cannot be read in the middle of a run: the run names it and stops, or goes on without it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from helpers.replay_run import write_replay_run
from PIL import Image

from vlmrl.cli import main

LONG = 40
"""Rows of text that are longer than those with a medium, so that the start of a run does not encode these."""


def damaged_picture() -> bytes:
    """A PNG whose header is whole and whose pixels are not."""
    buffer = io.BytesIO()
    Image.effect_noise((56, 56), 80).save(buffer, "PNG")
    return buffer.getvalue()[:1500]


def row(name: str, text: str, source: str = "sums", **media: list[str]) -> dict[str, Any]:
    return {
        "id": name,
        "source": source,
        "messages": [{"role": "user", "content": text}],
        "media": media,
        "reward": [{"verifier": "math", "target": "2"}],
    }


def rows() -> list[dict[str, Any]]:
    return [
        *(row(f"s{n}", f"what is 1 + 1? {'think ' * 30}") for n in range(LONG)),
        row("picture", "<image>?", "pictures", images=["damaged.png"]),
        row("clip", "<video>?", "clips", videos=["text.mp4"]),
    ]


def write(folder: Path, file: str, some: list[dict[str, Any]]) -> str:
    (folder / "damaged.png").write_bytes(damaged_picture())
    (folder / "text.mp4").write_text("not a video")
    (folder / file).write_text("".join(json.dumps(r) + "\n" for r in some))
    return str(folder / file)


@pytest.fixture
def run_file(tmp_path: Path) -> str:
    """A run that draws each of its 41 rows once; the only one that cannot be read has a picture."""
    train = write(tmp_path, "train.jsonl", rows()[:-1])
    answers = {r["id"]: ["2", "3"] for r in rows()}
    data = {"train": [train]}
    run = {"steps": 11, "checkpoint_every": 2}
    return str(write_replay_run(tmp_path, answers, run=run, data=data, rollout={"group": 2}))


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("vlmrl: ")][-1]


def metrics(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.startswith("seconds")} for line in lines]


def test_a_run_stops_with_both_ways_on_and_goes_on_without_the_sample(
    run_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", run_file]) == 2
    line = last_line(capsys)
    assert line.startswith(f"vlmrl: sample 'picture': media.images.0: {tmp_path}/damaged.png: not a readable image (")
    assert line.endswith(
        "; replace the file and go on with --resume --changed-data keep, or leave such samples out: --resume "
        "--data.on_unreadable skip"
    )
    assert main(["train", run_file, "--resume", "--data.on_unreadable", "skip"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert len(said) == 1
    assert said[0].startswith("[x] source 'pictures': left out")

    assert main(["train", run_file, "--run.name", "whole", "--data.on_unreadable", "skip"]) == 0
    stopped, whole = tmp_path / "runs" / "x", tmp_path / "runs" / "whole"
    assert metrics(stopped) == metrics(whole)
    assert (stopped / "unreadable.jsonl").read_bytes() == (whole / "unreadable.jsonl").read_bytes()
    (listed,) = [json.loads(line) for line in (whole / "unreadable.jsonl").open()]
    counted = [line["step"] for line in metrics(whole) if "source/pictures/unreadable" in line]
    assert counted == [listed["step"]]
    assert listed | {"step": 0, "why": ""} == {
        **{"step": 0, "split": "train", "id": "picture", "source": "pictures"},
        **{"file": f"{tmp_path}/damaged.png", "why": ""},
    }
    assert sum(line["all/groups"] for line in metrics(whole) if "all/groups" in line) == 43


def test_a_replaced_file_lets_the_run_go_on(run_file: str, tmp_path: Path) -> None:
    assert main(["train", run_file]) == 2
    Image.new("RGB", (56, 56)).save(tmp_path / "damaged.png")
    assert main(["train", run_file, "--resume", "--changed-data", "keep"]) == 0
    assert not (tmp_path / "runs" / "x" / "unreadable.jsonl").exists()


def test_held_out_samples_are_left_out_too(run_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heldout = write(tmp_path, "heldout.jsonl", [rows()[0], *rows()[-2:]])
    flags = ["--data.heldout", json.dumps([heldout]), "--run.steps", "1", "--run.name", "held"]
    assert main(["train", run_file, *flags]) == 2
    assert "sample 'picture': media.images.0: " in last_line(capsys)
    assert main(["train", run_file, *flags, "--data.on_unreadable", "skip"]) == 0
    listed = [json.loads(line) for line in (tmp_path / "runs" / "held" / "unreadable.jsonl").open()]
    named = [(r["step"], r["id"], r["why"]) for r in listed if r["split"] == "heldout" and r["id"] == "clip"]
    assert named == [(step, "clip", "not a readable video (it is text)") for step in (0, 1)]
    before = metrics(tmp_path / "runs" / "held")[0]
    assert before["heldout/all/greedy/n"] == 1
    assert [before[f"heldout/{source}/unreadable"] for source in ("all", "clips", "pictures")] == [2, 1, 1]
    assert "all/unreadable" not in before


def test_a_cold_start_goes_on_too(run_file: str, tmp_path: Path) -> None:
    shown = {"role": "assistant", "content": "2"}
    some = [r | {"messages": [*r["messages"], shown]} for r in rows()]
    train = write(tmp_path, "demos.jsonl", some)
    flags = ["--data.train", json.dumps([train]), "--sft.thought_dropout", "0", "--run.name", "cold"]
    assert main(["train", run_file, *flags, "--data.on_unreadable", "skip"]) == 0
    listed = [json.loads(line)["id"] for line in (tmp_path / "runs" / "cold" / "unreadable.jsonl").open()]
    assert {"picture", "clip"} == set(listed)


def test_a_run_of_nothing_that_can_be_read_ends(
    run_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = write(tmp_path, "none.jsonl", rows()[-2:])
    flags = ["--data.train", json.dumps([train]), "--run.name", "none", "--data.on_unreadable", "skip"]
    assert main(["train", run_file, *flags]) == 2
    assert "no sample of the last 100 batches can be read" in last_line(capsys)


def test_a_dry_run_names_what_would_be_left_out(run_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", run_file, "--dry-run"]) == 2
    assert "sample 'picture': media.images.0" in last_line(capsys)
    assert main(["train", run_file, "--dry-run", "--data.on_unreadable", "skip"]) == 0
    assert "warning: left out: sample 'picture': media.images.0" in capsys.readouterr().err


# --- files that are missing when a run starts ---------------------------------------------------------------


def test_rows_whose_file_is_missing_are_left_out_and_counted(
    run_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = [*rows()[:4], row("here", "<image>?", "pictures", images=["here.png"])]
    some += [row(f"gone{n}", "<image>?", "pictures", images=[f"gone{n}.png"]) for n in range(2)]
    train = write(tmp_path, "some.jsonl", some)
    Image.new("RGB", (56, 56)).save(tmp_path / "here.png")
    answers = {r["id"]: ["2", "3"] for r in some}
    (tmp_path / "canned.jsonl").write_text(
        "".join(json.dumps({"id": i, "responses": a}) + "\n" for i, a in answers.items())
    )
    flags = ["--data.train", json.dumps([train]), "--run.name", "some", "--run.steps", "3"]
    flags += ["--rollout.replay.path", str(tmp_path / "canned.jsonl")]
    assert main(["train", run_file, *flags]) == 2
    line = last_line(capsys)
    assert line.startswith(f"vlmrl: sample 'gone0': {tmp_path}/gone0.png: no such file or directory; ")
    assert line.endswith("or leave such rows out: --data.on_unreadable skip")
    assert main(["train", run_file, *flags, "--data.on_unreadable", "skip"]) == 0
    said = capsys.readouterr().err
    assert f"warning: source 'pictures': 2 of 3 rows lack a file and are left out: sample 'gone0': {tmp_path}" in said
    folder = tmp_path / "runs" / "some"
    listed = [json.loads(line)["id"] for line in (folder / "unreadable.jsonl").open()]
    assert set(listed) == {"gone0", "gone1"}
    assert sum(line.get("source/pictures/unreadable", 0) for line in metrics(folder)) == len(listed)


@pytest.mark.parametrize("kind", ["images", "videos"])
@pytest.mark.parametrize("split", ["train", "heldout"])
def test_a_source_of_which_all_files_are_missing_is_an_error(
    run_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], split: str, kind: str
) -> None:
    mark = {"images": "<image>?", "videos": "<video>?"}[kind]
    some = [rows()[0], *(row(f"gone{n}", mark, "pictures", **{kind: [f"gone{n}"]}) for n in range(3))]
    data = write(tmp_path, "gone.jsonl", some)
    flags = [f"--data.{split}", json.dumps([data]), "--run.name", "gone", "--data.on_unreadable", "skip"]
    assert main(["train", run_file, *flags]) == 2
    assert f"source 'pictures': none of its 3 rows has all its files: sample 'gone0': {tmp_path}/gone0: no such" in (
        last_line(capsys)
    )
