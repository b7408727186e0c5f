"""`vlmrl data`: build, check and show, through the real command."""

import json
import struct
import zlib

import pytest
from PIL import Image

from vlmrl.cli import main
from vlmrl.data.media import encode_png
from vlmrl.data.sample_files import read_samples

PNG = encode_png(Image.new("RGB", (40, 30), "red"))
NOISE = encode_png(Image.effect_noise((200, 200), 80.0).convert("RGB"))


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


def boxes(*values: float, **params) -> list[dict]:
    return [{"verifier": "dynamic_iou", "target": [list(values)], "params": {"image_size": [40, 30]} | params}]


def write(folder, *rows: dict) -> str:
    (folder / "a.png").write_bytes(PNG)
    (folder / "broken.png").write_bytes(NOISE[: len(NOISE) // 2])
    (folder / "text.png").write_text("no image")
    size = struct.pack(">II", 40_000, 30_000)
    vast = PNG[:12] + b"IHDR" + size + PNG[24:29]
    (folder / "vast.png").write_bytes(vast + struct.pack(">I", zlib.crc32(vast[12:])) + PNG[33:])
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


BAD_ROWS = {
    "missing image": ({"media": {"images": ["gone.png"]}}, ["media.images.0", "gone.png", "no such file"]),
    "truncated image": (
        {"media": {"images": ["broken.png"]}},
        ["media.images.0", "broken.png", "not a readable image"],
    ),
    "not an image": ({"media": {"images": ["text.png"]}}, ["media.images.0", "text.png", "not a readable image"]),
    "image of a gigapixel": ({"media": {"images": ["vast.png"]}}, ["media.images.0", "vast.png", "exceeds limit"]),
    "no target": ({"reward": [{"verifier": "counting"}]}, ["reward.0: target is missing"]),
    "box outside": ({"reward": boxes(10, 10, 41, 20)}, ["reward.0", "41", "outside the image", "40 x 30"]),
    "box reversed": ({"reward": boxes(20, 10, 10, 20)}, ["reward.0", "20"]),
    "unknown verifier": (
        {"reward": [{"verifier": "dynamic_io", "target": []}]},
        ["reward.0: unknown verifier 'dynamic_io'; did you mean 'dynamic_iou'?"],
    ),
    "unknown parameter": (
        {"reward": [{"verifier": "counting", "target": 3, "params": {"tolerence": 1}}]},
        ["reward.0: params.tolerence: unknown parameter of counting; did you mean 'tolerance'?"],
    ),
    "unknown key": ({"taks": "x"}, ["taks: unknown field; did you mean 'task'?"]),
    "target of no use": ({"reward": [{"verifier": "counting", "target": "many"}]}, ["reward.0", "'many'"]),
    "wrong demonstration": (
        {"messages": [*row(0)["messages"], {"role": "assistant", "content": "5"}]},
        ["the demonstration '5' scores 0, not 1"],
    ),
    "duplicate id": ({"id": "row-0"}, ["id: 'row-0'", "rows.jsonl:1"]),
    "duplicate content": (
        {"messages": row(0)["messages"]},
        ["same prompt, media and reward as", "rows.jsonl:1"],
    ),
    "marks and media differ": ({"media": {}}, ["1 <image> in the text but 0 in media.images"]),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_check_names_a_bad_row_in_one_line(tmp_path, capsys, name) -> None:
    change, complaints = BAD_ROWS[name]
    file = write(tmp_path, row(0), row(1, **change), row(2))
    assert main(["data", "check", file]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"vlmrl: {file}:2: ")
    for complaint in complaints:
        assert complaint in error


def test_check_counts_good_rows(tmp_path, capsys) -> None:
    two = {
        "media": {"images": ["a.png", "a.png"]},
        "messages": [{"role": "user", "content": "<image><image>?"}],
    }
    text = {"media": {}, "messages": [{"role": "user", "content": "2+1?"}], "source": "sums", "task": ""}
    layout = {"verifier": "format", "target": "think_answer", "weight": 0.1}
    composite = {"reward": [row(0)["reward"][0], layout]}
    file = write(
        tmp_path,
        row(0),
        row(1, **two),
        row(2, **text),
        row(3, reward=boxes(1, 2, 30, 20)),
        row(4, **composite),
    )
    assert main(["data", "check", file]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "5 good rows"
    assert [line.split() for line in lines[1:]] == [
        ["source", "shapes", "4,", "sums", "1"],
        ["task", "count", "4,", "-", "1"],
        ["verifier", "counting", "4,", "dynamic_iou", "1,", "format", "1"],
        ["modality", "1", "image", "3,", "2", "images", "1,", "text", "1"],
    ]


def test_check_stops_after_twenty_errors(tmp_path, capsys) -> None:
    file = write(tmp_path, *(row(n, taks="x") for n in range(30)))
    assert main(["data", "check", file]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 21
    assert lines[-1].endswith("stopped after 20 errors")


def test_check_reports_rows_before_a_broken_line(tmp_path, capsys) -> None:
    file = write(tmp_path, row(0), row(1, taks="x"))
    with open(file, "a") as handle:
        handle.write("{half")
    assert main(["data", "check", file]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "rows.jsonl:2: taks" in first
    assert "rows.jsonl:3: not valid JSON" in second


def test_check_of_nothing_is_an_error(tmp_path, capsys) -> None:
    assert main(["data", "check", write(tmp_path)]) == 2
    assert "holds no rows" in capsys.readouterr().err
    assert main(["data", "check", str(tmp_path / "none.jsonl")]) == 2
    assert "no such file" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("difficulty", [1, 3])
def test_what_build_writes_passes_check(tmp_path, capsys, kind, difficulty) -> None:
    file = str(tmp_path / f"rows.{kind}")
    arguments = [
        "data",
        "build",
        "synthetic",
        "--n",
        "15",
        "--split",
        "heldout",
        "--seed",
        "5",
        "--out",
        file,
    ]
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
    try:
        code = main(["data", "build", *arguments])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


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
