"""Row: the columns of another toolkit's row, read by `vlmrl.data.convert`, with errors that name the column.

row = Row({"answer": "3", "images": ["a.png"], "level": 2}, "geo.jsonl:7", Path("data"))
row.need("answer")      "3"; `UserError` names file, row and column if it is missing
row.media()             {"images": [Media(path="data/a.png")]}
row.leftover()          {"level": 2}; `UserError` for a column that holds media and was not read
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vlmrl.data.foreign import media
from vlmrl.data.foreign.unread import unread
from vlmrl.errors import UserError
from vlmrl.reading import answers
from vlmrl.sample import MARKS, Media

GROUPS = (r"{0}s", r"{0}", r"{0}_?(\d+)", r"(?:{0}|{1})_?(?:path|file|url)s?", r"{1}s?")
"""Names of media columns. The first pattern that matches a column with media is used: the others often repeat it."""
_RANGE = re.compile(r"(?:video|clip|audio)_?(?:start|end)(?:_?(?:time|sec|seconds|s|frame))?", re.IGNORECASE)
SHORT = {"images": "img", "videos": "clip", "audios": "sound"}


class Row:
    """A row in conversion. It records which columns were read."""

    def __init__(self, columns: dict[str, Any], where: str, root: Path) -> None:
        self.columns, self.where, self.root = columns, where, root
        self.used: set[str] = set()
        self.read: list[Media] = []
        """The media of the row so far."""
        self.given: set[str] = set()
        """The texts that name or hold them."""
        self.waveforms: list[Any] = []
        """Those of the sounds that were read, as the row has them."""
        self.numbers: dict[str, list[int]] = {}
        """The number that each medium has in marks such as `<image 2>`."""
        self._media: dict[str, list[Media]] | None = None

    def get(self, name: str) -> Any:
        """A column, or None; `extra_info.index` is a field of a struct."""
        if name in self.columns or "." not in name:
            self.used.add(name)
            return self.columns.get(name)
        first, _, rest = name.partition(".")
        inner = self.get(first)
        for part in rest.split("."):
            inner = literal(inner) if isinstance(inner, str) else inner
            inner = inner.get(part) if isinstance(inner, dict) else None
        return inner

    def need(self, *names: str) -> Any:
        """The first of these columns with a value; `UserError` if there is none."""
        for name in names:
            value = self.get(name)
            if not is_null(value):
                return value
        raise UserError(f"{self.where}: {' | '.join(names)}: missing; is --from the right one?")

    def first(self, *names: str) -> Any:
        """The first of these columns with a value, or None."""
        return next((value for name in names if not is_null(value := self.get(name))), None)

    def struct(self, name: str) -> dict[str, Any]:
        """A column of named fields, without nulls; text is parsed as JSON."""
        return fields_of(self.get(name), f"{self.where}: {name}")

    # --- media ------------------------------------------------------------------------------------------------

    def media(self) -> dict[str, list[Media]]:
        """The media of all columns whose names say that they hold media, paths resolved against the root."""
        if self._media is None:
            self._media = {kind: media for kind in MARKS if (media := self._column_media(kind))}
        return self._media

    def _column_media(self, kind: str) -> list[Media]:
        for pattern in GROUPS:
            group = self._group(kind, pattern)
            entries = [(n, entry) for n, name in group for _, entry in _placed(self.get(name))]
            if entries:
                several = len(group) > 1 or "d+" in pattern
                places = [n for _, name in group for n, _ in _placed(self.get(name))]
                self.numbers[kind] = [n for n, _ in entries] if several else places
                return [self.medium(kind, entry) for _, entry in entries]
        # Video-R1 has the path of the only medium in a column that does not say its kind.
        if f"{self.columns.get('data_type')}s" == kind and (path := self.get("path")):
            self.get("data_type")
            self.numbers[kind] = [1]
            return [self.medium(kind, path)]
        return []

    def _group(self, kind: str, pattern: str) -> list[tuple[int, str]]:
        """The columns that match, each with its number."""
        expression = re.compile(pattern.format(kind.removesuffix("s"), SHORT[kind]), re.IGNORECASE)
        matches = [(name, match) for name in self.columns if (match := expression.fullmatch(name))]
        numbered = [(int(match[1]) if match.groups() else n, name) for n, (name, match) in enumerate(matches, 1)]
        return sorted(numbered)

    def medium(self, kind: str, entry: Any) -> Media:
        """One medium of the row; `UserError` names the row and what the entry is."""
        ranges = {"start", "end", "start_time", "end_time", "video_start", "video_end"}
        if isinstance(entry, dict) and (cut := sorted(key for key in ranges & entry.keys() if not is_null(entry[key]))):
            raise self.cut(f"{kind}.{cut[0]}")
        try:
            medium = media.medium(kind, entry, self.root)
        except UserError as error:
            raise UserError(f"{self.where}: {kind}: {error}") from None
        self.read.append(medium)
        keys = (*media.PATH_KEYS, *media.BYTES_KEYS)
        held = [entry[key] for key in keys if key in entry] if isinstance(entry, dict) else entry
        self.given |= set(texts_in(held))
        if isinstance(entry, dict):
            self.waveforms.append(entry.get(media.ARRAY))
        return medium

    def cut(self, field: str) -> UserError:
        """The error for a part of a clip, whose other parts the model would see."""
        return UserError(
            f"{self.where}: {field}: names a part of the clip, which is shown whole; cut the clip, for example with "
            f"ffmpeg -ss and -to, then leave the field out with --drop {field}"
        )

    # --- the rest ---------------------------------------------------------------------------------------------

    def leftover(self, text_only: bool = False) -> dict[str, Any]:
        """The scalar columns that were not read; `UserError` for a field that holds media and was not read.

        Without `text_only`, the name of a field may say that it does.
        """
        for name, value in self.columns.items():
            if _RANGE.fullmatch(name) and name not in self.used and not is_null(value) and self.read:
                raise self.cut(name)
        by_name = not text_only
        if lost := unread(self.columns, self.used, self._seen, by_name, ids=by_name and not self.read):
            raise UserError(
                f"{self.where}: {lost[0]}: holds media ({media.shown(lost[1])}) that the schema does not read; "
                f"read it with --map {_kind(lost[0])}={lost[0]}, or leave it out with --drop {lost[0]}"
                + ("" if any(media.media_in(lost[1])) else "; --text-only if it is text")
            )
        return {
            name: value
            for name, value in self.columns.items()
            if name not in self.used and isinstance(value, str | int | float | bool) and not is_null(value)
        }

    def _seen(self, value: Any) -> bool:
        """Whether a medium was read, or only says where one came from: no file, and bytes or its name were read."""
        if isinstance(value, list):
            return any(value is waveform for waveform in self.waveforms)
        if not isinstance(value, str):
            return any(medium.data == value for medium in self.read)
        path = os.path.normpath(self.root / value) if len(value) < 1024 else value
        if value in self.given or any(medium.path == path for medium in self.read):
            return True
        if len(value) >= 1024 or Path(path).is_file():
            return False
        origin = value if value.startswith("/") or "://" in value else ""
        return any(medium.data is not None for medium in self.read) or any(
            text.endswith(f"/{value}") or origin.endswith(f"/{text}") for text in self.given
        )


def _placed(value: Any) -> list[tuple[int, Any]]:
    """The media of a column, each with its place there, from 1; nulls count too."""
    read = literal(value) if isinstance(value, str) and value.strip().startswith("[") else value
    items = read if isinstance(read, list) else [read]
    return [(n, entry) for n, item in enumerate(items, 1) for entry in media.entries(item)]


def _kind(name: str) -> str:
    """The kind of media that the name of a field suggests."""
    return next((kind for kind in ("videos", "audios") if kind[:-1] in name.lower()), "images")


def is_null(value: Any) -> bool:
    """Whether a value is null or NaN, as tables write a missing one."""
    return value is None or (isinstance(value, float) and value != value)


def first_given(fields: dict[str, Any], *names: str) -> Any:
    """The first of these fields with a value. Null and empty text are not values, 0 is; None if there is none."""
    return next((fields[name] for name in names if fields.get(name) not in (None, "")), None)


def fields_of(value: Any, field: str) -> dict[str, Any]:
    """An object without nulls. Text is parsed as JSON; null or empty text is an empty object."""
    if isinstance(value, str):
        value = literal(value) if value.strip() else None
    if value is not None and not isinstance(value, dict):
        raise UserError(f"{field}: expected an object, got {value!r:.80}")
    return {name: inner for name, inner in (value or {}).items() if inner is not None}


def literal(text: str) -> Any:
    """The value of text in JSON or of a Python literal; the text itself if it is neither."""
    return _parsed(text, json.loads, ast.literal_eval)


def from_json(value: Any) -> Any:
    """The value of text in JSON; other texts and values as they are."""
    return _parsed(value, json.loads) if isinstance(value, str) else value


def _parsed(text: str, *parsers: Callable[[str], Any]) -> Any:
    for parse in parsers:
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return text


def bare(answer: Any) -> Any:
    r"""A true answer without its markup: `<answer>\boxed{4}</answer>` and `\boxed{4}` become `4`."""
    marked = answers.marked(answer) if isinstance(answer, str) else None
    return answers.unfenced(marked.text).strip() if marked else answer


def texts_in(value: Any) -> Iterator[str]:
    """All texts in lists and objects."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts_in(inner)
