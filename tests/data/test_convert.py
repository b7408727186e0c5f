"""Rows with the real schema of V-Triune, EasyR1, TRL and verl become samples that `vlmrl data check` accepts."""

import base64
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vlmrl import UserError
from vlmrl.cli import main
from vlmrl.data.convert import convert_file
from vlmrl.data.foreign.row import bare
from vlmrl.data.media import encode_png, image_size
from vlmrl.data.sample_files import read_samples

PNG = encode_png(Image.new("RGB", (200, 100), "red"))
IMAGE = {"bytes": PNG, "path": None}
RATIOS = {
    "iou_max_label_first": 1.0,
    "iou_max_iou_first": 0.0,
    "iou_completeness": 0.3,
    "map": 0.0,
    "map50": 0.0,
    "map75": 0.0,
}
BOXES = "<answer>\n[{'bbox_2d': [100, 200, 500, 900], 'label': \"person's hat\"}]\n</answer>"


def v_triune_row(number: int, detection: bool) -> dict:
    """A row as the published parquet files have it; the leaves of verifier_parm are null for math."""
    return {
        "data_source": "v3det_train" if detection else "mm_math",
        "images": [IMAGE],
        "prompt": [{"content": "<image>Locate it." if detection else "<image>Solve.", "role": "user"}],
        "ability": "cv_detection" if detection else "math",
        "reward_model": {
            "answer": "" if detection else "4",
            "ground_truth": BOXES if detection else r"\boxed{4}",
            "accuracy_ratio": 1.0,
            "format_ratio": 0.1 if detection else 0.0,
            "verifier": "detection" if detection else "mathverify",
            "verifier_parm": {
                "det_verifier_normalized": True if detection else None,
                "det_reward_ratio": RATIOS if detection else dict.fromkeys(RATIOS),
            },
        },
        "extra_info": {"id": f"row-{number}", "image_path": "somewhere/else.png"},
    }


def write_parquet(path, rows: list[dict]) -> str:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


def write_jsonl(path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_v_triune_states_its_verifiers(tmp_path) -> None:
    file = write_parquet(tmp_path / "train.parquet", [v_triune_row(0, True), v_triune_row(1, False)])
    detection, math = convert_file(file, "v_triune")
    assert (detection.id, detection.source, detection.task) == ("row-0", "v3det_train", "cv_detection")
    iou, layout = detection.reward
    assert iou.verifier == "dynamic_iou"
    assert iou.target == [{"bbox_2d": [100, 200, 500, 900], "label": "person's hat"}]
    assert iou.params == {"completeness": 0.3, "coords": "relative_1000", "image_size": [200, 100]}
    assert (layout.verifier, layout.weight) == ("format", 0.1)
    assert image_size(detection.media.images[0]) == (200, 100)
    assert [(spec.verifier, spec.target) for spec in math.reward] == [("math", "4")]


def test_v_triune_without_normalisation_is_in_pixels(tmp_path) -> None:
    row = v_triune_row(0, True)
    row["reward_model"]["verifier_parm"]["det_verifier_normalized"] = False
    row["reward_model"]["ground_truth"] = '[{"bbox_2d": [10, 20, 50, 90]}]'
    (sample,) = convert_file(write_parquet(tmp_path / "x.parquet", [row]), "v_triune")
    assert sample.reward[0].params == {"completeness": 0.3, "coords": "pixels", "image_size": [200, 100]}


def test_easyr1_with_images_videos_and_text(tmp_path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    rows = [
        {"problem": "<image>Find x.", "answer": "3", "images": ["a.png"], "level": 2},
        {"problem": "What happens?", "answer": "A", "videos": ["clips/b.mp4"]},
        {"problem": "1+1?", "answer": 2},
    ]
    image, video, text = convert_file(write_jsonl(tmp_path / "geo.jsonl", rows), "easyr1", "choice")
    assert image.media.images[0].read() == PNG
    assert image.meta == {"level": 2}
    assert (image.source, image.id, text.id) == ("geo", "geo-1", "geo-3")
    assert video.messages[0].content == "<video>What happens?"
    assert video.media.videos[0].path == str(tmp_path / "clips/b.mp4")
    assert (text.reward[0].verifier, text.reward[0].target) == ("choice", 2)


def test_easyr1_parquet_with_image_structs(tmp_path) -> None:
    rows = [{"problem": "<image><image>Compare.", "answer": r"\boxed{4}", "images": [IMAGE, IMAGE]}]
    (sample,) = convert_file(write_parquet(tmp_path / "x.parquet", rows), "easyr1")
    assert [media.data for media in sample.media.images] == [PNG, PNG]
    assert sample.reward[0].target == "4"


def test_trl_chat_text_and_columns(tmp_path) -> None:
    chat = [
        {"role": "system", "content": "Think."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "How many?"}]},
    ]
    rows = [
        {"prompt": chat, "image": {"bytes": base64.b64encode(PNG).decode(), "path": None}, "solution": "3"},
        {
            "prompt": "How many?",
            "images": ["data:image/png;base64," + base64.b64encode(PNG).decode()],
            "answer": "3",
        },
        {"prompt": "2+2?", "target": 4},
    ]
    first, second, third = convert_file(write_jsonl(tmp_path / "x.jsonl", rows), "trl", "counting")
    assert [turn.content for turn in first.messages] == ["Think.", "<image>How many?"]
    assert second.messages[0].content == "<image>How many?"
    assert first.media.images[0].data == second.media.images[0].data == PNG
    assert [sample.reward[0].target for sample in (first, second, third)] == ["3", "3", 4]


