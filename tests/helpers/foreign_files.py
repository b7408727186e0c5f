"""Files as other toolkits publish them, with their true columns, small enough to convert and to train on.

    for file in write_files(folder): ...      file.path, file.flags for `vlmrl data convert`, what it should give

The pictures are drawn: each file's are different, so that no two rows have the same content.
"""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from conftest import write_video
from PIL import Image, ImageDraw

Rows = list[dict[str, Any]]
SIZE = (120, 80)
BOX = [12, 16, 48, 64]
"""Where the red box is in every picture, [x1, y1, x2, y2] in pixels."""


class Foreign(NamedTuple):
    """A file (or a folder or glob), how to convert it, and what its samples have."""

    path: str
    schema: str
    verifiers: list[str]
    media: list[str]
    """For each sample its images and videos: `2i`, `1v`, or `` for text."""
    flags: list[str] = []  # noqa: RUF012 - never written to


def png(number: int) -> bytes:
    """A picture with a red box at `BOX` and a bar that is as long as its number."""
    image = Image.new("RGB", SIZE, "white")
    pen = ImageDraw.Draw(image)
    pen.rectangle(BOX, fill="red")
    pen.line((0, 75, number % 120, 75 - number // 120), fill="blue", width=2)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


class Writer:
    """Draws pictures, each once, and writes files into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.drawn = folder, 0

    def bytes(self) -> bytes:
        self.drawn += 1
        return png(self.drawn)

    def struct(self) -> dict[str, Any]:
        """An image as `datasets` stores it."""
        return {"bytes": self.bytes(), "path": f"{self.drawn}.png"}

    def base64(self) -> str:
        return base64.b64encode(self.bytes()).decode()

    def file(self, name: str) -> str:
        """A drawn file; returns its name."""
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(self.bytes())
        return name

    def video(self, name: str) -> str:
        self.drawn += 1
        write_video(self.folder / name, frames=4 + self.drawn % 9, side=56)
        return name

    def jsonl(self, name: str, rows: Rows) -> str:
        (self.folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(self.folder / name)

    def json(self, name: str, rows: Rows) -> str:
        (self.folder / name).write_text(json.dumps(rows, indent=1))
        return str(self.folder / name)

    def parquet(self, name: str, rows: Rows) -> str:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), self.folder / name)
        return str(self.folder / name)

    def tsv(self, name: str, rows: Rows) -> str:
        with (self.folder / name).open("w", newline="") as file:
            table = csv.DictWriter(file, rows[0], delimiter="\t")
            table.writeheader()
            table.writerows(rows)
        return str(self.folder / name)


# --- V-Triune, EasyR1, TRL, verl ----------------------------------------------------------------------------

RATIOS = ("iou_max_label_first", "iou_max_iou_first", "iou_completeness", "map", "map50", "map75")


def _orsta(image: dict[str, Any], ability: str, question: str, answer: str, boxes: str | None = None) -> dict[str, Any]:
    ratio = dict.fromkeys(RATIOS, 0.3 if boxes else None)
    return {
        "data_source": f"orsta_{ability}",
        "images": [image],
        "prompt": [{"content": f"<image>{question}", "role": "user"}],
        "ability": ability,
        "reward_model": {
            "answer": answer,
            "ground_truth": boxes or f"\\boxed{{{answer}}}",
            "accuracy_ratio": 1.0,
            "format_ratio": 0.0,
            "verifier": "detection" if boxes else "mathverify",
            "verifier_parm": {"det_verifier_normalized": True if boxes else None, "det_reward_ratio": ratio},
        },
        "extra_info": {"id": f"{ability}-{answer}-{bool(boxes)}", "image_path": f"{ability}/somewhere.png"},
    }


def v_triune(w: Writer) -> Iterator[Foreign]:
    four = [
        _orsta(w.struct(), "math", "What is x?", "4"),
        _orsta(w.struct(), "chart", "How high is the bar in 1999?", "3.5"),
        _orsta(w.struct(), "puzzle", "Which colour is missing?", "red"),
        _orsta(w.struct(), "science", "Is it a metal?", "yes"),
    ]
    yield Foreign(
        w.parquet("train_math_mmmath.parquet", four), "v_triune", ["math", "math", "exact", "yes_no"], ["1i"] * 4
    )
    texts = [
        _orsta(w.struct(), "ocr", "What does the label say?", "Coca Cola"),
        _orsta(w.struct(), "counting", "How many boxes are there?", "1"),
    ]
    yield Foreign(w.parquet("train_ocr_est.parquet", texts), "v_triune", ["ocr", "counting"], ["1i"] * 2)
    boxes = "<answer>\n[{'bbox_2d': [100, 200, 400, 800], 'label': 'red box'}]\n</answer>"
    places = [_orsta(w.struct(), ability, "Locate the red box.", "", boxes) for ability in ("detection", "grounding")]
    yield Foreign(w.parquet("train_detection_v3det.parquet", places), "v_triune", ["dynamic_iou"] * 2, ["1i"] * 2)


def easyr1(w: Writer) -> Iterator[Foreign]:
    rows: Rows = [{"images": [w.struct()], "problem": "<image>Find x.", "answer": r"2\sqrt{221}"}]
    rows += [{"images": [w.struct(), w.struct()], "problem": "<image><image>How many in all?", "answer": "2"}]
    yield Foreign(w.parquet("geometry3k.parquet", rows), "easyr1", ["math"] * 2, ["1i", "2i"])
    mixed: Rows = [
        {"problem": "Which box is red?", "answer": "left", "images": [w.file("e/1.png")], "level": 2},
        {"problem": "<video>How often does it blink?", "answer": "3", "videos": [w.video("e1.mp4")]},
        {"problem": "What is 17 + 4?", "answer": "21", "images": [], "videos": None},
    ]
    yield Foreign(w.jsonl("rl_mixed.jsonl", mixed), "easyr1", ["exact", "math", "math"], ["1i", "1v", ""])
    located = [{"problem": "<image>Locate the red box.", "answer": f"[{BOX}]", "images": [w.file("e/2.png")]}]
    yield Foreign(w.jsonl("located.jsonl", located), "easyr1", ["dynamic_iou"], ["1i"])


def trl(w: Writer) -> Iterator[Foreign]:
    chat = [{"role": "user", "content": [{"type": "image", "text": None}, {"type": "text", "text": "How many boxes?"}]}]
    rows: Rows = [{"prompt": chat, "image": w.struct(), "solution": "<answer>1</answer>"}]
    yield Foreign(w.parquet("trl_vision.parquet", rows), "trl", ["math"], ["1i"])
    texts: Rows = [{"prompt": "How many boxes are here?", "images": [w.file("t/1.png")], "ground_truth": "1"}]
    texts += [{"prompt": [{"role": "user", "content": "3 * 9?"}], "images": None, "ground_truth": "27"}]
    yield Foreign(w.jsonl("trl_text.jsonl", texts), "trl", ["math"] * 2, ["1i", ""])


def verl(w: Writer) -> Iterator[Foreign]:
    rows = [
        {
            "data_source": "hiyouga/geometry3k",
            "prompt": [{"role": "user", "content": "<image>Find y. Put it in \\boxed{}."}],
            "images": [w.struct()],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": "24"},
            "extra_info": {"split": "train", "index": 7, "answer": "24", "question": "Find y."},
        }
    ]
    for number in (0, 1):
        rows[0] |= {"images": [w.struct()]}
        w.parquet(f"verl_shards/train-0000{number}-of-00002.parquet", rows)
    yield Foreign(str(w.folder / "verl_shards"), "verl", ["math"] * 2, ["1i"] * 2)


# --- ms-swift, LLaVA, OpenAI --------------------------------------------------------------------------------


def ms_swift(w: Writer) -> Iterator[Foreign]:
    def turns(question: str, answer: str | None = None) -> Rows:
        said = [{"role": "assistant", "content": answer}] if answer else []
        return [{"role": "user", "content": question}, *said]

    solved: Rows = [
        {"messages": turns("<image>How many boxes?"), "images": [w.file("s/1.png")], "solution": "1"},
        {"messages": turns("<video>What blinks?"), "videos": [w.video("s1.mp4")], "solution": "lamp", "audios": []},
    ]
    yield Foreign(w.jsonl("swift_grpo.jsonl", solved), "ms_swift", ["math", "exact"], ["1i", "1v"])
    red = {"ref": ["red box"], "bbox": [BOX]}
    located: Rows = [
        {"messages": turns("<image>Find <ref-object>.", "<bbox>"), "images": [w.file("s/2.png")], "objects": red},
        {
            "messages": turns("<image>What is at <bbox>?", "<ref-object>"),
            "images": [w.file("s/3.png")],
            "objects": red,
        },
    ]
    yield Foreign(w.jsonl("swift_grounding.jsonl", located), "ms_swift", ["dynamic_iou", "exact"], ["1i"] * 2)


def llava(w: Writer) -> Iterator[Foreign]:
    first = [{"from": "human", "value": "<image>\nWhat colour is it?"}, {"from": "gpt", "value": "red"}]
    more = [*first, {"from": "human", "value": "How many are there?"}, {"from": "gpt", "value": "1"}]
    rows: Rows = [
        {"id": "000000033471", "image": w.file("coco/1.png"), "conversations": first},
        {"id": "000000033471", "image": w.file("coco/2.png"), "conversations": more},
    ]
    yield Foreign(w.json("llava_instruct.json", rows), "llava", ["exact", "math"], ["1i"] * 2)
    pairs = [{"from": "human", "value": "<image> <image> How many boxes?"}, {"from": "gpt", "value": "2"}]
    shared: Rows = [{"conversations": pairs, "images": [w.file("coco/3.png"), w.file("coco/4.png")]}]
    shared += [{"conversations": [{"from": "human", "value": "6 * 7?"}, {"from": "gpt", "value": "42"}]}]
    path = w.jsonl("sharegpt.jsonl", shared)
    Path(f"{path}.gz").write_bytes(gzip.compress(Path(path).read_bytes()))
    yield Foreign(f"{path}.gz", "llava", ["math"] * 2, ["2i", ""])


def openai(w: Writer) -> Iterator[Foreign]:
    def row(*parts: dict[str, Any], answer: str) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": list(parts)}], "answer": answer}

    def text(content: str) -> dict[str, Any]:
        return {"type": "text", "text": content}

    url = {"url": f"data:image/png;base64,{w.base64()}", "detail": "low"}
    uris = [row(text("How many boxes?"), {"type": "image_url", "image_url": url}, answer="1")]
    yield Foreign(w.jsonl("openai_chat.jsonl", uris), "openai", ["math"], ["1i"])
    image = (w.folder / w.file("o/a.png")).as_uri()
    files = [
        row({"type": "image", "image": image}, text("How many boxes, in <image> and in words?"), answer="one"),
        row({"type": "video", "video": str(w.folder / w.video("o1.mp4"))}, text("How many flashes?"), answer="4"),
    ]
    yield Foreign(w.jsonl("hf_parts.jsonl", files), "openai", ["exact", "math"], ["1i", "1v"])


# --- method papers ------------------------------------------------------------------------------------------


def visual_rft(w: Writer) -> Iterator[Foreign]:
    detect = (
        "Detect all objects belonging to the category 'red box' in the image, and provide the bounding boxes "
        "(between 0 and 1000, integer) and confidence (between 0 and 1, with two decimal places)."
    )
    solution = "<answer>[{'Position': [100, 200, 400, 800], 'Confidence': 1}]</answer>"
    rows: Rows = [{"image": w.struct(), "problem": detect, "solution": solution}]
    yield Foreign(w.parquet("virft_coco.parquet", rows), "visual_rft", ["dynamic_iou"], ["1i"])
    named = [{"image": w.struct(), "problem": "What flower is it?", "solution": "<answer>moon orchid</answer>"}]
    yield Foreign(w.parquet("virft_flowers.parquet", named), "visual_rft", ["exact"], ["1i"])
    clevr = [{"image": w.struct(), "problem": "How many items are there?", "solution": "<answer> 3 </answer>"}]
    yield Foreign(w.parquet("clevr_cogen.parquet", clevr), "visual_rft", ["math"], ["1i"])


def vlm_r1(w: Writer) -> Iterator[Foreign]:
    question = "Please provide the bounding box coordinate of the region this sentence describes: red box."
    turns = [{"from": "human", "value": f"<image>{question}"}, {"from": "gpt", "value": BOX}]
    rows: Rows = [{"id": 1, "image": w.file("rec/1.png"), "conversations": turns, "normal_caption": "red box"}]
    yield Foreign(w.jsonl("rec_jsonsft.jsonl", rows), "vlm_r1", ["dynamic_iou"], ["1i"])
    plain = {"image": "2.png", "problem": question, "solution": BOX, "normal_caption": "red box", "dataset": "refcoco"}
    w.file("rec_images/2.png")
    root = ["--image-root", str(w.folder / "rec_images")]
    yield Foreign(w.json("refcoco_train.json", [plain]), "vlm_r1", ["dynamic_iou"], ["1i"], root)


def video_r1(w: Writer) -> Iterator[Foreign]:
    def row(kind: str, problem: str, solution: str, video: bool = False, options: list[str] | None = None) -> dict:
        number = w.drawn + 1
        path = w.video(f"r{number}.mp4") if video else w.file(f"r/{number}.png")
        return {
            "problem_id": number,
            "problem": problem,
            "data_type": "video" if video else "image",
            "problem_type": kind,
            "options": options or [],
            "process": "",
            "solution": f"<answer>{solution}</answer>",
            "path": f"./{path}",
            "data_source": "STAR" if video else "Spatial",
        }

    rows = [
        row("multiple choice", "What role does the red box play?", "B", options=["A) none", "B) weight"]),
        row("numerical", "How long is the bar?", "12.50"),
        row("OCR", "What does the sign say?", "NO ENTRY"),
        row("free-form", "What happens?", "a lamp gets brighter", video=True),
        row("regression", "How wide is the room, in metres?", "4.2", video=True),
    ]
    verifiers = ["choice", "numeric", "ocr", "string_f1", "relaxed"]
    yield Foreign(w.json("Video-R1-260k.json", rows), "video_r1", verifiers, ["1i"] * 3 + ["1v"] * 2)


def vicrit(w: Writer) -> Iterator[Foreign]:
    w.file("pixmo/1.png")
    row = {
        "image_path": "pixmo/1.png",
        "problem": "One phrase of this caption is wrong. Which?\nA blue box lies on white ground.",
        "original_caption": "A red box lies on white ground.",
        "changed_caption": "A blue box lies on white ground.",
        "solution_original": "red box",
        "solution_target": "blue box",
    }
    yield Foreign(w.parquet("vicrit_train.parquet", [row]), "vicrit", ["caption_spans"], ["1i"])


# --- benchmarks, and rows of nobody in particular -----------------------------------------------------------


def mmmu(w: Writer) -> Iterator[Foreign]:
    def row(name: str, question: str, options: str, answer: str, kind: str, *images: int) -> dict[str, Any]:
        shown = {f"image_{n}": w.struct() if n in images else None for n in range(1, 8)}
        return {
            "id": f"validation_Art_{name}",
            "question": question,
            "options": options,
            "explanation": "",
            **shown,
            "img_type": "['Paintings']",
            "answer": answer,
            "topic_difficulty": "Easy",
            "question_type": kind,
            "subfield": "Painting",
        }

    rows = [
        row("1", "<image 1> What is shown?", "['$6', '$7']", "B", "multiple-choice", 1),
        row("2", "What follows <image 1>?", "['<image 2>', '<image 3>']", "A", "multiple-choice", 1, 2, 3),
        row("3", "How high is <image 1>, and how wide is <image 1>?", "[]", "['12.5', '25/2']", "open", 1),
    ]
    yield Foreign(w.parquet("mmmu_validation.parquet", rows), "mmmu", ["choice", "choice", "math"], ["1i", "3i", "1i"])


def vlmevalkit(w: Writer) -> Iterator[Foreign]:
    base = {"hint": "", "A": "one", "B": "two", "C": "", "D": "", "answer": "A", "category": "count"}
    rows = [
        {"index": 7, "question": "How many boxes?", **base, "image": w.base64()},
        {"index": 8, "question": "How many bars?", **base, "image": "7"},
        {"index": 9, "question": "How many?", **base, "hint": "Both count.", "image": str([w.base64(), w.base64()])},
    ]
    yield Foreign(w.tsv("MMBench.tsv", rows), "vlmevalkit", ["choice"] * 3, ["1i", "1i", "2i"])


def anybody(w: Writer) -> Iterator[Foreign]:
    science: Rows = [
        {"image": w.struct(), "question": "Which is a metal?", "choices": ["iron", "wood"], "answer": 0, "hint": ""},
        {"image": None, "question": "Which one floats?", "choices": ["iron", "wood"], "answer": 1, "hint": ""},
    ]
    yield Foreign(w.parquet("scienceqa.parquet", science), "vqa", ["choice"] * 2, ["1i", ""])
    x1, y1, x2, y2 = BOX
    coco = [{"phrase": "Locate the red box.", "bbox": [x1, y1, x2 - x1, y2 - y1], "file_name": w.file("c/1.png")}]
    flags = ["--map=problem=phrase", "--map=answer=bbox", "--map=images=file_name", "--coords=xywh"]
    flags += ["--verifier=dynamic_iou"]
    yield Foreign(w.jsonl("coco_like.jsonl", coco), "mapped", ["dynamic_iou"], ["1i"], flags)
    med = {
        "image": w.file("m/1.png"),
        "problem": "What modality is it? A)CT, B)MR, C)X-ray",
        "solution": "<answer>B</answer>",
    }
    yield Foreign(w.json("omnimed.json", [med]), "visual_rft", ["choice"], ["1i"])
    moments = [
        {"video": w.video("q1.mp4"), "problem": "When is it bright?", "solution": "[0.25, 0.75]", "video_length": 2}
    ]
    flags = ["--verifier=temporal_iou", '--params=unit="fraction"', '--params=answer_unit="seconds"']
    yield Foreign(w.jsonl("temporal_r1.jsonl", moments), "visual_rft", ["temporal_iou"], ["1v"], flags)
    (w.folder / "quiz.toml").write_text(
        '[map]\nproblem = "ask"\nimages = "left,right"\nanswer = "key"\nid = "nr"\n[params]\nchoices = "alternatives"\n'
    )
    quiz: Rows = [
        {"nr": 3, "ask": "Which is larger?", "left": w.file("z/l.png"), "right": w.file("z/r.png"), "key": "b",
         "alternatives": {"a": "the left one", "b": "the right one"}}
    ]  # fmt: skip
    yield Foreign(
        w.jsonl("quiz.jsonl", quiz), "mapped", ["choice"], ["2i"], ["--map-file", str(w.folder / "quiz.toml")]
    )


WRITERS: tuple[Callable[[Writer], Iterator[Foreign]], ...] = (
    *(v_triune, easyr1, trl, verl, ms_swift, llava, openai, visual_rft, vlm_r1, video_r1, vicrit),
    *(mmmu, vlmevalkit, anybody),
)


def write_files(folder: Path) -> list[Foreign]:
    """All files, written into the folder."""
    writer = Writer(folder)
    return [file for write in WRITERS for file in write(writer)]
