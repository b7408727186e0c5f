"""Summary of a run from its `metrics.jsonl`: held-out reward before and after, time, agreement.

rows = read_metrics(run_folder)
tables = heldout_tables(rows)
print_summary(summarise(tables[0], tables[300], rows))
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vlmrl.errors import UserError, escaped
from vlmrl.files import read_file
from vlmrl.monitor.metrics import Figures, mean

Table = dict[str, dict[str, Figures]]
"""{source: {mode: Figures}}; mode is `sampled` or `greedy`; the entry `all` pools the sources."""

PHASES = ("rollout", "reward", "update", "sync", "eval")


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The lines of a run's `metrics.jsonl`, without a half-written last one; empty if there is no file."""
    path = folder / "metrics.jsonl"
    lines = read_file(path).split(b"\n") if path.exists() else [b""]
    rows = []
    for number, line in enumerate(lines[:-1], 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}:{number}: not valid JSON ({error}); delete the line") from None
        if not isinstance(row, dict) or "step" not in row or not all(isinstance(v, int | float) for v in row.values()):
            raise UserError(f"{path}:{number}: expected a step and its numbers, got {row!r:.80}; delete the line")
        rows.append(row)
    return rows


def metrics_line(row: Mapping[str, float]) -> str:
    """A row as a line of `metrics.jsonl`."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def source_names(row: Mapping[str, float]) -> list[str]:
    """The data sources of a step's groups."""
    prefix = "seconds/source/"
    return [key.removeprefix(prefix) for key in row if key.startswith(prefix)]


def heldout_tables(metrics: Iterable[Mapping[str, float]]) -> dict[int, Table]:
    """The held-out tables of all evaluations, by step."""
    tables: dict[int, Table] = {}
    for row in metrics:
        for key, value in row.items():
            match = re.fullmatch(r"heldout/(.+)/(sampled|greedy)/(mean|low|high|n)", key)
            if match:
                table = tables.setdefault(int(row["step"]), {})
                table.setdefault(match[1], {}).setdefault(match[2], {})[match[3]] = value
    return tables


def summarise(before: Table, after: Table, metrics: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Content of `summary.json`: held-out reward before and after (sampled, and `greedy`), and the run's totals.

    `metrics` come from `read_metrics`. Agreement is the |learner - engine| logprob difference by modality.
    """

    def compared(source: str) -> dict[str, Any]:
        tables = {"before": before, "after": after}
        by_mode = {
            mode: {when: t[source][mode] for when, t in tables.items() if mode in t.get(source, {})}
            for mode in ("sampled", "greedy")
        }
        return by_mode["sampled"] | ({"greedy": by_mode["greedy"]} if by_mode["greedy"] else {})

    return {
        "sources": {source: compared(source) for source in sorted({*before, *after} - {"all"})},
        "all": compared("all"),
        "steps": int(max((row["step"] for row in metrics), default=0)),
        "seconds": {phase: sum(row.get(f"seconds/{phase}", 0.0) for row in metrics) for phase in PHASES},
        "agreement": _agreement(metrics),
    }


def _agreement(metrics: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    names = {m[1] for row in metrics for key in row if (m := re.fullmatch(r"modality/(.+)/diff_max", key))}
    agreement = {}
    for name in sorted(names):
        wanted = {f"modality/{name}/diff_mean", f"modality/{name}/tokens"}
        rows = [row for row in metrics if wanted <= row.keys()]
        tokens = [row[f"modality/{name}/tokens"] for row in rows]
        average = mean((row[f"modality/{name}/diff_mean"] for row in rows), tokens)
        highest = max(row.get(f"modality/{name}/diff_max", 0.0) for row in metrics)
        agreement[name] = {"max": highest, "mean": highest if average is None else average}
    return agreement


def change(before: Figures, after: Figures) -> int:
    """1 for a rise and -1 for a fall in reward whose 95 % intervals do not overlap, else 0."""
    if not before.keys() & after.keys() >= {"low", "high"}:
        return 0
    return int(after["low"] > before["high"]) - int(after["high"] < before["low"])


def print_summary(summary: Mapping[str, Any]) -> None:
    """Prints the table of rewards before and after."""
    from rich import box, get_console
    from rich.markup import escape
    from rich.table import Table as RichTable

    look = {"box": box.SIMPLE_HEAD, "pad_edge": False, "title_justify": "left"}
    table = RichTable(title="Held-out reward, sampled (95 % interval), and greedy", **look)
    table.add_column("source", overflow="fold")
    for column in ("before", "after", "change", "greedy"):
        table.add_column(column, justify="right", no_wrap=True)
    entries = [*summary["sources"].items(), ("all", summary["all"])]
    for position, (source, entry) in enumerate(entries, 1):
        before, after, greedy = entry.get("before", {}), entry.get("after", {}), entry.get("greedy", {})
        cells = (_with_interval(before), _with_interval(after), _change_text(before, after))
        means = (greedy.get(when, {}).get("mean") for when in ("before", "after"))
        plain = " to ".join("-" if value is None else f"{value:.2f}" for value in means)
        table.add_row(escape(escaped(source)), *cells, plain, end_section=position == len(entries) - 1)
    get_console().print(table)
    get_console().print("* the intervals do not overlap", style="dim")


def _with_interval(figures: Figures) -> str:
    if "low" in figures:
        return f"{figures['mean']:.3f} ({figures['low']:.2f}-{figures['high']:.2f})"
    return f"{figures['mean']:.3f}" if "mean" in figures else "-"


def _change_text(before: Figures, after: Figures) -> str:
    if "mean" not in before or "mean" not in after:
        return "-"
    text = f"{after['mean'] - before['mean']:+.3f}"
    colour = {1: "green", 0: "", -1: "red"}[change(before, after)]
    return f"[{colour}]{text} *[/]" if colour else f"{text}  "
