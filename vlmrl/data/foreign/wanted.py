"""Wanted: what the user of `vlmrl data convert` says of the rows, by flags or in a file (--map-file).

    wanted = Wanted(coords="xywh", mapping={"problem": "question"}, params={"choices": "options"})
    settings = read_map_file("quiz.toml")

The file has the names of the flags:

    from = "easyr1"
    coords = "relative_1"
    [map]
    problem = "question"
    [params]
    choices = "options"
    tolerance = 0.01
    metric = '"iou"'

A text in `params` names a column, unless it is a value in JSON.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmrl.data.foreign.places import FORMS
from vlmrl.errors import UserError, nearest
from vlmrl.files import check_regular
from vlmrl.reading.frames import COORDS

AUTO = "auto"
FIELDS = ("problem", "answer", "images", "videos", "audios", "options", "caption", "context", "id", "source", "task")
"""What --map can give a column to."""
TABLES = ("map", "params", "replace")
TEXTS = ("from", "verifier", "source", "image_root", "coords")


@dataclass(frozen=True)
class Wanted:
    """What the user says of the rows, besides their schema and verifier."""

    source: str | None = None
    image_root: str | None = None
    """The folder of relative media paths; by default that of the file."""
    coords: str | None = None
    """Coordinates of boxes and points, and perhaps the form of boxes: `relative_1`, `xywh`, `pixels,xywh`."""
    mapping: Mapping[str, str] = field(default_factory=dict)
    """The column of each of `FIELDS`; several columns of media are joined by commas."""
    params: Mapping[str, str] = field(default_factory=dict)
    """The column of each param of the verifier."""
    constants: Mapping[str, Any] = field(default_factory=dict)
    """Params of the verifier that are the same for all rows."""
    drop: tuple[str, ...] = ()
    replace: Mapping[str, str] = field(default_factory=dict)
    """What to replace in prompts, for marks of other toolkits."""
    text_only: bool = False
    """Whether prompts without media may speak of a picture."""

    def __post_init__(self) -> None:
        for name in self.mapping:
            if name not in FIELDS:
                raise UserError(f"--map {name}: unknown field{nearest(name, FIELDS)}")
        for word in self.coords.split(",") if self.coords else ():
            if word not in (*COORDS, *FORMS):
                raise UserError(f"--coords {word!r}: unknown{nearest(word, (*COORDS, *FORMS))}")


NOTHING = Wanted()


def read_map_file(path: str) -> dict[str, Any]:
    """The settings of a --map-file, by the names of the flags; `UserError` names one that is unknown or of no use."""
    try:
        check_regular(path)
        settings = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid TOML ({error})") from None
    kinds = dict.fromkeys(TABLES, dict) | dict.fromkeys(TEXTS, str) | {"drop": list, "text_only": bool}
    for name, value in settings.items():
        if name not in kinds:
            raise UserError(f"{path}: {name}: unknown setting{nearest(name, kinds)}")
        if not isinstance(value, kinds[name]):
            raise UserError(f"{path}: {name}: expected {_KINDS[kinds[name]]}, got {value!r:.60}")
    for table in ("map", "replace"):
        for name, value in settings.get(table, {}).items():
            if not isinstance(value, str):
                raise UserError(f"{path}: {table}.{name}: expected text, got {value!r:.60}")
    return settings


_KINDS = {dict: "a table", str: "text", list: "a list of columns", bool: "true or false"}
