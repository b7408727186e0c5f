"""Converts rows of other toolkits to samples: `vlmrl data convert FILE --from v_triune|easyr1|trl|verl --out FILE`.

    v_triune  data_source, images, prompt, ability, reward_model{answer, ground_truth, accuracy_ratio,
              format_ratio, verifier, verifier_parm}, extra_info{id}
    easyr1    problem, answer, images | videos
    trl       prompt (text or chat), image | images, and solution | answer | ground_truth | target
    verl      data_source, prompt, images, videos, audios, ability, reward_model{ground_truth}, extra_info

Only V-Triune's rows name their verifier: `mathverify` becomes `math`, `detection` becomes `dynamic_iou`, and a
`format_ratio` above 0 adds `format` with that weight. In the other schemas one verifier judges the answers of the
whole file (`--verifier`, default `math`). Other columns go to `meta` if they are scalars. If the text has no media
marks, they are added before the first user turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vlmrl.data.foreign_row import Row, fields_of, first_given, literal
from vlmrl.data.media import image_size
from vlmrl.errors import UserError
from vlmrl.files import read_rows
from vlmrl.reading import answers
from vlmrl.sample import MARKS, Media, Sample, sample_from_row

ANSWER_COLUMNS = ("solution", "answer", "ground_truth", "target")
BOX_VERIFIERS = ("dynamic_iou",)
"""Verifiers whose target is a list of boxes, which other toolkits store as text."""
LAYOUT = "think_answer"
"""The layout in V-Triune's prompts: reasoning in think tags, then the answer in answer tags."""


def convert_file(path: str, schema: str, verifier: str = "math") -> Iterator[Sample]:
    """Streams the rows of a .jsonl or .parquet file as samples; `UserError` names file, row and field."""
    file = Path(path)
    number = 0
    for number, (where, row) in enumerate(read_rows(file), 1):
        if not isinstance(row, dict):
            raise UserError(f"{where}: expected an object, got {type(row).__name__}")
        source = Row(row, where, file.resolve().parent)
        converted = READERS[schema](source, verifier)
        converted.setdefault("source", file.stem)
        given = first_given(converted, "id")
        converted["id"] = f"{converted['source']}-{number}" if given is None else str(given)
        converted["meta"] = source.leftover()
        yield sample_from_row(converted, where)
    if number == 0:
        raise UserError(f"{path}: holds no rows")


# --- a reader for each schema -----------------------------------------------------------------------------


def read_v_triune(row: Row, _verifier: str) -> dict[str, Any]:
    """V-Triune (arXiv 2505.18129, section 3.1): the row states its verifier and the weights of its parts."""
    model = row.struct("reward_model")
    media = row.media()
    kind = model.get("verifier")
    if kind == "mathverify":
        spec = {"verifier": "math", "target": bare(first_given(model, "answer", "ground_truth"))}
    elif kind == "detection":
        spec = _detection(row, model, media)
    else:
        expected = "'mathverify' or 'detection'"
        raise UserError(f"{row.where}: reward_model.verifier: expected {expected}, got {kind!r}")
    reward = [spec | {"weight": model.get("accuracy_ratio", 1.0)}]
    layout_weight = model.get("format_ratio", 0.0)
    if not isinstance(layout_weight, int | float):
        raise UserError(f"{row.where}: reward_model.format_ratio: expected a number, got {layout_weight!r:.80}")
    if layout_weight > 0.0:
        reward.append({"verifier": "format", "target": LAYOUT, "weight": layout_weight})
    return {
        "id": row.struct("extra_info").get("id"),
        "source": row.need("data_source"),
        "task": row.get("ability") or "",
        "messages": with_marks(chat(row, "prompt"), media),
        "media": media,
        "reward": reward,
    }


def _detection(row: Row, model: dict[str, Any], media: dict[str, list[Media]]) -> dict[str, Any]:
    # Normalised rows hold boxes in 0 to 1000, but the model answers in pixels of its image.
    field = f"{row.where}: reward_model.verifier_parm"
    parameters = fields_of(model.get("verifier_parm"), field)
    ratio = fields_of(parameters.get("det_reward_ratio"), f"{field}.det_reward_ratio")
    target = boxes(first_given(model, "ground_truth", "answer"), f"{row.where}: reward_model.ground_truth")
    params: dict[str, Any] = {"completeness": ratio.get("iou_completeness", 0.3), "coords": "pixels"}
    if parameters.get("det_verifier_normalized"):
        params |= {"coords": "relative_1000", "answer_coords": "pixels"}
    if not media.get("images"):
        raise UserError(f"{row.where}: images: missing; a detection row needs its image")
    try:
        params["image_size"] = list(image_size(media["images"][0]))
    except UserError as error:
        raise UserError(f"{row.where}: images: {error}") from None
    return {"verifier": "dynamic_iou", "target": target, "params": params}


