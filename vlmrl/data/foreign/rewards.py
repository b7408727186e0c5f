"""Rewards of other toolkits' rows: from an answer column to a verifier, its target and its parameters.

    spec = reward_spec(Answer("<answer>[[84, 112, 336, 336]]</answer>", "dynamic_iou"), task)
    spec["target"]     [[84, 112, 336, 336]]
    spec["params"]     {"coords": "pixels", "image_size": [840, 560]}

Where a row does not name its verifier, `pick` does: `choice` for a row with options, boxes, counts, yes or no, `math`
for numbers and formulas, and texts for the rest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from vlmrl import catalog
from vlmrl.data.foreign.marks import without_numbers
from vlmrl.data.foreign.options import LETTERS
from vlmrl.data.foreign.places import framed, has_tags, numbers_in, spoken
from vlmrl.data.foreign.row import bare, literal, texts_in
from vlmrl.data.foreign.task import Answer, Task
from vlmrl.errors import UserError, one_line
from vlmrl.reading.boxes import BOX_KEYS
from vlmrl.reading.numbers import parse_number
from vlmrl.rewards.composite import check_spec
from vlmrl.sample import RewardSpec

WITH_CHOICES = ("choice", "grounded_qa")
"""Verifiers whose options are a column of the row; `relaxed` uses them for one of its rules alone."""
DURATIONS = ("duration", "video_length", "video_duration")

_ASKS_FOR_A_PLACE = re.compile(
    r"\b(?:bounding|bbox|box(?:es)?|locat\w+|locali[sz]e|detect|coordinates?|ground(?:ing)?|where|find"
    r"|point to|outline)\b|坐标|定位|框出|位置|找出|哪里",
    re.IGNORECASE,
)
_OPTIONS = re.compile(r"(?<![A-Za-z])A[).:、].*(?<![A-Za-z])B[).:、]", re.DOTALL)
_TEXT = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{2}|\d{4})|\d{1,2}:\d{2}(?::\d{2})?(?: ?[ap]\.?m\.?)?"
    r"|(?:\+?\d{1,3}[- ])?(?:\(?\d{3}\)?[- ])?\d{3}-\d{4}|0\d+",
    re.IGNORECASE,
)
"""Dates, clock times, phone numbers and numbers with leading zeros, which are not computed with."""
_FORMULA = re.compile(r"[\d\\=^√π∞°±]|^\W*[A-Za-zα-ω]\W*$")


def reward_spec(answer: Answer, task: Task) -> dict[str, Any]:
    """The spec of the answer; `UserError` names the row for a target that the verifier cannot judge."""
    where = task.row.where
    value = bare(answer.value)
    if value is None or value == "":
        raise UserError(f"{where}: reward.0: target is missing or null; give the true answer or drop the row")
    verifier = answer.verifier
    assert verifier is not None, "pick one first"
    params = dict(answer.params)
    accepted = catalog.parameters(verifier)
    if verifier in WITH_CHOICES and task.options:
        params.setdefault("choices", [without_numbers(option) for option in task.options])
        value = _lettered(value, task.options, task.first_option, where)
    if "caption" in accepted and (caption := task.row.first("changed_caption", "caption")):
        params.setdefault("caption", caption)
    if "duration" in accepted and isinstance(duration := task.row.first(*DURATIONS), int | float):
        params.setdefault("duration", float(duration))
        _check_unit(value, params, where)
    if "duration" in accepted and isinstance(value, str):
        value = literal(value)
    if "coords" in accepted:
        value, frame = framed(value, answer, task, params)
        params = frame | params
        try:
            check_spec(RewardSpec(verifier=verifier, target=value, params=params))
        except ValidationError as error:
            raise UserError(f"{where}: answer: {one_line(error, RewardSpec)}") from None
        except UserError as error:
            hint = "; is --coords right?" if "outside the image" in str(error) else ""
            raise UserError(f"{where}: answer: {error}{hint}") from None
    return {
        "verifier": verifier,
        "target": _fitting(verifier, value, params),
        "params": params,
        "weight": answer.weight,
    }


def _check_unit(value: Any, params: Mapping[str, Any], where: str) -> None:
    """`UserError` for times that may be shares of the duration, where the unit is not stated."""
    times = list(numbers_in(literal(value) if isinstance(value, str) else value))
    if times and max(times) <= 1 < params["duration"] and "unit" not in params:
        raise UserError(
            f"{where}: answer: {value!r:.60}: no time is above 1; say whether they are seconds or shares of the "
            """duration, --params unit='"seconds"' or '"fraction"' (then also answer_unit)"""
        )


def _fitting(verifier: str, value: Any, params: dict[str, Any]) -> Any:
    """The target as it stands, or read as JSON or a Python literal if the verifier takes only that.

    A target that it takes in neither form stays, for `vlmrl data check` to name.
    """
    if verifier == "math" and isinstance(value, list) and not any(isinstance(item, str) for item in value):
        return json.dumps(value)  # one list, not alternatives
    read = literal(value) if isinstance(value, str) else value
    # A model writes no list of quoted texts: its items are alternatives.
    if isinstance(read, list) and read and all(isinstance(item, str) for item in read):
        value = read
    if type(read) is type(value) or _takes(verifier, value, params) or not _takes(verifier, read, params):
        return value
    return read


# --- which verifier -----------------------------------------------------------------------------------------


def pick(value: Any, task: Task) -> tuple[str, dict[str, Any]]:
    """The verifier, and its params, for an answer that names none."""
    verifier = _pick(value, task)
    # A wrong text earns nothing for the letters that it shares with the true one.
    return verifier, {"metric": "anls"} if verifier == "ocr" else {}


def _pick(value: Any, task: Task) -> str:
    ability = task.ability.lower()
    read = literal(value) if isinstance(value, str) else value
    if isinstance(read, dict | list) and _holds_boxes(read, task):
        return "dynamic_iou"
    if isinstance(read, str) and (has_tags(read) or ("[" in read and _asks_for_a_place(task))) and spoken(read):
        return "dynamic_iou"
    texts = [text.strip() for text in texts_in(read if isinstance(read, list) else value)]
    if task.options or _is_option(value, task):
        return "choice"
    if not texts:
        return "math"
    if "count" in ability and all(parse_number(text) is not None for text in texts):
        return "counting"
    if all(text.lower() in ("yes", "no") for text in texts):
        return "yes_no"
    if any(map(_TEXT.fullmatch, texts)):
        return "ocr" if "ocr" in ability else "exact"
    if all(_FORMULA.search(text) and _takes("math", text) for text in texts) and not _reads_text(ability, texts):
        return "math"
    return "ocr" if "ocr" in ability else "exact"


def _reads_text(ability: str, texts: list[str]) -> bool:
    """Whether the answers are texts to read, even if some hold digits: `Flight 12A`."""
    return "ocr" in ability and any(re.search(r"[A-Za-z]{2}", text) and "\\" not in text for text in texts)


def _holds_boxes(value: Any, task: Task) -> bool:
    items = value if isinstance(value, list) else [value]
    if any(isinstance(item, dict) and any(key in item for key in (*BOX_KEYS, "Position")) for item in items):
        return True
    is_nested = bool(items) and all(isinstance(item, list) for item in items)
    rows = items if is_nested else [items]
    four = all(len(row) == 4 and all(isinstance(n, int | float) for n in row) for row in map(_numbers, rows))
    # Four numbers may be an answer in mathematics.
    return four and _asks_for_a_place(task)


def _numbers(value: list[Any]) -> list[Any]:
    return [literal(item) if isinstance(item, str) else item for item in value]


def _asks_for_a_place(task: Task) -> bool:
    return bool(task.media.get("images")) and bool(_ASKS_FOR_A_PLACE.search(task.question))


def _is_option(value: Any, task: Task) -> bool:
    """Whether the answer is the letter of an option that the prompt shows."""
    if not isinstance(value, str) or not re.fullmatch(r"\s*[(\[]?[A-J][)\].]?\s*", value):
        return False
    return bool(_OPTIONS.search(task.question))


def _takes(verifier: str, target: Any, params: Mapping[str, Any] = MappingProxyType({})) -> bool:
    try:
        check_spec(RewardSpec(verifier=verifier, target=target, params=dict(params)))
    except ValueError:
        return False
    return True


def _lettered(value: Any, options: list[str], first: int, where: str) -> Any:
    """The letter of an answer that is the number of an option, counted from `first`; other answers as they are."""
    if (
        isinstance(value, str)
        and first == 1
        and (match := re.fullmatch(r"\s*[(\[]?(\d{1,2})[)\].:]*(?:\s+(.*))?", value))
    ):
        value = int(match[1]) if match[2] is None or match[2].strip() in options else value
    is_index = (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, str) and value.isdecimal() and value not in options
    )
    if not is_index or not 0 <= (index := int(value) - first) < len(options):
        return value
    if str(value) in options and options.index(str(value)) != index:
        raise UserError(
            f"{where}: answer: {value} is both the number of an option and the text of another; give its letter"
        )
    return LETTERS[index]
