"""The geometries that were asked for, measured one after the other, on the model asked for or one built here."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TextIO

from vlmrl.bench.geometry import Geometry, model_folder

Figures = dict[str, Any]


def print_table(
    cells: Sequence[Geometry],
    measure: Callable[[Geometry], Figures],
    line: Callable[[Figures], str],
    as_json: bool,
    out: TextIO,
) -> None:
    """Writes a line for each geometry as soon as it is measured; as JSON an object, a list for several geometries."""
    found: list[Figures] = []
    with model_folder(cells[0].model) as folder:
        for cell in cells:
            found.append(measure(replace(cell, model=folder)))
            if not as_json:
                print(line(found[-1]), file=out, flush=True)
    if as_json:
        print(json.dumps(found[0] if len(found) == 1 else found, indent=2), file=out)
