"""Schemas of other toolkits' rows: what `vlmrl data convert --from NAME` reads.

    SCHEMAS["easyr1"].prompt       ("problem",)
    recognised(columns)            "easyr1": the first schema whose columns the row has

A schema is an entry of `SCHEMAS`; one that reads its answer in a way of its own has a function. Media columns, options
and captions are read alike for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from vlmrl.data.foreign import answers
from vlmrl.data.foreign.answers import ANSWERS, ReadAnswer, column, last_turn
from vlmrl.data.foreign.row import is_null, literal

Columns = Mapping[str, Any]
VQA_ANSWERS = (*ANSWERS, "answers", "response")


class Schema(NamedTuple):
    """The columns of a toolkit."""

    prompt: tuple[str, ...]
    answer: ReadAnswer
    is_one: Callable[[Columns], bool]
    """Whether a row is one of this schema, as its columns say."""
    id: str = "id"
    source: str | None = None
    task: str | None = None
    context: str | None = None
    """A column with text that belongs before the question."""


def has(*names: str) -> Callable[[Columns], bool]:
    """Whether the row has all of these columns."""
    return lambda columns: set(names) <= columns.keys()


def _has_verifier(columns: Columns) -> bool:
    model = columns.get("reward_model")
    model = literal(model) if isinstance(model, str) else model
    return "prompt" in columns and isinstance(model, dict) and "verifier" in model


def _is_vlm_r1(columns: Columns) -> bool:
    turns = columns.get("conversations")
    last = turns[-1] if isinstance(turns, list) and turns and isinstance(turns[-1], dict) else {}
    given = columns.get("solution", last.get("value", ""))
    return ({"problem", "solution"} <= columns.keys() or "conversations" in columns) and (
        "normal_caption" in columns or not isinstance(given, str)
    )


def _has_parts(columns: Columns) -> bool:
    turns = columns.get("messages")
    return isinstance(turns, list) and any(
        isinstance(turn.get("content"), list) for turn in turns if isinstance(turn, dict)
    )


def _has_image_1(columns: Columns) -> bool:
    return bool({"question", "problem"} & columns.keys()) and {"image_1", "answer"} <= columns.keys()


def _is_easyr1(columns: Columns) -> bool:
    is_empty = columns.get("answer") in (None, "")
    return {"problem", "answer"} <= columns.keys() and not (is_empty and columns.get("solution"))


def _is_trl(columns: Columns) -> bool:
    return "prompt" in columns and any(name in columns for name in VQA_ANSWERS)


def _has_answer(*prompts: str) -> Callable[[Columns], bool]:
    return lambda columns: (
        any(name in columns for name in prompts) and any(not is_null(columns.get(name)) for name in VQA_ANSWERS)
    )


MAPPED = Schema(
    ("problem", "messages", "conversations", "prompt", "question", "query"), last_turn, lambda columns: False
)
"""Columns that --map names; those that it does not name have their usual names."""
SCHEMAS = {
    # data_source, images, prompt, ability, reward_model{answer, ground_truth, accuracy_ratio, format_ratio, verifier,
    # verifier_parm{det_verifier_normalized, det_reward_ratio}}, extra_info{id}
    "v_triune": Schema(("prompt",), answers.v_triune, _has_verifier, "extra_info.id", "data_source", "ability"),
    # data_source, prompt, images, videos, audios, ability, reward_model{ground_truth}, extra_info
    "verl": Schema(("prompt",), answers.verl, has("prompt", "reward_model"), "", "data_source", "ability"),
    # image_path, problem, changed_caption, solution_original, solution_target
    "vicrit": Schema(("problem",), answers.vicrit, has("problem", "changed_caption", "solution_target")),
    # problem_id, problem, problem_type, options, solution, path, data_type, data_source
    "video_r1": Schema(
        *(("problem",), answers.video_r1, has("problem", "path", "data_type")),
        *("problem_id", "data_source", "problem_type"),
    ),
    # index, question, hint, A, B, C, D, answer, image (base64), category
    "vlmevalkit": Schema(
        *(("question",), column("answer", "solution"), has("index", "question", "answer")),
        *("index", None, "category", "hint"),
    ),
    # id, question with <image 1>, options (a list as text), answer, question_type, image_1 ... image_7
    "mmmu": Schema(("question", "problem"), answers.mmmu, _has_image_1, task="question_type"),
    # image, problem, solution [x1, y1, x2, y2], normal_caption; or conversations that end with the box
    "vlm_r1": Schema(("problem", "conversations"), answers.boxes_or_text, _is_vlm_r1),
    # image | video, conversations [{from: human | gpt, value}]; ShareGPT alike
    "llava": Schema(("conversations",), last_turn, has("conversations"), source="data_source"),
    # messages with parts text, image, image_url, video, audio; and an answer, or the assistant's last turn
    "openai": Schema(("messages",), last_turn, lambda columns: _has_parts(columns) and "objects" not in columns),
    # messages, images, videos, audios, objects{bbox, ref}; and solution, or the assistant's last turn
    "ms_swift": Schema(("messages",), answers.ms_swift, has("messages")),
    # problem, answer, images | videos
    "easyr1": Schema(("problem",), column("answer", "solution"), _is_easyr1),
    # image, problem, solution with answer tags; R1-V alike
    "visual_rft": Schema(("problem",), answers.visual_rft, has("problem", "solution")),
    # prompt (text or a chat), image | images, and solution | answer | ground_truth | target
    "trl": Schema(("prompt",), column(*ANSWERS), _is_trl),
    # question | query, image | images, options | choices, and answer | answers | response
    "vqa": Schema(("question", "query"), column(*VQA_ANSWERS), _has_answer("question", "query")),
}


def recognised(columns: Columns) -> str | None:
    """The name of the first schema whose columns a row has, or None."""
    return next((name for name, schema in SCHEMAS.items() if schema.is_one(columns)), None)
