"""Options of other toolkits' rows: read from a list, an object, text or the columns A, B, ...; shown in the prompt.

options_of(Row({"options": "['A. a cat', 'B. a dog']"}, where, root))     ["a cat", "a dog"]
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from vlmrl.data.foreign.prompts import Turns
from vlmrl.data.foreign.row import Row, is_null, literal
from vlmrl.errors import UserError

_LABEL = re.compile(r"\s*[(\[]?(?:([A-Za-z])[)\].:：、]+|(\d{1,2})(?:[)\]、]+|[.:：]+(?=\s)))\s*(?=\S)")
_IS_LABEL = re.compile(r"[A-Za-z]|\d{1,2}")
_NEXT = re.compile(r"\n|[|;,]?\s+(?=[(\[]?[A-J][)\].:、]+\s)|[|;](?=[(\[]?[A-J][)\].:、]+\s)")
"""Where the next option begins in text."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LABELS = ("label", "letter", "key", "id")
_TEXTS = ("text", "content", "value", "option")

Pairs = list[tuple[Any, Any]]
"""Each option with its label: a letter, a number or None."""


class Options(NamedTuple):
    """The texts of options without their labels."""

    texts: list[str]
    first: int = 0
    """The number of the first: an answer may be a number; 1 if the row numbers its options so."""


def options_of(row: Row) -> Options | None:
    """The row's options in the order of their letters, or None; `UserError` if one between others is missing."""
    given = [value for name in ("options", "choices") if _is_given(value := row.get(name))]
    if len(given) > 1 and given[0] != given[1]:
        raise UserError(f"{row.where}: options and choices differ; leave out one, --drop choices")
    pairs = _pairs(given[0]) if given else None
    if not pairs and {"A", "B"} <= row.columns.keys():
        pairs = [(letter, row.get(letter)) for letter in LETTERS if letter in row.columns]
    if not pairs or not any(_is_given(text) for _, text in pairs):
        return None
    if len(pairs) == 1 or any(isinstance(text, list | dict) for _, text in pairs):
        raise UserError(f"{row.where}: options: expected a list of at least two texts, got {given or pairs!r:.80}")
    labels = [str(label).strip().upper() for label, _ in pairs]
    if all(label in LETTERS and label for label in labels):
        pairs = sorted(zip(labels, (text for _, text in pairs), strict=True))
        labels = [label for label, _ in pairs]
    while pairs and not _is_given(pairs[-1][1]):
        pairs.pop()
    labels, texts = labels[: len(pairs)], [text for _, text in pairs]
    if not all(map(_is_given, texts)) or (labels[:1] != ["NONE"] and not _start(labels)):
        raise UserError(f"{row.where}: options: {texts!r:.80}: one between the others is missing; correct the row")
    texts = [str(text) for text in texts]
    matches = [_LABEL.match(text) for text in texts]
    inner = [(match[1] or match[2]).upper() if match else "" for match in matches]
    if start := _start(inner):
        texts = [text[match.end() :] for text, match in zip(texts, matches, strict=True) if match]
    start = start or _start(labels)
    return Options([text.strip() for text in texts], 1 if start == "1" else 0) if texts else None


def _is_given(value: Any) -> bool:
    return not is_null(value) and value != ""


def _start(labels: list[str]) -> str | None:
    """The first label if the labels are A, B, ..., or 0, 1, ..., or 1, 2, ...; else None."""
    numbers = [str(number) for number in range(len(labels) + 1)]
    sequences = (list(LETTERS[: len(labels)]), numbers[:-1], numbers[1:])
    return labels[0] if labels and labels in sequences else None


def _pairs(value: Any) -> Pairs | None:
    """The options of a list, an object or text."""
    if isinstance(value, str):
        parsed = literal(value)
        value = parsed if isinstance(parsed, list | dict) else [line for line in _NEXT.split(value) if line.strip()]
    if isinstance(value, dict):
        if isinstance(texts := value.get("text"), list):
            labels = value.get("label")
            return list(zip(labels if isinstance(labels, list) else [None] * len(texts), texts, strict=False))
        is_labelled = all(_IS_LABEL.fullmatch(str(key)) for key in value)
        return [(key if is_labelled else None, text) for key, text in value.items()]
    return [_pair(item) for item in value] if isinstance(value, list | tuple) else None


def _pair(item: Any) -> tuple[Any, Any]:
    if isinstance(item, list | tuple) and len(item) == 2 and _IS_LABEL.fullmatch(str(item[0])):  # a map of parquet
        return item[0], item[1]
    if isinstance(item, dict):
        label, text = (next((item[key] for key in keys if key in item), None) for keys in (_LABELS, _TEXTS))
        return (label, text) if text is not None else (None, item)
    return None, item


def shows(turns: Turns, options: list[str], numbered: bool) -> bool:
    """Whether the prompt shows every option with its letter, or, unless `numbered`, all as texts of some length."""
    text = " ".join(" ".join(turn["content"] for turn in turns if turn["role"] != "assistant").split())
    flat = [" ".join(option.split()) for option in options]
    lettered = (
        re.search(rf"(?<![A-Za-z]){letter}\W{{0,3}}\s*{re.escape(option)}", text)
        for letter, option in zip(LETTERS, flat, strict=False)
    )
    return all(lettered) or (not numbered and all(option in text for option in flat) and min(map(len, flat)) > 2)


def numbers(turns: Turns, options: list[str]) -> bool:
    """Whether the prompt numbers the options from 1."""
    text = " ".join(" ".join(turn["content"] for turn in turns if turn["role"] == "user").split())
    flat = (" ".join(option.split()) for option in options)
    return all(re.search(rf"(?<!\d){n}[.):\]]+\s*{re.escape(option)}", text) for n, option in enumerate(flat, 1))


def with_options(turns: Turns, options: list[str]) -> None:
    """Adds the options to the last turn of the user."""
    last = max(n for n, turn in enumerate(turns) if turn["role"] == "user")
    listed = "".join(f"\n{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))
    turns[last]["content"] += listed
