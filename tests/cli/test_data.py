"""`vlmrl data`: build, check and show. tests/data has what check finds in a row."""

import json

import pytest
from helpers.command import complains, run
from PIL import Image

from vlmrl.cli import main
from vlmrl.data.media import encode_png
from vlmrl.data.sample_files import read_samples
from vlmrl.errors import MOST_CHARACTERS


def row(number: int, **change) -> dict:
    base = {
        "id": f"row-{number}",
        "source": "shapes",
        "task": "count",
        "messages": [{"role": "user", "content": f"<image>how many, in drawing {number}?"}],
        "media": {"images": ["a.png"]},
        "reward": [{"verifier": "counting", "target": 3}],
    }
    return base | change


def write(folder, *rows: dict) -> str:
    (folder / "a.png").write_bytes(encode_png(Image.new("RGB", (40, 30), "red")))
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def test_check_prints_counts(tmp_path, capsys) -> None:
    file = write(tmp_path, row(0), row(1), row(2, source="sums"))
    assert main(["data", "check", file]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "3 good rows",
        "source    shapes 2, sums 1",
        "task      count 3",
        "verifier  counting 3",
        "modality  1 image 3",
    ]


def test_check_names_a_bad_row_and_counts_the_good_ones(tmp_path, capsys) -> None:
    done = run(capsys, "data", "check", write(tmp_path, row(0), row(1, taks="x"), row(2)))
    complains(done, "rows.jsonl:2: taks: unknown field; did you mean 'task'?")
    assert done.out.startswith("2 good rows")


def test_check_stops_after_twenty_errors(tmp_path, capsys) -> None:
    file = write(tmp_path, *(row(n, taks="x") for n in range(30)))
    assert main(["data", "check", file]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 21
    assert lines[-1].endswith("stopped after 20 errors")


def test_check_of_nothing_is_an_error(tmp_path, capsys) -> None:
    assert main(["data", "check", write(tmp_path)]) == 2
    assert "holds no rows" in capsys.readouterr().err
    assert main(["data", "check", str(tmp_path / "none.jsonl")]) == 2
    assert "no such file" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("difficulty", [1, 3])
def test_what_build_writes_passes_check(tmp_path, capsys, kind, difficulty) -> None:
    file = str(tmp_path / f"rows.{kind}")
    arguments = ["data", "build", "synthetic", "--n", "15", "--split", "heldout", "--seed", "5", "--out", file]
    assert main([*arguments, "--difficulty", str(difficulty)]) == 0
    assert main(["data", "check", file]) == 0
    assert "75 good rows" in capsys.readouterr().out


def test_build_is_repeatable_and_picks_sources(tmp_path) -> None:
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for file in files:
        arguments = ["data", "build", "synthetic", "--n", "3", "--sources", "ocr,math", "--out", str(file)]
        assert main(arguments) == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    assert {sample.source for sample in read_samples(files[0])} == {"ocr", "math"}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["synthetic", "--out", "x.jsonl", "--sources", "orc"], "no source 'orc'; did you mean 'ocr'?"),
        (["syntetic", "--out", "x.jsonl"], "unknown recipe 'syntetic'; did you mean 'synthetic'?"),
        (["synthetic", "--out", "x.txt"], "unknown kind of file '.txt'"),
        (["synthetic", "--out", "x.jsonl", "--n", "0"], "--n: expected a positive whole number, got '0'"),
        (["synthetic"], "--out"),
    ],
)
def test_build_refuses(tmp_path, monkeypatch, capsys, arguments, complaint) -> None:
    monkeypatch.chdir(tmp_path)
    complains(run(capsys, "data", "build", *arguments), complaint)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [["check"], ["show"], ["convert", "--from", "trl", "--out", "out.jsonl"]], ids=lambda words: words[0]
)
def test_a_file_without_rows_is_refused(tmp_path, monkeypatch, capsys, arguments) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").touch()
    complains(run(capsys, "data", arguments[0], "rows.jsonl", *arguments[1:]), "rows.jsonl: holds no rows")
    assert not (tmp_path / "out.jsonl").exists()


def test_grades_are_parquet(capsys) -> None:
    complains(run(capsys, "data", "grade", "quickstart", "--out", "g.csv"), "--out g.csv", "end in .parquet")


def test_show_prints_rows_as_they_are(tmp_path, capsys) -> None:
    tricky = [{"role": "user", "content": "<image>is [bold]this[/bold] shown? [/]"}]
    file = write(tmp_path, row(0), row(1, source="other", messages=tricky), row(2))
    assert main(["data", "show", file, "--source", "other"]) == 0
    out = capsys.readouterr().out
    assert "[bold]this[/bold] shown? [/]" in out
    assert "40 x 30 pixels" in out
    assert "row-0" not in out
    assert main(["data", "show", file, "--source", "othr"]) == 2
    assert "did you mean 'other'?" in capsys.readouterr().err


FORGED = "x\nvlmrl: all is well\x1b[2J\u202e"
"""A name that would forge a line, clear the screen and reverse the rest of its line."""


@pytest.mark.parametrize(
    "change",
    [
        {"id": FORGED, "reward": [{"verifier": "counting", "target": "many"}]},
        {"media": {"images": [f"{FORGED}.png"]}},
        {FORGED: 1},
        {"reward": [{"verifier": FORGED, "target": 3}]},
        {"reward": [{"verifier": "counting", "target": FORGED}]},
        {"reward": [{"verifier": "counting", "target": 3, "params": {FORGED: 3}}]},
    ],
    ids=["id", "path", "field", "verifier", "target", "parameter"],
)
def test_a_message_is_one_line_without_control_characters(tmp_path, capsys, change) -> None:
    done = run(capsys, "data", "check", write(tmp_path, row(0, **change)))
    complains(done, r"rows.jsonl:1: ")
    assert not any(character in done.err[:-1] for character in FORGED if not character.isprintable())


def test_a_message_has_a_bounded_length(tmp_path, capsys) -> None:
    done = run(capsys, "data", "check", write(tmp_path, row(0, media={"images": ["x/" * 2000 + "a.png"]})))
    complains(done, "rows.jsonl:1: media.images.0: ", " ... ", "; fix the path or drop the row")
    assert len(done.err) < MOST_CHARACTERS + 20


@pytest.mark.parametrize("action", ["check", "show"])
def test_what_is_printed_of_a_row_has_no_control_characters(tmp_path, capsys, action) -> None:
    asked = [{"role": "user", "content": f"<image>how many?\n{FORGED}"}]
    file = write(tmp_path, row(0, id=FORGED, source=FORGED, task=FORGED, messages=asked))
    done = run(capsys, "data", action, file)
    assert (done.code, done.err) == (0, "")
    assert r"x\nvlmrl: all is well\x1b[2J\u202e" in done.out
    assert not any(character in done.out for character in "\x1b\u202e")
