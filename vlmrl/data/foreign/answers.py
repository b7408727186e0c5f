"""How each schema states its true answer, where it is more than a column.

read = column("solution", "answer")
read(row, turns)                        Answer("3")
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from vlmrl.data.foreign.places import places
from vlmrl.data.foreign.prompts import Turns
from vlmrl.data.foreign.row import Row, bare, fields_of, first_given, literal
from vlmrl.data.foreign.task import Answer
from vlmrl.errors import UserError

ReadAnswer = Callable[[Row, Callable[[], Turns]], Answer]
"""From a row and its turns, which are read when they are asked for, and which it may change."""

ANSWERS = ("solution", "answer", "ground_truth", "target")
LAYOUT = "think_answer"
"""The layout in V-Triune's prompts: reasoning in think tags, then the answer in answer tags."""
VIDEO_R1: dict[str, tuple[str, dict[str, Any]]] = {
    "multiple choice": ("choice", {}),
    "numerical": ("numeric", {}),
    "ocr": ("ocr", {"metric": "wer"}),
    "free-form": ("string_f1", {"metric": "rouge"}),
    "regression": ("relaxed", {}),
}
"""Verifier and params for each `problem_type` of Video-R1 (its released reward, by type)."""


def column(*names: str) -> ReadAnswer:
    """Reads the first of these columns with a value, and decides between an answer and a worked solution."""
    return lambda row, _turns: Answer(row.need(*names) if (value := stated(row, *names)) is None else value)


def stated(row: Row, *names: str) -> Any:
    """The first of these columns with a value, or None. Of an answer and a worked solution it is the answer."""
    solution = row.first("solution") if {"solution", "answer"} & {*names} else None
    other = row.first(*(name for name in names if name != "solution"))
    if any(value is None or value == "" for value in (solution, other)):
        return solution if other in (None, "") else other
    if _plain(solution) == _plain(other):
        return solution
    for worked, short in ((solution, other), (other, solution)):
        if _is_worked(worked, short) and not _contradict(bare(worked), bare(short)):
            return short
    raise UserError(
        f"{row.where}: answer: {other!r:.60} and solution: {solution!r:.60} differ, and neither is plainly the worked "
        "one; say which is the true answer, --map answer=COLUMN"
    )


def _plain(value: Any) -> str:
    value = bare(value)
    return str(literal(value) if isinstance(value, str) else value).strip().casefold()


def _is_worked(value: Any, short: Any) -> bool:
    """Whether a value is the prose that leads to a short answer."""
    if not isinstance(value, str) or isinstance(literal(value), list | dict):
        return False
    text = re.sub(r"</?\w{1,12}>", " ", value).strip()
    is_prose = len(text.split()) > 2 or len(re.findall(r"[\u4e00-\u9fff]", text)) > 5
    return is_prose and len(text) > len(str(short))


def _contradict(one: Any, other: Any) -> bool:
    """Whether two answers are different letters of options, or different whole numbers."""
    texts = str(one).strip(), str(other).strip()
    same_kind = any(all(re.fullmatch(kind, text) for text in texts) for kind in ("[A-Z]", r"-?\d+"))
    return same_kind and texts[0] != texts[1]


def last_turn(row: Row, turns: Callable[[], Turns]) -> Answer:
    """A column with the answer, else the last turn of the assistant, which stays the demonstration."""
    value = stated(row, *ANSWERS)
    if value is not None:
        return Answer(value)
    if turns()[-1]["role"] != "assistant":
        raise UserError(f"{row.where}: {' | '.join(ANSWERS)}: missing, and the last turn is not the assistant's")
    return Answer(turns()[-1]["content"])


def v_triune(row: Row, _turns: Callable[[], Turns]) -> Answer:
    """V-Triune (arXiv 2505.18129, section 3.1): the row states its verifier and the weights of its parts.

    `mathverify` stands for all answers that are compared: answer and ability decide which verifier does.
    """
    model = row.struct("reward_model")
    kind = model.get("verifier")
    layout_weight = model.get("format_ratio", 0.0)
    if not isinstance(layout_weight, int | float):
        raise UserError(f"{row.where}: reward_model.format_ratio: expected a number, got {layout_weight!r:.80}")
    layout = {"verifier": "format", "target": LAYOUT, "weight": layout_weight}
    weight, others = model.get("accuracy_ratio", 1.0), (layout,) if layout_weight > 0 else ()
    if kind == "mathverify":
        return Answer(first_given(model, "answer", "ground_truth"), weight=weight, others=others)
    if kind != "detection":
        raise UserError(
            f"{row.where}: reward_model.verifier: expected 'mathverify' or 'detection', got {kind!r:.80}; "
            "--from verl reads the row without it"
        )
    field = f"{row.where}: reward_model.verifier_parm"
    parameters = fields_of(model.get("verifier_parm"), field)
    ratio = fields_of(parameters.get("det_reward_ratio"), f"{field}.det_reward_ratio")
    value = places(first_given(model, "ground_truth", "answer"), f"{row.where}: reward_model.ground_truth")
    if not row.media().get("images"):
        raise UserError(f"{row.where}: images: missing; a detection row needs its image")
    # The run knows in which coordinates its model answers.
    coords = "relative_1000" if parameters.get("det_verifier_normalized") else "pixels"
    completeness = {"completeness": ratio.get("iou_completeness", 0.3)}
    return Answer(value, "dynamic_iou", completeness, coords, weight=weight, others=others)


def verl(row: Row, _turns: Callable[[], Turns]) -> Answer:
    """verl: the ground truth of the reward model; a verifier replaces its scorers by source."""
    model = row.struct("reward_model")
    if "ground_truth" not in model:
        raise UserError(f"{row.where}: reward_model.ground_truth: missing; is --from the right one?")
    return Answer(model["ground_truth"])


