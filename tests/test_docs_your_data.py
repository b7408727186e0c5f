"""docs/your_data.md, followed to the letter: its rows, scripts and run files, then its commands, in their order."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import write_video

from vlmrl.cli import main

PAGE = (Path(__file__).parents[1] / "docs" / "your_data.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def blocks(kind: str) -> list[str]:
    return [text for name, text in BLOCKS if name == kind]


class Followed(NamedTuple):
    folder: Path
    printed: dict[str, str]
    """What each command of the page wrote on standard output."""


def rows() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows for train.jsonl, and those with a demonstration."""
    given = [json.loads(text) for text in blocks("json")]
    shown = [row for row in given if row["messages"][-1]["role"] == "assistant"]
    return [row for row in given if row not in shown], shown


def pictures(given: list[dict[str, Any]], table: str) -> set[str]:
    """The names of all media of the page."""
    named = {name for row in given for part in row.get("media", {}).values() for name in part}
    return named | set(re.findall(r"^\w+\.png", table, re.MULTILINE))


def draw(path: Path) -> None:
    """A picture or a clip of that name; no two are alike."""
    from PIL import Image, ImageDraw

    if path.suffix == ".mp4":
        return write_video(path, frames=24)
    image = Image.new("RGB", (336, 252), "white")
    pen = ImageDraw.Draw(image)
    pen.text((5, 5), path.stem, fill="black")
    for left in (40, 140, 240):
        pen.ellipse((left, 80, left + 60, 140), fill="red")
    image.save(path)


def write_lines(path: Path, given: list[dict[str, Any]]) -> None:
    with path.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in given)


@pytest.fixture(scope="module")
def followed(tmp_path_factory) -> Followed:
    """All that the page says, done in an empty folder."""
    folder = tmp_path_factory.mktemp("your_data")
    train_rows, shown = rows()
    run, sft = blocks("toml")
    files = {"labels.csv": blocks("csv")[0], "make_rows.py": blocks("python")[0], "run.toml": run, "sft.toml": sft}
    for name, text in (files | dict(zip(("rows.jsonl", "theirs.jsonl"), blocks("jsonl"), strict=True))).items():
        assert f"`{name}`" in PAGE
        (folder / name).write_text(text)
    printed: dict[str, str] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("OMP_NUM_THREADS", "1")
        for line in "".join(blocks("bash")).splitlines():
            printed[line] = follow(line, folder)
            if line == "python make_rows.py":
                for name in pictures([*train_rows, *shown], files["labels.csv"]):
                    draw(folder / "my_data" / name)
                write_lines(folder / "my_data" / "train.jsonl", train_rows)
                write_lines(folder / "my_data" / "demos.jsonl", shown)
    return Followed(folder, printed)


def follow(line: str, folder: Path) -> str:
    """Runs a command of the page, those of vlmrl in this process to save their imports; what it printed."""
    words = shlex.split(line)
    if words[0] != "vlmrl":
        words[0] = words[0].replace("python", sys.executable)
        return subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True).stdout
    with redirect_stdout(StringIO()) as out:
        assert main(words[1:]) == 0, line
    return out.getvalue()


def test_the_page_shows_every_kind_of_row() -> None:
    train_rows, shown = rows()
    media = [set(row.get("media", {})) for row in train_rows]
    assert len(shown) == 1
    assert {"images"} in media
    assert {"videos"} in media
    assert set() in media
    assert any(len(row["reward"]) > 1 for row in train_rows)


def test_every_field_of_a_row_is_in_the_tables() -> None:
    from vlmrl.sample import MediaSet, RewardSpec, Sample

    for model in (Sample, RewardSpec, MediaSet):
        assert [name for name in model.model_fields if f"`{name}`" not in PAGE] == []


def test_check_prints_what_the_page_says(followed) -> None:
    assert followed.printed["vlmrl data check my_data/train.jsonl"] == blocks("text")[0]
    assert "grounding-1" in followed.printed["vlmrl data show my_data/train.jsonl --n 1 --source grounding"]


def test_score_gives_what_the_page_says(followed) -> None:
    scored = [json.loads(line) for line in (followed.folder / "scored.jsonl").read_text().splitlines()]
    assert [row["score"] for row in scored] == [1.0, 0.0, None]


def test_train(followed) -> None:
    assert "fit to start" in followed.printed["vlmrl train run.toml --dry-run"]
    for name in ("mine", "cold_start", "after_sft"):
        run = followed.folder / "runs" / name
        assert (run / "report.html").is_file()
        steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert steps[1]["step"] == 1
        assert ("all/reward" in steps[1]) == (name != "cold_start")
        assert steps[1].get("all/unscored", 0.0) == 0.0


def test_the_converted_rows_are_good(followed) -> None:
    assert followed.printed["vlmrl data check my_data/theirs.jsonl"].startswith("1 good rows")


def test_the_page_names_every_schema_and_flag() -> None:
    from vlmrl.data.foreign.schemas import SCHEMAS
    from vlmrl.data.foreign.wanted import FIELDS

    section = PAGE[PAGE.index("## 9.") :]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(SCHEMAS)
    assert ", ".join(FIELDS) in section
