r"""Prompts of other toolkits: chats, content parts and marks become turns of text with a mark for each medium.

    turns, inline = chat(row, "messages")            content parts may hold media of their own
    turns, media = placed(turns, media, row)         "<image 2> or <image 1>?" -> "<image> or <image>?", media in order

A mark that stands for no medium is an error, never text; `\<img>` is the text `<img>`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
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
_NUMBERED = re.compile(r"(?<!\\)<\|?(image|video|audio)[ _-]?(\d{1,3})\|?>", re.IGNORECASE)
_UNKNOWN = re.compile(
    r"(\\?)((?:<\|?/?(?:start_of_|begin_of_|end_of_)?(?:image|img|video|vid|audio|picture|photo|vision)s?"
    r"(?:[\s_:/.-][^<>\n]{0,200}|(?:here|pad|start|end|context|token|content)[^<>\n]{0,20})?\|?>)"
    r"|<(?:bbox|ref-object)>|!\[[^\]\n]{0,200}\]\([^)\n]{1,400}\))",
    re.IGNORECASE,
)
_SPEAKS = re.compile(
    r"\b(?:in|from|of|at|see|to|on|using|given|consider|describe) (?:the|this|these|that|each)(?: \w+)? "
    r"(?:image|picture|photo|photograph|screenshot|video|clip|diagram|figure|chart)s?\b"
    r"(?!\s+of\b)"
    r"|\b(?:the|this) (?:image|picture|photo|photograph|screenshot|video|diagram|figure|chart) "
    r"(?:above|below|shows?|depicts)\b"
    r"|\b(?:shown|pictured|depicted) (?:above|below|here)\b|(?:图|视频)(?:中|里)",
    re.IGNORECASE,
)


# --- turns ------------------------------------------------------------------------------------------------


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
        if marks == 0 and not _NUMBERED.search(text):
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
                return mark
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


# --- marks ------------------------------------------------------------------------------------------------


def placed(turns: Turns, media: MediaLists, row: Row, text_only: bool) -> MediaLists:
    """Gives every medium one mark in the turns, which are changed; returns the media in the order of the marks.

    Numbered marks are placed where they are first mentioned. A kind without marks is put before the first turn of the
    user. `UserError` for marks without a medium, and for a prompt that speaks of media that it does not get.
    """
    prompt = turns[:-1] if turns[-1]["role"] == "assistant" else turns
    front = ""
    ordered: MediaLists = {}
    for kind, mark in MARKS.items():
        items = media.get(kind, [])
        marks = sum(MARK.findall(turn["content"]).count(mark) for turn in prompt)
        order = _number(prompt, kind, items, row, marks)
        unplaced = [n for n in range(len(items)) if n not in order] if marks == 0 else []
        front += mark * len(unplaced)
        if items:
            ordered[kind] = [items[n] for n in (*unplaced, *order)] if marks == 0 else items
        elif marks:
            raise UserError(
                f"{row.where}: prompt: {mark} without {kind} in the row; name their column with --map {kind}=COLUMN, "
                rf"or write \{mark} where it is text"
            )
    for turn in prompt:
        turn["content"] = _UNKNOWN.sub(lambda match: _known(match, row), turn["content"])
    for turn in prompt:
        if turn["role"] == "user":
            turn["content"] = f"{front}{turn['content']}"
            break
    _check_mentions(prompt, ordered, row, text_only)
    return ordered


def _number(prompt: Turns, kind: str, items: list[Media], row: Row, marks: int) -> list[int]:
    """Replaces the numbered marks of a kind; returns the indices of the media in the order of their first mention."""
    one = kind.removesuffix("s")
    numbers = row.numbers.get(kind, [])
    mentioned = {int(m[2]) for turn in prompt for m in _NUMBERED.finditer(turn["content"]) if m[1].lower() == one}
    if 0 in mentioned and 0 not in numbers:
        numbers = [number - 1 for number in numbers]
    if mentioned - set(numbers):
        unknown = min(mentioned - set(numbers))
        held = f"{kind} {str(numbers)[1:-1]:.60}" if numbers else f"no {kind}"
        raise UserError(
            f"{row.where}: prompt: unknown mark <{one} {unknown}>, the row has {held}; name their columns with "
            f"--map {kind}=A,B, or write \\<{one} {unknown}> where it is text"
        )
    order: list[int] = []

    def replaced(match: re.Match[str]) -> str:
        if match[1].lower() != one:
            return match[0]
        index = numbers.index(int(match[2]))
        if marks or index in order:
            return f"{one} {match[2]}"
        order.append(index)
        return MARKS[kind]

    for turn in prompt:
        turn["content"] = _NUMBERED.sub(replaced, turn["content"])
    return order


def without_numbers(text: str) -> str:
    """The text with numbered marks as words: `<image 2>` becomes `image 2`."""
    return _NUMBERED.sub(lambda match: f"{match[1].lower()} {match[2]}", text)


def _known(match: re.Match[str], row: Row) -> str:
    escaped, mark = match[1], match[2]
    if mark in MARKS.values():
        return match[0]
    if escaped:
        return mark
    raise UserError(
        f"{row.where}: prompt: unknown mark {mark!r:.60}; say what it stands for, as in "
        rf"--replace '{mark[:60]}=<image>', or write \{mark[:60]} where it is text"
    )


def _check_mentions(prompt: Turns, media: Mapping[str, list[Media]], row: Row, text_only: bool) -> None:
    """`UserError` for a prompt without media that speaks of a picture or a video."""
    if text_only or any(media.values()):
        return
    for turn in prompt:
        if match := _SPEAKS.search(turn["content"]):
            raise UserError(
                f"{row.where}: prompt: speaks of {match[0]!r} but the row has no media; name their column with "
                "--map images=COLUMN, or say --text-only if the rows are complete"
            )