def ms_swift(row: Row, turns: Callable[[], Turns]) -> Answer:
    """ms-swift: `objects` fills `<bbox>` and `<ref-object>`; its boxes that the prompt does not use are the target."""
    objects = row.struct("objects")
    forms = {None: None, "real": "pixels", "norm1000": "relative_1000", "norm1": "relative_1"}
    coords = objects.get("bbox_type")
    if coords not in forms:
        raise UserError(f"{row.where}: objects.bbox_type: expected real, norm1000 or norm1, got {coords!r:.80}")
    for name in ("bbox", "ref", "image_id"):
        if not isinstance(objects.get(name, []), list):
            raise UserError(f"{row.where}: objects.{name}: expected a list, got {objects[name]!r:.80}")
    marks = {"<bbox>": list(objects.get("bbox", [])), "<ref-object>": list(objects.get("ref", []))}
    prompt = turns()[:-1] if turns()[-1]["role"] == "assistant" else turns()
    spoken_of: list[list[float]] = []
    images = list(objects.get("image_id") or []) if len(row.media().get("images", [])) > 1 else []
    stated = {"coords": forms[coords]} if forms[coords] else {}

    def texts() -> tuple[dict[str, Any], ...]:
        """The boxes of the texts, which stand first in `objects`."""
        numbered = [{"image": image} for image in images[: len(spoken_of)]] or [{}] * len(spoken_of)
        return tuple({"bbox_2d": box} | stated | own for box, own in zip(spoken_of, numbered, strict=True))

    for turn in prompt:
        turn["content"] = _filled(turn["content"], marks, row, spoken_of)
    boxes, labels = list(marks["<bbox>"]), list(marks["<ref-object>"])
    if len(prompt) < len(turns()) and isinstance(turns()[-1]["content"], str):
        turns()[-1]["content"] = _filled(turns()[-1]["content"], marks, row, spoken_of)
    if not boxes or row.first(*ANSWERS) is not None:
        return last_turn(row, turns)._replace(coords=forms[coords], boxes=texts())
    named = labels if len(labels) == len(boxes) else [None] * len(boxes)
    is_point = isinstance(boxes[0], list) and len(boxes[0]) == 2
    key, verifier = ("point_2d", "point") if is_point else ("bbox_2d", "dynamic_iou")
    target = [{key: box} | ({"label": label} if label else {}) for box, label in zip(boxes, named, strict=True)]
    numbers = set(images[len(objects["bbox"]) - len(boxes) :])
    params = {"image": numbers.pop()} if len(numbers) == 1 else {}
    return Answer(target, verifier, params, forms[coords], boxes=texts())


def _filled(text: str, values: dict[str, list[Any]], row: Row, boxes: list[list[float]]) -> str:
    """The text with each mark replaced by the next of its values, which is taken from the list; `boxes` gets the boxes.

    They stay numbers until the answer is read, and become marks of the sample then.
    """

    def following(match: re.Match[str]) -> str:
        if not values[match[0]]:
            raise UserError(f"{row.where}: messages: more {match[0]} than values in objects; correct the row")
        value = values[match[0]].pop(0)
        if match[0] == "<bbox>" and isinstance(value, list) and len(value) % 2 == 0:
            boxes.append(value)
        return str(value)

    return re.sub("|".join(values), following, text)


def boxes_or_text(row: Row, turns: Callable[[], Turns]) -> Answer:
    """VLM-R1: `solution` or the last turn, in pixels if it holds a box."""
    answer = last_turn(row, turns)
    value = bare(answer.value)
    value = literal(value) if isinstance(value, str) else value
    return answer._replace(value=value, verifier="dynamic_iou") if isinstance(value, list) else answer


def visual_rft(row: Row, turns: Callable[[], Turns]) -> Answer:
    """Visual-RFT: detections `[{'Position': [...], 'Confidence': 1}]`, perhaps none, or the name of a class."""
    value = bare(column("solution", "answer")(row, turns).value)
    if isinstance(value, str) and re.fullmatch(r"no objects?\.?", value.strip(), re.IGNORECASE):
        return Answer([], "dynamic_iou")
    if "Position" in str(value)[:400]:
        return Answer(value, "dynamic_iou", states_coords=True)
    return Answer(value)


def video_r1(row: Row, turns: Callable[[], Turns]) -> Answer:
    """Video-R1: the type of the problem names its reward."""
    kind = row.first("problem_type")
    verifier, params = VIDEO_R1.get(str(kind).strip().lower(), (None, {}))
    if kind is not None and verifier is None:
        raise UserError(f"{row.where}: problem_type: expected one of {', '.join(VIDEO_R1)}, got {kind!r:.60}")
    return column("solution", "answer")(row, turns)._replace(verifier=verifier, params=params)


def mmmu(row: Row, _turns: Callable[[], Turns]) -> Answer:
    """MMMU: a letter, or for an open question a text or a list of texts of which any is right."""
    value = row.need("answer")
    is_open = row.first("question_type") == "open"
    return Answer(literal(value) if is_open and isinstance(value, str) and value.startswith("[") else value)


def vicrit(row: Row, _turns: Callable[[], Turns]) -> Answer:
    """ViCrit: the phrase that was changed. Which of the two is the wrong one, the caption shows."""
    caption = row.need("changed_caption")
    phrases = row.need("solution_target"), row.need("solution_original")
    wrong, right = phrases if str(phrases[0]).lower() in str(caption).lower() else phrases[::-1]
    return Answer({"wrong": wrong, "right": right}, "caption_spans", {"caption": caption})
