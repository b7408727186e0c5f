"""Measures several geometries one after the other, on the given model or a temporary one."""

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
    """Prints a line for each geometry when it is measured; with `as_json` one object, or a list for several."""
    results: list[Figures] = []
    with model_folder(cells[0].model) as folder:
        for cell in cells:
            results.append(measure(replace(cell, model=folder)))
            if not as_json:
                print(line(results[-1]), file=out, flush=True)
    if as_json:
        print(json.dumps(results[0] if len(results) == 1 else results, indent=2), file=out)