def read_easyr1(row: Row, verifier: str) -> dict[str, Any]:
    """EasyR1: a question and its answer."""
    media = row.media()
    problem = row.need("problem")
    if not isinstance(problem, str):
        raise UserError(f"{row.where}: problem: expected text, got {problem!r:.80}")
    return {
        "id": row.get("id"),
        "messages": with_marks([{"role": "user", "content": problem}], media),
        "media": media,
        "reward": [reward_spec(row.need("answer"), verifier, row.where)],
    }


def read_trl(row: Row, verifier: str) -> dict[str, Any]:
    """TRL: a prompt, and the first column of `ANSWER_COLUMNS` in the row."""
    media = row.media()
    return {
        "id": row.get("id"),
        "messages": with_marks(chat(row, "prompt"), media),
        "media": media,
        "reward": [reward_spec(row.need(*ANSWER_COLUMNS), verifier, row.where)],
    }


def read_verl(row: Row, verifier: str) -> dict[str, Any]:
    """verl: the ground truth of the reward model; `verifier` replaces verl's scorers by source."""
    media = row.media()
    model = row.struct("reward_model")
    if "ground_truth" not in model:
        raise UserError(f"{row.where}: reward_model.ground_truth: missing; is --from the right one?")
    return {
        "source": row.need("data_source"),
        "task": row.get("ability") or "",
        "messages": with_marks(chat(row, "prompt"), media),
        "media": media,
        "reward": [reward_spec(model["ground_truth"], verifier, row.where)],
    }


READERS = {"v_triune": read_v_triune, "easyr1": read_easyr1, "trl": read_trl, "verl": read_verl}


# --- parts of a row ---------------------------------------------------------------------------------------


def chat(row: Row, column: str) -> list[dict[str, Any]]:
    """The turns of a prompt. Plain text is one user turn; parts of content become text with marks."""
    prompt = row.need(column)
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    if not isinstance(prompt, list) or not all(isinstance(turn, dict) for turn in prompt):
        raise UserError(f"{row.where}: {column}: expected text or a list of turns, got {prompt!r:.80}")
    field = f"{row.where}: {column}"
    return [
        {"role": turn.get("role"), "content": _flat(turn.get("content"), f"{field}.{index}.content")}
        for index, turn in enumerate(prompt)
    ]


def _flat(content: Any, field: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise UserError(f"{field}: expected text or a list of parts, got {content!r:.80}")
    return "".join(_part(part, f"{field}.{index}") for index, part in enumerate(content))


def _part(part: Any, field: str) -> str:
    if isinstance(part, dict):
        kind, text = part.get("type") or "text", part.get("text")
        if f"<{kind}>" in MARKS.values():
            return f"<{kind}>"
        if kind == "text" and isinstance(text, str):
            return text
    raise UserError(f"{field}: expected a part of type text, image, video or audio, got {part!r:.80}")


def with_marks(turns: list[dict[str, Any]], media: dict[str, list[Media]]) -> list[dict[str, Any]]:
    """The turns, with marks before the first user turn for each modality without marks."""
    text = "".join(turn["content"] for turn in turns)
    missing = "".join(MARKS[kind] * len(items) for kind, items in media.items() if MARKS[kind] not in text)
    for turn in turns:
        if turn["role"] == "user":
            turn["content"] = f"{missing}{turn['content']}"
            break
    return turns


def reward_spec(answer: Any, verifier: str, where: str) -> dict[str, Any]:
    """The reward of a row whose answer is judged by `verifier`."""
    target = boxes(answer, f"{where}: answer") if verifier in BOX_VERIFIERS else bare(answer)
    return {"verifier": verifier, "target": target}


def bare(answer: Any) -> Any:
    r"""A true answer without its markup: `<answer>\boxed{4}</answer>` and `\boxed{4}` become `4`."""
    marked = answers.marked(answer) if isinstance(answer, str) else None
    return answers.unfenced(marked.text).strip() if marked else answer


def boxes(text: Any, field: str) -> Any:
    """The boxes in a true answer, which is JSON or a Python literal, possibly in answer tags."""
    value = bare(text)
    if isinstance(value, str):
        value = literal(value)
    if not isinstance(value, list | dict):
        raise UserError(f"{field}: expected a list of boxes, got {text!r:.80}")
    return value
