"""Row: the columns of another toolkit's row, read by `vlmrl.data.convert`, with errors that name the column.

row = Row({"answer": "3", "images": ["a.png"], "level": 2}, "geo.jsonl:7", Path("data"))
row.need("answer")      "3"; `UserError` names file, row and column if it is missing
row.media()             {"images": [Media(path="data/a.png")]}
row.leftover()          {"level": 2}; `UserError` for a column that holds media and was not read
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vlmrl.data.foreign import media
from vlmrl.errors import UserError
from vlmrl.reading import answers
from vlmrl.sample import MARKS, Media

GROUPS = (r"{0}s", r"{0}", r"{0}_?(\d+)", r"(?:{0}|{1})_?(?:path|file|url)s?", r"{1}s?")
"""Names of media columns. The first pattern that matches a column with media is used: the others often repeat it."""
SHORT = {"images": "img", "videos": "clip", "audios": "sound"}


class Row:
    """A row in conversion. It records which columns were read."""

    def __init__(self, columns: dict[str, Any], where: str, root: Path) -> None:
        self.columns, self.where, self.root = columns, where, root
        self.used: set[str] = set()
        self.read: list[Media] = []
        """The media of the row so far."""
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
            entries = [(n, entry) for n, name in group for entry in media.entries(self.get(name))]
            if entries:
                several = len(group) > 1 or "d+" in pattern
                self.numbers[kind] = [n for n, _ in entries] if several else list(range(1, len(entries) + 1))
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
        try:
            medium = media.medium(kind, entry, self.root)
        except UserError as error:
            raise UserError(f"{self.where}: {kind}: {error}") from None
        self.read.append(medium)
        return medium

    # --- the rest ---------------------------------------------------------------------------------------------

    def leftover(self) -> dict[str, Any]:
        """The scalar columns that were not read; `UserError` for one that holds media."""
        names = {Path(medium.path).name for medium in self.read if medium.path}
        held = {medium.data for medium in self.read if medium.data is not None}
        for name, value in self.columns.items():
            # A struct whose fields were read may say where the medium came from.
            if name in self.used and (self.read or not isinstance(value, dict)):
                continue
            for lost in media.media_in(value):
                if lost in held or (isinstance(lost, str) and (Path(lost).name in names or self._is_origin(lost))):
                    continue
                raise UserError(
                    f"{self.where}: {name}: holds media ({media.shown(lost)}) that the schema does not read; "
                    f"read it with --map images={name} (or videos, audios), or leave it out with --drop {name}"
                )
        return {
            name: value
            for name, value in self.columns.items()
            if name not in self.used and isinstance(value, str | int | float | bool) and not is_null(value)
        }

    def _is_origin(self, path: str) -> bool:
        """Whether a path that names no file may only say where a medium of the row, held as bytes, came from."""
        return any(medium.data is not None for medium in self.read) and not (self.root / path).is_file()


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
