"""Check: every wrong row is named with its field; good rows are counted."""

import json
import struct
import zlib

import pytest
from PIL import Image

from vlmrl.data.check import Checker
from vlmrl.data.media import encode_png

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
    "image of a gigapixel": (
        {"media": {"images": ["vast.png"]}},
        ["media.images.0", "vast.png", "more than 89,478,485 pixels"],
    ),
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
def test_a_bad_row_is_named_in_one_line(tmp_path, name) -> None:
    change, complaints = BAD_ROWS[name]
    file = write(tmp_path, row(0), row(1, **change), row(2))
    (error,) = map(str, Checker().errors(file))
    assert "\n" not in error
    assert error.startswith(f"{file}:2: ")
    for complaint in complaints:
        assert complaint in error


def test_good_rows_are_counted(tmp_path) -> None:
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
    checker = Checker()
    assert list(checker.errors(file)) == []
    assert checker.counts == {
        "source": {"shapes": 4, "sums": 1},
        "task": {"count": 4, "-": 1},
        "verifier": {"counting": 4, "dynamic_iou": 1, "format": 1},
        "coords": {"pixels (not stated)": 1},
        "modality": {"1 image": 3, "2 images": 1, "text": 1},
    }


def test_a_file_that_breaks_off_is_one_more_error(tmp_path) -> None:
    file = write(tmp_path, row(0), row(1, taks="x"))
    with open(file, "a") as handle:
        handle.write("{half")
    first, second = map(str, Checker().errors(file))
    assert "rows.jsonl:2: taks" in first
    assert "rows.jsonl:3: not valid JSON" in second
