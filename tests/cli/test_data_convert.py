"""vlmrl data convert: its flags, its file of settings, what it prints, and refusals in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.command import complains, run
from helpers.foreign_files import BOX, png

from vlmrl import catalog
from vlmrl.cli import data_convert
from vlmrl.data.foreign.schemas import SCHEMAS
from vlmrl.data.sample_files import read_samples

ROW = {"query": "<img>Which box is larger?", "label": "b", "alternatives": ["left", "right"], "photo": "a.png", "nr": 7}


@pytest.fixture
def quiz(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(png(1))
    (tmp_path / "quiz.jsonl").write_text(json.dumps(ROW | {"depth": "d.png"}) + "\n")
    return tmp_path


FLAGS = [
    *("--map=problem=query", "--map=answer=label", "--map=images=photo", "--map=id=nr"),
    *("--params=choices=alternatives", "--params=multiple=false"),
    *("--replace=<img>=<image>", "--drop=depth", "--source=boxes", "--verifier=choice"),
]
SETTINGS = """
source = "boxes"
verifier = "choice"
drop = ["depth"]
[map]
problem = "query"
answer = "label"
images = "photo"
id = "nr"
[params]
choices = "alternatives"
multiple = false
[replace]
"<img>" = "<image>"
"""


def test_flags_and_a_file_of_settings_say_the_same(quiz, capsys) -> None:
    root = f"--image-root={quiz / 'pictures'}"
    by_flags = run(capsys, "data", "convert", quiz / "quiz.jsonl", "--out", quiz / "a.jsonl", root, *FLAGS)
    assert by_flags.out == f"{quiz}/a.jsonl: 1 samples\nschema    mapped 1\nverifier  choice 1\nmodality  1 image 1\n"
    (quiz / "quiz.toml").write_text(SETTINGS)
    file = ("--map-file", quiz / "quiz.toml", root)
    assert run(capsys, "data", "convert", quiz / "quiz.jsonl", "--out", quiz / "b.jsonl", *file).code == 0
    assert (quiz / "a.jsonl").read_text() == (quiz / "b.jsonl").read_text()
    (sample,) = read_samples(quiz / "a.jsonl")
    assert (sample.id, sample.source) == ("7", "boxes")
    assert sample.messages[0].content == "<image>Which box is larger?\nA. left\nB. right"
    assert (sample.reward[0].target, sample.reward[0].params) == (
        "b",
        {"multiple": False, "choices": ["left", "right"]},
    )
    assert run(capsys, "data", "check", quiz / "a.jsonl").code == 0


def test_the_help_names_every_schema() -> None:
    assert data_convert.SCHEMAS.split(", ") == list(SCHEMAS)


def test_a_flag_goes_before_the_file(quiz, capsys) -> None:
    (quiz / "quiz.toml").write_text(SETTINGS)
    given = ("--map-file", quiz / "quiz.toml", "--source", "other", "--map", "id=label")
    assert run(capsys, "data", "convert", quiz / "quiz.jsonl", "--out", quiz / "b.jsonl", *given).code == 0
    (sample,) = read_samples(quiz / "b.jsonl")
    assert (sample.id, sample.source) == ("b", "other")


def test_a_default_of_pixels_is_said(tmp_path, capsys) -> None:
    (tmp_path / "a.png").write_bytes(png(1))
    (tmp_path / "x.jsonl").write_text(json.dumps({"problem": "Locate it.", "answer": [BOX], "images": ["a.png"]}))
    command = ("data", "convert", tmp_path / "x.jsonl", "--out", tmp_path / "o.jsonl")
    assert "pixels are those of the image file; --coords" in run(capsys, *command).out
    assert "pixels are those" not in run(capsys, *command, "--coords", "pixels").out


def test_own_verifiers_are_known(tmp_path, capsys) -> None:
    (tmp_path / "mine.py").write_text("def polite(response, target, shade=''):\n    return 'please' in response\n")
    (tmp_path / "x.jsonl").write_text('{"problem": "Ask.", "answer": "please", "tone": "dark"}\n')
    said = ("--verifiers-path", f"{tmp_path}/mine.py:polite", "--verifier", "polite", "--params", "shade=tone")
    assert run(capsys, "data", "convert", tmp_path / "x.jsonl", "--out", tmp_path / "o.jsonl", *said).code == 0
    (sample,) = read_samples(tmp_path / "o.jsonl")
    del catalog._ADDED["polite"]
    assert (sample.reward[0].verifier, sample.reward[0].params) == ("polite", {"shade": "dark"})


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--from", "easyr2"], "--from 'easyr2': unknown schema; did you mean 'easyr1'?"),
        (["--map", "question=query"], "--map question: unknown field"),
        (["--map", "problem"], "--map 'problem': expected FIELD=COLUMN"),
        (["--map", "problem=querry"], "--map problem=querry: no column 'querry'; did you mean 'query'?"),
        (["--map=problem=query", "--map=answer=label", "--params", "tolerance=tol"], "tolerance=tol: no column 'tol'"),
        (["--coords", "xyhw"], "--coords 'xyhw': unknown; did you mean 'xywh'?"),
        (["--verifier", "maths", "--map", "problem=query", "--map", "answer=label"], "unknown verifier 'maths'"),
        (["--map-file", "no.toml"], "no.toml: cannot be read (No such file or directory)"),
    ],
)
def test_what_is_wrong_is_one_line(quiz, capsys, flags, complaint) -> None:
    done = run(capsys, "data", "convert", quiz / "quiz.jsonl", "--out", quiz / "o.jsonl", "--drop=depth", *flags)
    complains(done, complaint)
    assert not (quiz / "o.jsonl").exists()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("map = 3", "map: expected a table, got 3"),
        ("[map]\nproblem = 3", "map.problem: expected text, got 3"),
        ("verfier = 'math'", "verfier: unknown setting; did you mean 'verifier'?"),
        ("drop = 'a'", "drop: expected a list of columns, got 'a'"),
        ("map", "not valid TOML"),
    ],
)
def test_a_file_of_settings_that_is_wrong_is_named(quiz, capsys, text, complaint) -> None:
    (quiz / "quiz.toml").write_text(text)
    given = ("--map-file", quiz / "quiz.toml")
    done = run(capsys, "data", "convert", quiz / "quiz.jsonl", "--out", quiz / "o.jsonl", *given)
    complains(done, f"{quiz}/quiz.toml: {complaint}")