def test_trl_parquet_with_one_image_column(tmp_path) -> None:
    prompt = [{"role": "user", "content": "Find it."}]
    rows = [{"prompt": prompt, "image": IMAGE, "solution": "<answer>[[1, 2, 30, 40]]</answer>"}]
    (sample,) = convert_file(write_parquet(tmp_path / "x.parquet", rows), "trl", "dynamic_iou")
    assert sample.messages[0].content == "<image>Find it."
    assert sample.reward[0].target == [[1, 2, 30, 40]]


def test_verl_geo3k(tmp_path) -> None:
    row = {
        "data_source": "hiyouga/geometry3k",
        "prompt": [{"role": "user", "content": "<image>Find y. Put it in \\boxed{}."}],
        "images": [IMAGE],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "24"},
        "extra_info": {"split": "train", "index": 7, "answer": "24", "question": "Find y."},
    }
    remote = row | {"images": [{"image": "file:///data/a.png"}]}
    (sample,) = convert_file(write_parquet(tmp_path / "x.parquet", [row]), "verl")
    assert (sample.source, sample.task, sample.id) == ("hiyouga/geometry3k", "math", "hiyouga/geometry3k-1")
    assert (sample.reward[0].verifier, sample.reward[0].target) == ("math", "24")
    (from_file,) = convert_file(write_parquet(tmp_path / "y.parquet", [remote]), "verl")
    assert from_file.media.images[0].path == "/data/a.png"


@pytest.mark.parametrize("out", ["out.jsonl", "out.parquet"])
def test_the_command_converts_what_check_accepts(tmp_path, capsys, out) -> None:
    rows = [v_triune_row(0, True), v_triune_row(1, False)]
    file = write_parquet(tmp_path / "train.parquet", rows)
    assert main(["data", "convert", file, "--from", "v_triune", "--out", str(tmp_path / out)]) == 0
    assert "2 samples" in capsys.readouterr().out
    assert main(["data", "check", str(tmp_path / out)]) == 0
    assert [sample.id for sample in read_samples(tmp_path / out)] == ["row-0", "row-1"]


@pytest.mark.parametrize(
    ("schema", "row", "complaint"),
    [
        ("easyr1", {"question": "?", "answer": "3"}, "problem: missing; is --from the right one?"),
        ("easyr1", {"problem": "?"}, "answer | solution: missing"),
        ("easyr1", {"problem": "?", "answer": "1", "images": ["http://x/a.png"]}, "expected a local path"),
        ("trl", {"prompt": 3, "answer": "1"}, "prompt: expected text or a list of turns, got 3"),
        ("trl", {"prompt": "?"}, "solution | answer | ground_truth | target: missing"),
        (
            "verl",
            {"data_source": "x", "prompt": "?", "reward_model": {"style": "rule"}},
            "ground_truth: missing",
        ),
        (
            "verl",
            {"data_source": "x", "prompt": "?", "reward_model": [1]},
            "reward_model: expected an object",
        ),
        ("v_triune", {"reward_model": {"verifier": "llm"}}, "'mathverify' or 'detection', got 'llm'"),
        (
            "v_triune",
            {"reward_model": {"verifier": "detection", "ground_truth": "x"}},
            "expected a list of boxes",
        ),
        ("v_triune", {"reward_model": {"verifier": "detection", "ground_truth": "[]"}}, "images: missing"),
    ],
)
def test_a_row_of_another_kind_is_named(tmp_path, schema, row, complaint) -> None:
    file = write_jsonl(tmp_path / "x.jsonl", [row])
    with pytest.raises(UserError) as caught:
        list(convert_file(file, schema))
    assert complaint in str(caught.value)
    assert str(caught.value).startswith(f"{file}:1: ")


def test_an_answer_of_nought_is_an_answer(tmp_path) -> None:
    def math(**answers: object) -> dict:
        model = {"verifier": "mathverify"} | answers
        return {"data_source": "a", "prompt": "?", "reward_model": model}

    rows = [math(answer=0, ground_truth=7), math(answer="", ground_truth=0), math(answer=None, ground_truth="5")]
    samples = list(convert_file(write_jsonl(tmp_path / "x.jsonl", rows), "v_triune"))
    assert [sample.reward[0].target for sample in samples] == [0, 0, "5"]
    detection = v_triune_row(0, True)
    detection["reward_model"] |= {"ground_truth": [], "answer": "[[1, 2, 3, 4]]"}
    detection["images"] = ["data:image/png;base64," + base64.b64encode(PNG).decode()]
    (sample,) = convert_file(write_jsonl(tmp_path / "y.jsonl", [detection]), "v_triune")
    assert sample.reward[0].target == []


