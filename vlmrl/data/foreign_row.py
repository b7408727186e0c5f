"""Row: the columns of another toolkit's row, read by `vlmrl.data.convert`, with errors that name the column.

row = Row({"answer": "3", "images": ["a.png"], "level": 2}, "geo.jsonl:7", Path("data"))
row.need("answer")      "3"; `UserError` names file, row and column if it is missing
row.media()             {"images": [Media(path="data/a.png")]}
row.leftover()          {"level": 2}
"""

from __future__ import annotations

import ast
import base64
import json
import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vlmrl.errors import UserError, one_line
from vlmrl.sample import Media

MEDIA_COLUMNS = {"images": ("images", "image"), "videos": ("videos", "video"), "audios": ("audios", "audio")}


class Row:
    """A row in conversion. It records which columns were read."""

    def __init__(self, columns: dict[str, Any], where: str, root: Path) -> None:
        self.columns, self.where, self.root = columns, where, root
        self.used: set[str] = set()

    def get(self, name: str) -> Any:
        """A column, or None."""
        self.used.add(name)
        return self.columns.get(name)

    def need(self, *names: str) -> Any:
        """The first of these columns with a value; `UserError` if there is none."""
        for name in names:
            value = self.get(name)
            if value is not None:
                return value
        raise UserError(f"{self.where}: {' | '.join(names)}: missing; is --from the right one?")

    def struct(self, name: str) -> dict[str, Any]:
        """A column of named fields, without nulls; text is parsed as JSON."""
        return fields_of(self.get(name), f"{self.where}: {name}")

    def media(self) -> dict[str, list[Media]]:
        """All media columns, paths resolved against the folder of the file."""
        media: dict[str, list[Media]] = {}
        for kind, names in MEDIA_COLUMNS.items():
            values = [value for name in names if (value := self.get(name)) is not None]
            entries = [entry for value in values for entry in (value if isinstance(value, list) else [value])]
            if entries:
                media[kind] = [self._medium(kind, entry) for entry in entries]
        return media

    def _medium(self, kind: str, entry: Any) -> Media:
        if isinstance(entry, dict):
            data = entry.get("bytes")
            path = next((entry[key] for key in ("path", kind.removesuffix("s")) if entry.get(key)), None)
        else:
            data, path = (entry, None) if isinstance(entry, bytes) else (None, entry)
        try:
            if isinstance(data, str):
                data = base64.b64decode("".join(data.split()), validate=True)
            if data is not None:
                return Media(data=data)
            if isinstance(path, str) and path.startswith("data:"):
                return Media.model_validate(path)
        except ValidationError as error:
            raise UserError(f"{self.where}: {kind}: {one_line(error, Media)}") from None
        except ValueError as error:
            raise UserError(f"{self.where}: {kind}: bytes: not valid base64 ({error}), got {data!r:.80}") from None
        if not isinstance(path, str) or path.startswith(("http:", "https:")):
            raise UserError(f"{self.where}: {kind}: expected a local path or bytes, got {path!r:.80}")
        return Media(path=os.path.normpath(self.root / path.removeprefix("file://")))

    def leftover(self) -> dict[str, Any]:
        """The scalar columns that were not read."""
        return {
            name: value
            for name, value in self.columns.items()
            if name not in self.used and isinstance(value, str | int | float | bool)
        }


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
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return text
