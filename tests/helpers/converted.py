"""Rows of other toolkits in a file, converted in one call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from helpers.foreign_files import png

from vlmrl.data.convert import convert_file
from vlmrl.data.foreign.wanted import Wanted
from vlmrl.sample import Sample


def converted(
    folder: Path, *rows: dict[str, Any], schema: str = "auto", verifier: str | None = None, **said: Any
) -> list[Sample]:
    """The samples of rows in `folder/rows.jsonl`; pictures that they name are drawn, `said` is for `Wanted`."""
    for number, name in enumerate(("a.png", "b.png", "c.png")):
        (folder / name).write_bytes(png(number))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(convert_file(str(folder / "rows.jsonl"), schema, verifier, Wanted(**said)))
