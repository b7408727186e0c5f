"""Prompts of other toolkits: chats and content parts become turns of text.

turns, inline = chat(row, ("messages",))            content parts and turns may hold media of their own
"""

from __future__ import annotations

import re
from typing import Any

from vlmrl.data.foreign.media import entries
from vlmrl.data.foreign.row import Row, is_null, literal
from vlmrl.errors import UserError
from vlmrl.sample import MARK, MARKS, Media

Turns = list[dict[str, Any]]
"""Turns `{"role", "content"}` with text as content. The content of a last turn of the assistant may be any value."""
MediaLists = dict[str, list[Media]]

ROLES = {"human": "user", "gpt": "assistant", "model": "assistant", "bot": "assistant", "chatbot": "assistant"}
_TEXT_COLUMNS = ("problem", "question", "query")
"""Columns that hold a question; others hold a chat as well."""
NUMBERED = re.compile(r"(?<!\\)<\|?(image|video|audio)[ _-]?(\d{1,3})\|?>", re.IGNORECASE)


def chat(row: Row, columns: tuple[str, ...]) -> tuple[Turns, MediaLists]:
    """The turns of the first of these columns, and the media in their content parts. Plain text is one user turn."""
    prompt = row.need(*columns)
    column = next(name for name in columns if not is_null(row.columns.get(name)))
    if isinstance(prompt, str) and prompt.lstrip().startswith("[{"):
        prompt = literal(prompt)
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}], {}
    if not isinstance(prompt, list) or not all(isinstance(turn, dict) for turn in prompt):
        expected = "text or a list of turns" if column not in _TEXT_COLUMNS else "text"
        raise UserError(f"{row.where}: {column}: expected {expected}, got {prompt!r:.80}")
    media: MediaLists = {}
    contents = [turn.get("content", turn.get("value")) for turn in prompt]
    # Beside media parts, a mark in a text part is only text.
    escape = any(isinstance(part, dict) and _is_medium(part) for c in contents if isinstance(c, list) for part in c)
    turns = []
    for number, (turn, content) in enumerate(zip(prompt, contents, strict=True)):
        role = turn.get("role", turn.get("from"))
        role = ROLES.get(role, role) if isinstance(role, str) else role
        field = f"{column}.{number}.{'content' if 'content' in turn or 'value' not in turn else 'value'}"
        is_target = role == "assistant" and number == len(prompt) - 1
        if isinstance(content, list) and not (is_target and not any(map(_is_part, content))):
            parts = [_part(part, row, f"{field}.{n}", media) for n, part in enumerate(content)]
            content = "".join(
                MARK.sub(r"\\\1", part) if escape and part not in MARKS.values() else part for part in parts
            )
        elif not isinstance(content, str) and not (is_target and content is not None):
            raise UserError(f"{row.where}: {field}: expected text or a list of parts, got {content!r:.80}")
        if isinstance(content, str) and not is_target:
            content = _turn_media(turn, content, f"{column}.{number}", row, media)
        turns.append({"role": role, "content": content})
    if not any(turn["role"] == "user" for turn in turns):
        raise UserError(f"{row.where}: {column}: no turn of the user in {prompt!r:.80}; add one or drop the row")
    return turns, media


def _turn_media(turn: dict[str, Any], text: str, field: str, row: Row, media: MediaLists) -> str:
    """Adds the media that a turn has beside its text to `media`; returns the text, with a mark for each."""
    for kind, mark in MARKS.items():
        one = kind.removesuffix("s")
        held = [entry for name in (kind, one, f"{one}_path", f"{one}_url") for entry in entries(turn.get(name))]
        if not held:
            continue
        media.setdefault(kind, []).extend(row.medium(kind, entry) for entry in held)
        marks = MARK.findall(text).count(mark)
        if marks == 0 and not NUMBERED.search(text):
            text = mark * len(held) + text
        elif marks not in (0, len(held)):
            raise UserError(f"{row.where}: {field}: {marks} {mark} for {len(held)} {kind} of the turn; correct the row")
    return text


def _is_part(part: Any) -> bool:
    return isinstance(part, dict) and ("type" in part or "text" in part)


def _is_medium(part: dict[str, Any]) -> bool:
    return part.get("type", "text") not in (None, "text", "input_text", "output_text")


def _part(part: Any, row: Row, field: str, media: MediaLists) -> str:
    """The text of a content part; a mark for a medium, which is added to `media` if the part holds it."""
    if isinstance(part, dict):
        kind, text = part.get("type"), part.get("text")
        if kind in (None, "text", "input_text", "output_text") and isinstance(text, str):
            return text
        for plural, mark in MARKS.items():
            one = plural.removesuffix("s")
            if kind not in (None, one, plural, f"{one}_url", f"input_{one}"):
                continue
            names = (f"{one}_url", one, f"input_{one}", "url", "path", "bytes", "base64", "data")
            payload = next((part[name] for name in names if entries(part.get(name))), None)
            if payload is not None:
                media.setdefault(plural, []).append(row.medium(plural, payload))
                return mark
            if kind in (one, plural):
                index = part.get("index")
                return f"<{one} {index + 1}>" if isinstance(index, int) else mark
    raise UserError(f"{row.where}: {field}: expected a part of type text, image, video or audio, got {part!r:.80}")


def merged(row: Row, columns: MediaLists, inline: MediaLists) -> MediaLists:
    """The media of columns and of content parts; `UserError` where a kind is in both, unless they are the same."""
    for kind in inline:
        if kind in columns and columns[kind] != inline[kind]:
            raise UserError(
                f"{row.where}: {kind}: both the messages ({len(inline[kind])}) and columns of the row "
                f"({len(columns[kind])}) hold some; leave out the column with --drop"
            )
        row.numbers.setdefault(kind, list(range(1, len(inline[kind]) + 1)))
    return columns | inline
