"""Curves: the charts of the report for plotly.js, from the lines of `metrics.jsonl`.

    charts(read_metrics(run_folder), ["counting", "ocr"])  -> [{"title", "note", "traces", "layout"}, ...]

`tint` is the index of a trace's colour in the page's palette; a source has the same tint in all charts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vlmrl.monitor.summary import PHASES, heldout_tables

Rows = Sequence[Mapping[str, float]]
Trace = dict[str, Any]

EMA_DECAY = 0.9
"""Decay of the smoothed curves for each step in which the source has prompts."""


def charts(rows: Rows, sources: Sequence[str]) -> list[dict[str, Any]]:
    """All charts that have data."""
    shares, amounts = {"yaxis": {"range": [-0.02, 1.02]}}, {"yaxis": {"rangemode": "tozero"}}
    legend = {"showlegend": True}

    def smooth(metric: str) -> list[Trace]:
        return _by_source(rows, sources, metric, smoothed=True)

    reward = _by_source(rows, sources, "reward", smoothed=False) + smooth("reward")
    agreement = _agreement(rows)
    by_phase = _stacked(rows, [f"seconds/{phase}" for phase in PHASES])
    by_source = _stacked(rows, [f"seconds/source/{source}" for source in sources])
    candidates = [
        ("Training reward", "thin: each step; thick: moving average", reward, shares),
        ("Loss", "supervised training", _loss(rows), amounts),
        ("Held-out reward", "sampled, with 95 % interval; dotted: greedy", _heldout(rows, sources), shares),
        ("Response length", "tokens, moving average", smooth("length"), amounts),
        ("Entropy", "nats per token, moving average", smooth("entropy"), amounts),
        (
            "Groups without spread",
            "share of groups, moving average",
            smooth("zero_variance"),
            shares,
        ),
        (
            "Agreement",
            "largest |learner − engine| logprob difference",
            agreement,
            _decades(agreement) | legend,
        ),
        ("Seconds by phase", "each step, stacked", by_phase, amounts | legend),
        ("Seconds by source", "rollout, reward and update, shared by tokens", by_source, amounts),
    ]
    return [
        {"title": title, "note": note, "traces": traces, "layout": layout}
        for title, note, traces, layout in candidates
        if traces
    ]


def _series(rows: Rows, key: str) -> tuple[list[int], list[float]]:
    points = [(int(row["step"]), row[key]) for row in rows if key in row]
    return [step for step, _ in points], [value for _, value in points]


def _line(name: str, x: list[int], y: list[float], tint: int, **style: Any) -> Trace:
    # A line through one point is invisible.
    mode = "lines" if len(x) > 1 else "markers"
    return {"name": name, "x": x, "y": y, "mode": mode, "tint": tint, "line": {"width": 2}} | style


def _by_source(rows: Rows, sources: Sequence[str], metric: str, smoothed: bool) -> list[Trace]:
    faint = {"opacity": 0.28, "line": {"width": 1}, "hoverinfo": "skip"}
    traces = []
    for tint, source in enumerate(sources):
        x, y = _series(rows, f"source/{source}/{metric}")
        if x:
            traces.append(_line(source, x, _ema(y), tint) if smoothed else _line(source, x, y, tint, **faint))
    return traces


def _loss(rows: Rows) -> list[Trace]:
    """The loss of supervised steps. The loss of a policy gradient does not show progress."""
    x, y = _series([row for row in rows if row.get("all/groups") == 0], "all/loss")
    return [_line("loss", x, y, 0)] if x else []


def _ema(values: Iterable[float]) -> list[float]:
    """Exponential moving average with correction of the initial bias."""
    averages, total, weight = [], 0.0, 0.0
    for value in values:
        total = EMA_DECAY * total + (1 - EMA_DECAY) * value
        weight = EMA_DECAY * weight + (1 - EMA_DECAY)
        averages.append(total / weight)
    return averages


def _heldout(rows: Rows, sources: Sequence[str]) -> list[Trace]:
    if len(heldout_tables(rows)) < 2:
        return []
    traces = []
    for tint, source in enumerate(sources):
        x, y = _series(rows, f"heldout/{source}/greedy/mean")
        if x:
            dotted = {"width": 1.5, "dash": "dot"}
            traces.append(_line(f"{source}, greedy", x, y, tint, opacity=0.6, line=dotted))
        prefix = f"heldout/{source}/sampled"
        points = [row for row in rows if f"{prefix}/high" in row]
        if points:
            x, y = _series(points, f"{prefix}/mean")
            above = [row[f"{prefix}/high"] - row[f"{prefix}/mean"] for row in points]
            below = [row[f"{prefix}/mean"] - row[f"{prefix}/low"] for row in points]
            bars = {"symmetric": False, "array": above, "arrayminus": below, "thickness": 1.2, "width": 3}
            traces.append(_line(source, x, y, tint, mode="lines+markers", error_y=bars))
    return traces


def _agreement(rows: Rows) -> list[Trace]:
    keys = {key for row in rows for key in row if key.startswith("modality/") and key.endswith("/diff_max")}
    traces = []
    for tint, key in enumerate(sorted(keys)):
        x, y = _series(rows, key)
        # A logarithmic axis cannot show zero.
        traces.append(_line(key.split("/")[1], x, [max(value, 1e-12) for value in y], tint))
    return traces


def _decades(traces: Sequence[Trace]) -> dict[str, Any]:
    """A logarithmic axis between powers of ten, so that it always has two ticks."""
    values = [value for trace in traces for value in trace["y"]] or [1.0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    ticks = {"dtick": 1, "exponentformat": "power"}
    return {"yaxis": {"type": "log", "range": [low - 0.05, max(high, low + 1) + 0.05], **ticks}}


def _stacked(rows: Rows, keys: Sequence[str]) -> list[Trace]:
    steps = [row for row in rows if "all/groups" in row]
    area = {"stackgroup": "seconds", "line": {"width": 0}, "mode": "lines"}
    traces = []
    for tint, key in enumerate(keys):
        y = [row.get(key, 0.0) for row in steps]
        if any(y):
            name = key.removeprefix("seconds/").removeprefix("source/")
            traces.append(_line(name, [int(row["step"]) for row in steps], y, tint, **area))
    return traces
