"""What other toolkits keep beside the prompt: earlier turns, the system's text, and texts to answer from.

turns = with_context(row, turns, "hint")            `history` and `system` before the turns, the hint in the question
"""

from __future__ import annotations

from typing import Any

from vlmrl.data.foreign.prompts import ROLES, Turns
from vlmrl.data.foreign.row import Row, is_null, literal, texts_in
from vlmrl.errors import UserError

SYSTEM = ("system", "system_prompt")
_TEXTS = ("context", "hint", "lecture", "passage")
"""Columns with texts that the question may need."""
_SHORT = 3
"""A text of so few words is not a passage."""


def with_context(row: Row, turns: Turns, context: str | None) -> Turns:
    """The turns after those of `history` and `system`; the text of column `context` stands before the question.

    `UserError` for another column with a passage: whether the question needs it, its name does not say.
    """
    text = "\n".join(texts_in(row.first(context))) if context else ""
    for name in _TEXTS:
        other = "\n".join(texts_in(row.columns.get(name)))
        shown = " ".join(str(turn["content"]) for turn in turns)
        if name not in row.used and len(other.split()) > _SHORT and other not in shown:
            raise UserError(
                f"{row.where}: {name}: {other!r:.60}: a text that the prompt does not show; put it before the question "
                f"with --map context={name}, or leave it out with --drop {name}"
            )
    if text:
        first = next(turn for turn in turns if turn["role"] == "user")
        first["content"] = f"{text}\n{first['content']}"
    turns = _history(row) + turns
    system = row.first(*SYSTEM)
    if system in (None, ""):
        return turns
    given = [turn for turn in turns if turn["role"] == "system"]
    if not isinstance(system, str) or (given and given[0]["content"] != system):
        raise UserError(f"{row.where}: system: expected the text of the only turn of the system, got {system!r:.80}")
    return turns if given else [{"role": "system", "content": system}, *turns]


def _history(row: Row) -> Turns:
    """The earlier turns: pairs of a question and its answer, or turns with a role."""
    value = row.first("history")
    value = literal(value) if isinstance(value, str) and value.strip() else value
    turns: Turns = []
    for item in value if isinstance(value, list) else [value] if value else []:
        pair = zip(("user", "assistant"), item, strict=False) if _is_pair(item) else ()
        found = [_turn(item)] if isinstance(item, dict) else [{"role": role, "content": text} for role, text in pair]
        if not found or not all(isinstance(turn["content"], str) for turn in found):
            raise UserError(f"{row.where}: history: expected pairs of a question and its answer, got {item!r:.80}")
        turns += found
    return turns


def _is_pair(item: Any) -> bool:
    return isinstance(item, list | tuple) and len(item) == 2


def _turn(item: dict[str, Any]) -> dict[str, Any]:
    role = item.get("role", item.get("from"))
    content = item.get("content", item.get("value"))
    return {"role": ROLES.get(str(role), role), "content": None if is_null(content) else content}
