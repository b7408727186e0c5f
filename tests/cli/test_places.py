"""A box, however its row came: the right answer earns 1 and the wrong one 0, in every command, for every family.

One picture of 840 x 560 with a red box, which the model is shown much smaller. Each toolkit states the box its own way;
the answers are those of a family that writes pixels of what it is shown, and of one that writes per mille.
"""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.command import complains, run
from helpers.replay_run import write_replay_run
from helpers.service import serving
from PIL import Image, ImageDraw

from vlmrl.data.sample_files import read_samples
from vlmrl.files import read_rows
from vlmrl.rewards.calls import Call
from vlmrl.sample import row_from_sample
from vlmrl.serve.client import Remote
from vlmrl.verdict import Member

BOX = [84, 112, 336, 336]
RIGHT = {"qwen2_5_vl": "[28, 34, 112, 101]", "qwen3_vl": "[100, 200, 400, 600]"}
WRONG = "[84, 112, 336, 336]"
ASK = "<image>Where is the red box?"

ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "easyr1": ("easyr1", {"problem": ASK, "answer": json.dumps([BOX]), "images": ["p.png"]}),
    "trl": ("trl", {"prompt": [{"role": "user", "content": "Where?"}], "image": "p.png", "solution": json.dumps(BOX)}),
    "verl": (
        "verl",
        {
            "data_source": "boxes",
            "prompt": [{"role": "user", "content": ASK}],
            "images": ["p.png"],
            "reward_model": {"ground_truth": str([BOX])},
        },
    ),
    "v_triune": (
        "v_triune",
        {
            "data_source": "boxes",
            "prompt": [{"role": "user", "content": ASK}],
            "images": ["p.png"],
            "ability": "detection",
            "reward_model": {
                "ground_truth": "[{'bbox_2d': [100, 200, 400, 600], 'label': 'red box'}]",
                "verifier": "detection",
                "verifier_parm": {"det_verifier_normalized": True},
            },
        },
    ),
    "ms_swift": (
        "ms_swift",
        {
            "messages": [{"role": "user", "content": ASK}],
            "images": ["p.png"],
            "objects": {"ref": ["red box"], "bbox": [BOX]},
            "solution": json.dumps(BOX),
        },
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`rows.jsonl`: the five rows converted and a native one."""
    folder = tmp_path_factory.mktemp("places")
    picture = Image.new("RGB", (840, 560), "white")
    ImageDraw.Draw(picture).rectangle([84, 112, 335, 335], fill="red")
    picture.save(folder / "p.png")
    native = {"verifier": "dynamic_iou", "target": [BOX]}
    rows: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": ASK}], "media": {"images": ["p.png"]}, "reward": [native]}
    ]
    for name, (schema, row) in ROWS.items():
        (folder / f"{name}.json").write_text(json.dumps([row]))
        converted = folder / f"{name}.jsonl"
        arguments = ["data", "convert", folder / f"{name}.json", "--from", schema, "--verifier", "dynamic_iou"]
        assert main_code([*arguments, "--out", converted]) == 0
        rows += [row_from_sample(sample) for sample in read_samples(converted)]
    rows = [row | {"id": name, "source": name} for name, row in zip(["native", *ROWS], rows, strict=True)]
    for row in rows:
        row["media"] = {"images": ["p.png"]}
        row["messages"][-1]["content"] += f" ({row['id']})"  # the same question six times would be refused
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def main_code(arguments: list[Any]) -> int:
    from vlmrl.cli import main

    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module", params=RIGHT)
def trained(request: pytest.FixtureRequest, folder: Path, model_folder) -> tuple[str, Path, Path]:
    """The family, the model and the folder of a run whose answers to each row are the right one and the wrong one."""
    family = request.param
    model = model_folder(family)
    own = folder / family
    own.mkdir()
    names = ["native", *ROWS]
    file = write_replay_run(
        own,
        {name: [RIGHT[family], WRONG] for name in names},
        run={"steps": 1},
        model={"path": str(model), "max_pixels": 56448, "compute": "float32"},
        data={"train": [str(folder / "rows.jsonl")], "heldout": [str(folder / "rows.jsonl")]},
        rollout={"prompts": len(names), "group": 2},
        eval={"modes": ["greedy"]},
    )
    assert main_code(["train", file]) == 0
    return family, model, own / "runs" / "x"


def test_every_row_is_good(folder: Path, capsys) -> None:
    done = run(capsys, "data", "check", folder / "rows.jsonl")
    assert (done.code, done.err) == (0, "")
    assert f"{len(ROWS) + 1} good rows" in done.out


def test_training_and_its_stored_rollouts(trained, capsys) -> None:
    family, _, folder = trained
    (file,) = (folder / "rollouts").iterdir()
    stored = [row for _, row in read_rows(file)]
    assert {row["id"] for row in stored} == {"native", *ROWS}
    for row in stored:
        assert row["score"] == pytest.approx(float(row["response"] == RIGHT[family]), abs=0.02), row["id"]
        assert (row["advantage"] > 0) == (row["response"] == RIGHT[family])
        assert json.loads(row["messages"])[0]["role"] == "user"
        assert json.loads(row["media"])["images"][0].endswith("p.png")
    done = run(capsys, "score", file, "--workers", "1")
    again = [json.loads(line) for line in done.out.splitlines()]
    assert [row["score"] for row in again] == [row["score"] for row in stored]


def test_held_out_answers_and_where_the_report_draws_them(trained) -> None:
    family, _, folder = trained
    (file,) = (folder / "heldout").glob("*1.parquet")
    assert [row["score"] for _, row in read_rows(file)] == [pytest.approx(1.0, abs=0.02)] * (len(ROWS) + 1)
    page = (folder / "report.html").read_text(encoding="utf-8")
    pictures = re.findall(r'<img alt="" src="data:image/\w+;base64,([^"]+)"', page)
    assert len(pictures) == len(ROWS) + 1
    seen = [red_box(Image.open(io.BytesIO(base64.b64decode(picture)))) for picture in pictures]
    drawn = re.findall(r'<rect class="(\w+)" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', page)
    assert [who for who, *_ in drawn] == ["true", "answered"] * len(pictures)
    for number, (_, *numbers) in enumerate(drawn):
        width, height, *corners = seen[number // 2]
        x, y, w, h = (float(value) / 100 for value in numbers)
        assert [x * width, y * height, (x + w) * width, (y + h) * height] == pytest.approx(corners, abs=2), family


def red_box(picture: Image.Image) -> list[int]:
    """Width and height of a picture, and the corners of what is red in it."""
    green = picture.convert("RGB").getchannel("G").point([255] * 128 + [0] * 128)
    box = green.getbbox()
    assert box
    return [*picture.size, *box]


def test_score_with_the_model(trained, folder: Path, tmp_path: Path, capsys) -> None:
    family, model, _ = trained
    rows = [row for _, row in read_rows(folder / "rows.jsonl")]
    for row in rows:
        row["media"] = {"images": [str(folder / "p.png")]}
    asked = [row | {"response": text} for row in rows for text in (RIGHT[family], WRONG)]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    done = run(capsys, "score", tmp_path / "asked.jsonl", "--model", model, "--max-pixels", 56448, "--workers", 1)
    scores = [json.loads(line)["score"] for line in done.out.splitlines()]
    assert scores == [pytest.approx(1.0, abs=0.02), 0.0] * len(rows)


def test_score_refuses_places_in_coordinates_that_nobody_states(folder: Path, tmp_path: Path, capsys) -> None:
    (_, row), *_ = read_rows(folder / "rows.jsonl")
    row |= {"response": WRONG, "media": {"images": [str(folder / "p.png")]}}
    (tmp_path / "asked.jsonl").write_text(json.dumps(row) + "\n")
    done = run(capsys, "score", tmp_path / "asked.jsonl", "--workers", 1)
    complains(done, "asked.jsonl:1: nothing says in which coordinates the answer is; name the model that wrote it")


IN_FRAME = {"answer_coords": "relative_1000", "coords": "relative_1000"}
CALLS: list[dict[str, Any]] = [
    {"id": n, "verifier": verifier, "response": "[[1, 2, 300, 400]]", "target": [[1, 2, 300, 400]], "params": params}
    for n, (verifier, params) in enumerate([
        ("dynamic_iou", IN_FRAME), ("dynamic_iou", {}), ("exact", {}), ("dynamic_iou", {"answer_coords": "pixels"})
    ])
]  # fmt: skip
CALLS[2] |= {"target": "x", "response": "x"}


def test_score_says_once_that_answers_are_read_in_the_coordinates_of_the_target(tmp_path: Path, capsys) -> None:
    (tmp_path / "calls.jsonl").write_text("".join(json.dumps(row) + "\n" for row in CALLS))
    done = run(capsys, "score", tmp_path / "calls.jsonl", "--workers", 1)
    assert [json.loads(line)["score"] for line in done.out.splitlines()] == [1.0] * 4
    (line,) = done.err.splitlines()
    assert line.startswith(f"warning: 2 rows (the first is {tmp_path}/calls.jsonl:2) do not say in which coordinates")
    assert line.endswith("state answer_coords (and answer_size, for pixels) in params")
    (tmp_path / "calls.jsonl").write_text(json.dumps(CALLS[0]) + "\n")
    assert run(capsys, "score", tmp_path / "calls.jsonl", "--workers", 1).err == ""


def test_the_service_says_in_a_note_that_answers_are_read_in_the_coordinates_of_the_target() -> None:
    with serving() as service:
        noted = httpx.post(f"{service.url}/judge", json={"rows": CALLS}, timeout=60).json()
        plain = httpx.post(f"{service.url}/judge", json={"rows": CALLS[:1]}, timeout=60).json()
    assert noted["note"].startswith("2 rows (the first is rows.1) do not say in which coordinates")
    assert plain.keys() == {"verdicts"}


def test_the_check_and_the_start_of_a_run_say_that_boxes_stand_as_numbers(folder: Path, tmp_path: Path, capsys) -> None:
    asked = "<image>What colour is [84, 112, 336, 336]?"
    row = {"id": "a", "source": "s", "messages": [{"role": "user", "content": asked}]}
    row |= {"media": {"images": [str(folder / "p.png")]}, "reward": [{"verifier": "exact", "target": "red"}]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    done = run(capsys, "data", "check", tmp_path / "rows.jsonl")
    says = "warning: boxes stand as numbers in the texts of 1 samples (the first is "
    assert f"{says}{tmp_path}/rows.jsonl:1: [84, 112, 336, 336])" in done.out
    file = write_replay_run(
        tmp_path,
        {"a": ["red", "blue"]},
        run={"steps": 1},
        data={"train": [str(tmp_path / "rows.jsonl")]},
        rollout={"prompts": 1, "group": 2},
    )
    assert f"{says}sample 'a': [84, 112, 336, 336])" in run(capsys, "train", file, "--dry-run").out
    assert f"{says}sample 'a': [84, 112, 336, 336])" in run(capsys, "train", file).err


def test_the_service(trained) -> None:
    family, _, run_folder = trained
    (file,) = (run_folder / "rollouts").iterdir()
    calls = []
    for _, row in read_rows(file):
        (spec,) = [spec for spec in json.loads(row["reward"]) if spec["verifier"] == "dynamic_iou"]
        calls.append(Call(spec["verifier"], (Member(row["response"]),), spec["target"], spec["params"]))
    with serving() as service, Remote([service.url]) as judge:
        scores = [verdict.score for (verdict,) in judge(calls)]
    assert scores == [pytest.approx(float(c.members[0].response == RIGHT[family]), abs=0.02) for c in calls]
