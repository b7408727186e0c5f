"""Options of other toolkits' rows: read from a list, an object, text or the columns A, B, ...; shown in the prompt.

options_of(Row({"options": "['A. a cat', 'B. a dog']"}, where, root))     ["a cat", "a dog"]
"""

from __future__ import annotations

import re

from vlmrl.data.foreign.prompts import Turns
from vlmrl.data.foreign.row import Row, literal

_LABEL = re.compile(r"\s*[(\[]?([A-Z])(?:[)\].:：、])+\s*(?=\S)")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def options_of(row: Row) -> list[str] | None:
    """The texts of the row's options without their letters, or None. They may be a list, an object or text."""
    value = row.first("options", "choices")
    if isinstance(value, str):
        parsed = literal(value)
        value = parsed if isinstance(parsed, list | dict) else [line for line in value.splitlines() if line.strip()]
    if isinstance(value, dict):
        value = value["text"] if isinstance(value.get("text"), list) else list(value.values())
    if value is None and {"A", "B"} <= row.columns.keys():
        value = [text for letter in LETTERS if letter in row.columns and (text := row.get(letter)) not in (None, "")]
    if not isinstance(value, list) or not value:
        return None
    texts = [str(item) for item in value]
    labels = [_LABEL.match(text) for text in texts]
    if all(label and label[1] == letter for label, letter in zip(labels, LETTERS, strict=False)):
        texts = [text[label.end() :] for text, label in zip(texts, labels, strict=False) if label]
    return [text.strip() for text in texts]


def shows(turns: Turns, options: list[str]) -> bool:
    """Whether the prompt shows every option with its letter, or all of them as texts of some length."""
    text = " ".join(" ".join(turn["content"] for turn in turns if turn["role"] != "assistant").split())
    flat = [" ".join(option.split()) for option in options]
    lettered = (
        re.search(rf"(?<![A-Za-z]){letter}\W{{0,3}}\s*{re.escape(option)}", text)
        for letter, option in zip(LETTERS, flat, strict=False)
    )
    return all(lettered) or (all(option in text for option in flat) and min(map(len, flat)) > 2)


def with_options(turns: Turns, options: list[str]) -> None:
    """Adds the options to the last turn of the user."""
    last = max(n for n, turn in enumerate(turns) if turn["role"] == "user")
    listed = "".join(f"\n{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))
    turns[last]["content"] += listed
