"""Results of the curriculum experiment: a table (JSON, Markdown) and a plot (SVG) from finished runs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlmrl.bench.experiment import cell, interval
from vlmrl.files import whole_file
from vlmrl.monitor.summary import read_metrics

BASE = "uniform"
Curve = list[tuple[float, float]]
"""Points (rollouts so far, held-out reward)."""


def write_results(out: Path, runs: Mapping[str, Sequence[Path]]) -> str:
    """Writes results.json, .md and .svg; returns the Markdown. `runs` has the folders of each sampler, by seed."""
    measured = {name: [measure(read_metrics(folder)) for folder in folders] for name, folders in runs.items()}
    rows = {name: summarise(seeds, measured[BASE]) for name, seeds in measured.items()}
    table = markdown(rows)
    for name, text in (
        ("results.json", json.dumps({"samplers": rows, "runs": measured}, indent=2) + "\n"),
        ("results.md", table),
        ("results.svg", plot({name: [run["curve"] for run in seeds] for name, seeds in measured.items()})),
    ):
        with whole_file(out / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return table


def measure(rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """The held-out curve of a run over its rollouts, the rollouts in flat groups up to each point, and the share of
    flat groups over the whole run and in the last quarter of its steps."""
    rollouts = flat = late = late_flat = 0.0
    curve, flat_curve = [], []
    last = max(row["step"] for row in rows)
    for row in rows:
        if "heldout/all/sampled/mean" in row:
            curve.append((rollouts, row["heldout/all/sampled/mean"]))
            flat_curve.append(flat)
        elif "all/groups" in row:
            step_rollouts = row["all/rollouts"]
            step_flat = step_rollouts * row.get("all/zero_variance", 0.0)
            rollouts += step_rollouts
            flat += step_flat
            if row["step"] > 3 * last / 4:
                late += step_rollouts
                late_flat += step_flat
    return {
        "curve": curve,
        "flat_curve": flat_curve,
        "rollouts": rollouts,
        "final": curve[-1][1],
        "flat": flat / rollouts,
        "flat_late": late_flat / late if late else math.nan,
    }


def rollouts_to(curve: Curve, reward: float) -> float:
    """Rollouts at which a curve first reaches a reward, interpolated linearly; infinite if it never does."""
    before: tuple[float, float] | None = None
    for rollouts, value in curve:
        if value >= reward:
            if before is None or value == before[1]:
                return rollouts
            return before[0] + (rollouts - before[0]) * (reward - before[1]) / (value - before[1])
        before = (rollouts, value)
    return math.inf


def flat_share(run: Mapping[str, Any], rollouts: float) -> float:
    """The share of a run's first rollouts that are in flat groups, interpolated linearly."""
    points = [at for at, _ in run["curve"]]
    return float(np.interp(rollouts, points, run["flat_curve"])) / rollouts if rollouts else 0.0


def summarise(runs: Sequence[Mapping[str, Any]], base: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over seeds with their intervals.

    `cost` is the number of rollouts to the base's final reward (its mean over seeds), as a share of the base's
    rollouts. `flat_cost` is the share of these rollouts in flat groups.
    """
    target = float(np.mean([run["final"] for run in base]))
    needed = [rollouts_to(run["curve"], target) for run in runs]
    costs = [rollouts / other["rollouts"] for rollouts, other in zip(needed, base, strict=True)]
    flat = [flat_share(run, rollouts) for run, rollouts in zip(runs, needed, strict=True) if math.isfinite(rollouts)]
    return {
        "final": interval([run["final"] for run in runs]),
        "rollouts": interval([run["rollouts"] for run in runs]),
        "flat": interval([run["flat"] for run in runs]),
        "flat_late": interval([run["flat_late"] for run in runs]),
        "cost": interval([cost for cost in costs if math.isfinite(cost)]),
        "flat_cost": interval(flat),
        "reached": sum(map(math.isfinite, costs)),
        "seeds": len(runs),
    }


def markdown(rows: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        "| sampler | final held-out reward | rollouts | flat groups | in the last quarter "
        "| rollouts to uniform's final reward | of these in flat groups | reached |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        cells = [cell(row["final"], "{:.3f}"), cell(row["rollouts"], "{:,.0f}")]
        cells += [cell(row[key], "{:.0%}") for key in ("flat", "flat_late", "cost", "flat_cost")]
        lines.append(f"| {name} | {' | '.join(cells)} | {row['reached']} of {row['seeds']} |")
    return "\n".join(lines) + "\n"


# --- plot -------------------------------------------------------------------------------------------------

COLORS = ("#555555", "#0b7a75", "#d1495b", "#7b2d8b", "#e08e1b", "#2f6fde")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 420, 60, 190, 30, 50


def plot(curves: Mapping[str, Sequence[Curve]]) -> str:
    """Held-out reward over rollouts: a thin line for each seed, a thick one for each sampler's mean over steps."""
    points = [point for seeds in curves.values() for curve in seeds for point in curve]
    x_max, (y_min, y_max) = max(x for x, _ in points), (f(y for _, y in points) for f in (min, max))
    span = (y_max - y_min) or 1.0

    def place(point: tuple[float, float]) -> str:
        x = LEFT + (WIDTH - LEFT - RIGHT) * point[0] / (x_max or 1.0)
        y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (point[1] - y_min) / span
        return f"{x:.1f},{y:.1f}"

    parts = [_axes(x_max, y_min, y_max)]
    for number, (name, seeds) in enumerate(curves.items()):
        color = COLORS[number % len(COLORS)]
        mean = np.mean([curve for curve in seeds if len(curve) == len(seeds[0])], axis=0).tolist()
        for curve, style in [*((c, 'stroke-width="1" opacity="0.3"') for c in seeds), (mean, 'stroke-width="2.5"')]:
            line = " ".join(place((x, y)) for x, y in curve)
            parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" {style}/>')
        parts.append(_text(WIDTH - RIGHT + 12, TOP + 20 * number + 12, name, f'fill="{color}" font-weight="bold"'))
    view = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {view}>\n' + "\n".join(parts) + "\n</svg>\n"


def _axes(x_max: float, y_min: float, y_max: float) -> str:
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    parts.append(f'<path d="M{LEFT} {TOP}V{floor}H{right}" fill="none" stroke="#999"/>')
    for part in range(5):
        x, y = LEFT + (right - LEFT) * part / 4, floor - (floor - TOP) * part / 4
        parts.append(_text(x, floor + 18, f"{x_max * part / 4:,.0f}", 'text-anchor="middle" fill="#555"'))
        parts.append(
            _text(LEFT - 8, y + 4, f"{y_min + (y_max - y_min) * part / 4:.2f}", 'text-anchor="end" fill="#555"')
        )
    parts.append(_text((LEFT + right) / 2, HEIGHT - 10, "rollouts", 'text-anchor="middle"'))
    parts.append(_text(LEFT, TOP - 12, "held-out reward", ""))
    return "\n".join(parts)


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" {style}>{text}</text>'