def test_an_id_of_nought_is_an_id(tmp_path) -> None:
    rows = [{"id": number, "problem": "?", "answer": "1"} for number in (0, 1, "", None)]
    samples = convert_file(write_jsonl(tmp_path / "x.jsonl", rows), "easyr1")
    assert [sample.id for sample in samples] == ["0", "1", "x-3", "x-4"]


def easyr1(**columns: object) -> tuple[str, dict]:
    return "easyr1", {"problem": "?", "answer": "3"} | columns


def trl(*turns: object) -> tuple[str, dict]:
    return "trl", {"prompt": list(turns), "solution": "3"}


def v_triune(**model: object) -> tuple[str, dict]:
    return "v_triune", {"data_source": "a", "prompt": "?", "images": ["a\0.png"], "reward_model": model}


@pytest.mark.parametrize(
    ("schema", "row", "complaint"),
    [
        (*trl({"role": "user"}), "prompt.0.content: expected text or a list of parts, got None"),
        (*trl({"role": "user", "content": None}), "prompt.0.content: expected text or a list of parts, got None"),
        (*trl({"role": "user", "content": 3}), "prompt.0.content: expected text or a list of parts, got 3"),
        (*trl({"role": "user", "content": ["hello"]}), "prompt.0.content.0: expected a part of type text, image"),
        (*trl({"role": "user", "content": [{"type": ["x"], "text": "a"}]}), "prompt.0.content.0: expected a part"),
        (*trl({"role": "user", "content": [{"type": "text", "text": None}]}), "prompt.0.content.0: expected a part"),
        (*trl({"role": "user", "content": [{"type": "image_url"}]}), "prompt.0.content.0: expected a part"),
        (*easyr1(problem=["a"]), "problem: expected text, got ['a']"),
        (*easyr1(images=[{"bytes": "abc", "path": None}]), "images: bytes: not valid base64 (Incorrect padding)"),
        (*easyr1(images=[{"bytes": "@@@@"}]), "images: bytes: not valid base64"),
        (*easyr1(images=[{"bytes": 3}]), "images: data: input should be a valid bytes, got 3"),
        (*easyr1(images=["data:nonsense"]), "images: data URI starts with 'data:nonsense'"),
        (*easyr1(images=["data:image/png;base64,@@@"]), "images: data URI does not hold valid base64"),
        (
            *v_triune(verifier="mathverify", answer="3", format_ratio="0.1"),
            "format_ratio: expected a number, got '0.1",
        ),
        (*v_triune(verifier="mathverify"), "reward.0: target is missing or null"),
        (*v_triune(verifier="detection", answer="3", verifier_parm="x"), "verifier_parm: expected an object, got 'x'"),
        (
            *v_triune(verifier="detection", answer="[]", verifier_parm={"det_reward_ratio": 3}),
            "reward_model.verifier_parm.det_reward_ratio: expected an object, got 3",
        ),
        (*v_triune(verifier="detection", answer="[]"), "not a path: embedded null byte"),
    ],
)
def test_an_odd_value_is_one_line(tmp_path, capsys, schema, row, complaint) -> None:
    file, out = write_jsonl(tmp_path / "x.jsonl", [row]), tmp_path / "out.jsonl"
    assert main(["data", "convert", file, "--from", schema, "--out", str(out)]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"vlmrl: {file}:1: ")
    assert complaint in message
    assert message.count("\n") == 1
    assert not out.exists()


def test_half_a_character_goes_out_as_it_came_in(tmp_path, capsys) -> None:
    row = {"problem": "is it \ud83d or \\ud800?", "answer": "3"}
    file = write_jsonl(tmp_path / "x.jsonl", [row])
    assert main(["data", "convert", file, "--from", "easyr1", "--out", str(tmp_path / "out.jsonl")]) == 0
    (sample,) = read_samples(tmp_path / "out.jsonl")
    assert sample.messages[0].content == row["problem"]
    assert main(["data", "convert", file, "--from", "easyr1", "--out", str(tmp_path / "out.parquet")]) == 2
    assert "vlmrl: sample 'x-1': holds half a character ('\\ud83d'); fix its text\n" in capsys.readouterr().err


def test_bare_unwraps_only_wrapping() -> None:
    assert bare(r"\boxed{\frac{1}{2}}") == r"\frac{1}{2}"
    assert bare("<answer> 4 </answer>") == "4"
    assert bare("[1, 2)") == "[1, 2)"
    assert bare(4) == 4
