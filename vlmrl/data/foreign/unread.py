"""Media that a row holds but its conversion does not read, by their values or by the names of their columns.

unread({"extra_info": {"second_image": "b.png"}}, used, seen)      ("extra_info.second_image", "b.png")
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vlmrl.data.foreign import media

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_STEM = re.compile(
    r"(?:image|img|pic|picture|photo|photograph|screenshot|video|clip|audio)s?(id|ids|path|url|file|name)?"
)
_COUNTS = {"n", "num", "number", "count", "total", "max", "min", "has", "is", "no", "with"}
"""Words before a medium that make the name one of a number or a flag."""
_IDS = {"id", "ids", "idx", "index", "name", "key", "hash", "number", "no", "sha", "md5"}
_ABOUT = re.compile(
    r"size|width|height|type|kind|category|class|label|captions?|desc(?:ription)?|title|text|source"
    r"|dataset|split|license|fps|duration|length|start|end|time|timestamp|format|mode|quality|resolution"
    r"|area|ratio|domain|style|tags?|date|author|credit|tokens?|grid|pixels|mime|ext|extension|language"
    r"|context|topic|scene|genre|score|objects|frames|w|h"
)
"""Words after a medium that make the name one of something about it."""
_TEXTS = ("content", "value", "text")


def unread(
    columns: Mapping[str, Any], used: set[str], seen: Callable[[Any], bool], by_name: bool, ids: bool
) -> tuple[str, Any] | None:
    """The first field that holds a medium that was not read, and its value; None if there is none.

    `by_name` also counts what only the name of a field calls a medium, and `ids` its ids.
    """
    for name, column in columns.items():
        if name in used and isinstance(column, str):
            continue
        for path, value in _leaves(column, (name,)):
            may_hold = isinstance(column, dict) or name in ("options", "choices") or _is_medium(name)
            is_text = name in used and not may_hold
            says = _says_medium(path, value, ids)
            if is_text and not (says and len(path) > 1):
                continue
            lost = [value] if by_name and says else [] if path[-1] in _TEXTS else list(media.media_in(value))
            if any(not seen(medium) for medium in lost):
                return ".".join(_field(path)), value
    return None


def _field(path: tuple[str, ...]) -> tuple[str, ...]:
    """The field that holds the whole medium: not its `bytes`, say."""
    *outer, last = path
    parts = (*media.PATH_KEYS, *media.BYTES_KEYS, media.ARRAY)
    return tuple(outer) if outer and last in parts and not _is_medium(last) else path


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The texts, bytes, numbers and waveforms of a column, each with the names that lead to it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == media.ARRAY and isinstance(inner, list) and inner:
                yield (*path, key), inner  # one leaf: a waveform has many values
            else:
                yield from _leaves(inner, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner, path)
    elif not isinstance(value, bool) and media.entries(value):
        yield path, value


def _says_medium(path: tuple[str, ...], value: Any, ids: bool) -> bool:
    """Whether the names that lead to a value say that it is a medium, and it may be one."""
    last = path[-1]
    if isinstance(value, list):
        return any(map(_is_medium, path))
    if isinstance(value, int | float):
        return len(path) == 1 and ids and _is_id(last)
    if isinstance(value, str) and len(value.split()) > 3 and not any(media.media_in(value)):
        return False  # prose
    inner = last in (*media.PATH_KEYS, *media.BYTES_KEYS) and any(map(_is_medium, path[:-1]))
    return inner or _is_medium(last) or (ids and _is_id(last))


def _parts(name: str) -> tuple[list[str], list[str]] | None:
    """The words before and after the medium in a name, or None."""
    words = [word.lower() for word in _WORD.findall(name)]
    for n, word in enumerate(words):
        if match := _STEM.fullmatch(word):
            return words[:n], ([match[1]] if match[1] else []) + words[n + 1 :]
    return None


def _is_medium(name: str) -> bool:
    parts = _parts(name)
    if parts is None or _COUNTS & {*parts[0]} or (_COUNTS | _IDS) & {*parts[1]}:
        return False
    return not any(map(_ABOUT.fullmatch, parts[1]))


def _is_id(name: str) -> bool:
    parts = _parts(name)
    return parts is not None and bool(_IDS & {*parts[1]}) and not _COUNTS & {*parts[0]}
