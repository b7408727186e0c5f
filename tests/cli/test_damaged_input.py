"""Damaged files and odd settings: whatever a user gives, a command ends with 0, or with 2 and one line.

    VLMRL_TEST_DAMAGED=300 pytest tests/cli/test_damaged_input.py     so many files, and a third as many settings

What is damaged, and how, depends on the seed alone (VLMRL_TEST_SEED).
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import write_video
from helpers.command import Done, run
from helpers.replay_run import write_replay_run
from PIL import Image

from vlmrl.config.listing import settings
from vlmrl.data.media import encode_png
from vlmrl.data.sample_files import read_samples, write_samples
from vlmrl.errors import MOST_CHARACTERS

DAMAGED = int(os.environ.get("VLMRL_TEST_DAMAGED", "27"))
SEED = int(os.environ.get("VLMRL_TEST_SEED", "0"))
MOST_ERRORS = 21
"""Lines of `vlmrl data check`, which names one bad row in each."""


def complaint_of(command: Callable[[], Done], several: bool = False) -> str:
    """Empty if the command succeeded or refused its input in one line without control characters, or in `several`."""
    try:
        done = command()
    except Exception as error:
        return "".join(traceback.format_exception(error)[-3:])
    lines = done.err.splitlines()
    refusals = sum(line.startswith("vlmrl: ") for line in lines)
    expected = range(1, MOST_ERRORS + 1 if several else 2) if done.code == 2 else range(1)
    if done.code not in (0, 2) or refusals not in expected or (done.code == 2 and len(lines) != refusals):
        return f"{done}"
    return "" if all(len(line) <= MOST_CHARACTERS + 20 and line.isprintable() for line in lines) else f"{done.err!r}"


# --- files ------------------------------------------------------------------------------------------------


def rows(folder: Path) -> list[dict[str, Any]]:
    def row(name: str, text: str, target: Any, verifier: str = "counting", **more: Any) -> dict[str, Any]:
        reward = [{"verifier": verifier, "target": target, "weight": 1.0, "params": more.pop("params", {})}]
        asked = [{"role": "user", "content": text}]
        return {"id": name, "source": "s", "task": "t", "messages": asked, "reward": reward} | more

    box = [{"bbox_2d": [1, 2, 20, 20]}]
    return [
        row("a", "<image>how many?", 3, media={"images": ["p.png"]}, params={"tolerance": 0.0}),
        row("b", "<image>where?", box, "dynamic_iou", media={"images": ["p.png"]}, params={"coords": "pixels"}),
        row("c", "<video>when?", [1, 2], "temporal_iou", media={"videos": ["v.mp4"]}),
        row("d", "1 + 2?", "3", "math", meta={"n": [1, None]}),
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One good file of each kind that a user gives."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "p.png").write_bytes(encode_png(Image.effect_noise((40, 30), 50).convert("RGB")))
    write_video(folder / "v.mp4")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(folder)))
    write_samples(folder / "rows.parquet", read_samples(folder / "rows.jsonl"))
    foreign = [{"problem": f"{n} + 1?", "answer": str(n + 1), "images": []} for n in range(3)]
    (folder / "foreign.json").write_text(json.dumps(foreign))
    table = io.StringIO()
    writer = csv.DictWriter(table, ["index", "question", "A", "B", "answer"])
    writer.writeheader()
    writer.writerows({"index": n, "question": f"which, {n}?", "A": "x", "B": "y", "answer": "A"} for n in range(3))
    (folder / "foreign.csv").write_text(table.getvalue())
    (folder / "foreign.tsv").write_text(table.getvalue().replace(",", "\t"))
    (folder / "map.toml").write_text('from = "auto"\n[map]\nproblem = "problem"\nanswer = "answer"\n')
    answers = [{"id": n, "verifier": "counting", "response": "3", "target": 3} for n in range(3)]
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answers))
    (folder / "mine.py").write_text(
        "def polite(response, target, *, least=1):\n    return float(len(response) > least)\n"
    )
    text_rows = [row for row in rows(folder) if "media" not in row]
    (folder / "text.jsonl").write_text("".join(json.dumps(row) + "\n" for row in text_rows))
    write_replay_run(folder, {"d": ["3", "4"]}, run={"steps": 1}, data={"train": [str(folder / "text.jsonl")]})
    write_finished_run(folder / "finished")
    return folder


def write_finished_run(folder: Path) -> None:
    (folder / "heldout").mkdir(parents=True)
    figures = {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 8}
    both = {"before": figures, "after": figures}
    seconds = {"rollout": 1.0, "reward": 1.0, "update": 1.0, "sync": 1.0, "eval": 1.0}
    summary = {"sources": {"s": both}, "all": both, "steps": 2, "seconds": seconds, "agreement": {}}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "config.toml").write_text('[run]\nname = "x"\nsteps = 2\n')
    steps = [{"step": n, "all/reward": 0.5, "source/s/reward": 0.5, "seconds/source/s": 1.0} for n in (1, 2)]
    held = {f"heldout/s/sampled/{name}": value for name, value in figures.items()}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row | held) + "\n" for row in steps))
    reward = [{"verifier": "dynamic_iou", "target": [[1, 2, 20, 20]], "params": {"image_size": [40, 30]}}]
    picture = encode_png(Image.new("RGB", (40, 30)))
    row = {
        "key": "k",
        "id": "a",
        "source": "s",
        "mode": "sampled",
        "prompt": "<image>where?",
        "response": "[1, 2, 9, 9]",
    }
    row |= {"reward": json.dumps(reward), "score": 0.5, "image": picture, "status": "ok", "why": "", "answer": "x"}
    pq.write_table(pa.Table.from_pylist([row]), folder / "heldout" / "step_000002.parquet")


COMMANDS: dict[str, list[str]] = {
    "rows.jsonl": ["data check rows.jsonl", "data show rows.jsonl"],
    "rows.parquet": ["data check rows.parquet", "data show rows.parquet"],
    "p.png": ["data check rows.jsonl", "data show rows.jsonl"],
    "v.mp4": ["data check rows.jsonl"],
    "foreign.json": ["data convert foreign.json --verifier exact --out out.jsonl"],
    "foreign.csv": ["data convert foreign.csv --out out.jsonl"],
    "foreign.tsv": ["data convert foreign.tsv --out out.jsonl"],
    "map.toml": ["data convert foreign.json --map-file map.toml --verifier exact --out out.jsonl"],
    "answers.jsonl": ["score answers.jsonl --workers 1 --out out.jsonl"],
    "mine.py": ["data check text.jsonl --verifiers-path mine.py:polite"],
    "text.jsonl": ["data check text.jsonl", "train run.toml --dry-run"],
    "canned.jsonl": ["train run.toml --dry-run"],
    "run.toml": ["train run.toml --dry-run"],
    **{
        f"finished/{name}": ["report finished"]
        for name in ("summary.json", "config.toml", "metrics.jsonl", "heldout/step_000002.parquet")
    },
}
"""Each kind of file, and the commands that read it."""


def damaged(data: bytes, how: str, dice: random.Random) -> bytes:
    place = dice.randrange(len(data))
    if how == "cut off":
        return data[:place]
    if how == "a bit flipped":
        return data[:place] + bytes([data[place] ^ 1 << dice.randrange(8)]) + data[place + 1 :]
    if how == "noise":
        return data[:place] + dice.randbytes(dice.randint(1, 40)) + data[place:]
    if how == "a piece twice":
        return data[:place] + data[place // 2 :]
    if how == "an odd value":
        values = (
            b"null",
            b"-1",
            b"1e999",
            b"[]",
            b'"\\ud800"',
            b"NaN",
            b"9" * 5000,
            b"{}",
            b'"\\u001b[2J\\n"',
            b"true",
        )
        starts = [n for n, byte in enumerate(data) if byte in b":,=[" and n + 1 < len(data)] or [place]
        start = dice.choice(starts) + 1
        ends = [n for n in range(start + 1, len(data)) if data[n] in b",]}\n"] or [start]
        return data[:start] + dice.choice(values) + data[ends[0] :]
    others = (
        b"",
        b"<svg/>",
        b"[[[",
        b"5\n",
        b"\xff\xfe\0",
        b"PAR1",
        b"\0" * 100,
        b"{}\n",
        encode_png(Image.new("L", (1, 1))),
    )
    return dice.choice(others)


WAYS = ("cut off", "a bit flipped", "noise", "a piece twice", "an odd value", "another content")


def files() -> Iterator[tuple[int, str, str]]:
    """Number, file and kind of damage: every file in turn, and every kind of damage."""
    dice = random.Random(SEED)
    for number in range(DAMAGED):
        yield number, list(COMMANDS)[number % len(COMMANDS)], dice.choice(WAYS)


def test_the_commands_succeed_on_whole_files(whole: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("vlmrl.catalog._ADDED", {})
    shutil.copytree(whole, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    for command in sorted({command for commands in COMMANDS.values() for command in commands}):
        assert run(capsys, *command.split()).code == 0, command


def test_a_damaged_file_is_one_line(whole: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    wrong: list[str] = []
    for number, name, how in files():
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        monkeypatch.chdir(folder)
        data = (folder / name).read_bytes()
        monkeypatch.setattr("vlmrl.catalog._ADDED", {})
        (folder / name).write_bytes(damaged(data, how, random.Random(f"{SEED} {number}")))
        for command in COMMANDS[name]:
            complaint = complaint_of(partial(run, capsys, *command.split()), several="data check" in command)
            wrong += [f"{number} {name}, {how}, {command}: {complaint}"] if complaint else []
        shutil.rmtree(folder)
    assert not wrong, "\n".join(wrong)


# --- settings ---------------------------------------------------------------------------------------------

ODD = (
    *("inf", "nan", "-1", "0", "1e-300", "1e300", "9" * 30, "-9" * 20, "true", '""', "[]", "{}", "[[1, 2], [3]]"),
    *(
        r'"a\u0000b"',
        '"x\\ny\\u001b[2J"',
        "[1e999]",
        "{a = inf}",
        '["nosuch"]',
        "nosuch",
        "2.5",
        "1979-05-27",
        "é" * 600,
    ),
)


def test_an_odd_setting_is_one_line(whole: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(whole)
    dice = random.Random(SEED)
    names = [row.name for row in settings()]
    dice.shuffle(names)
    wrong: list[str] = []
    for name in (names * 9)[: max(9, DAMAGED // 3)]:
        value = dice.choice(ODD)
        complaint = complaint_of(partial(run, capsys, "train", "run.toml", "--dry-run", f"--{name}={value}"))
        wrong += [f"--{name} {value}: {complaint}"] if complaint else []
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "arguments",
    [
        "list nosuch", "settings nosuch", "settings a\x1b[2J", "check nosuch", "check nosuch.py", "check .", "doctor x",
        "bench nosuch", "bench verifiers --nosuch", "report nosuch", "report /dev/zero", "score /dev/zero", "score .",
        "data check /dev/zero", "data show .", "data convert /dev/zero --out x.jsonl", "train /dev/zero", "train .",
        "data build nosuch --out x.jsonl", "data build synthetic --n 0 --out x.jsonl", "score nosuch --deadline inf",
    ],
)  # fmt: skip
def test_an_odd_argument_is_one_line(tmp_path: Path, monkeypatch, capsys, arguments: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert not complaint_of(partial(run, capsys, *arguments.split()))
    assert run(capsys, *arguments.split()).code == 2
    assert not any(tmp_path.iterdir())
