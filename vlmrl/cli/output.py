"""Rows on standard output: a table on a terminal, tab-separated text in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from vlmrl.errors import escaped


def print_rows(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints the rows, the first cell in bold; the heads appear on a terminal only."""
    rows = [list(map(escaped, row)) for row in rows]
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*heads, box=None)
    for first, *others in rows:
        table.add_row(Text(first, "bold"), *map(Text, others))
    Console().print(table)
