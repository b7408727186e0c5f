"""Experiments: the same run with some settings changed, over several seeds, with intervals over the seeds.

Each run is a separate `vlmrl train`. Finished runs are not repeated; stopped runs are resumed.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""Student's t, two-sided 95 %, by the number of seeds."""


def train(out: Path, run_file: str, name: str, steps: int, seed: int, data: Path, flags: Sequence[str]) -> Path:
    """Starts or resumes one run; returns its folder."""
    run = f"{name.replace(', ', '-').replace(' ', '-')}-{steps}-{seed}"
    folder = out / run
    if (folder / "summary.json").exists():
        return folder
    settings = {"run.folder": out, "run.name": run, "run.steps": steps, "run.seed": seed, "data.train": [str(data)]}
    own = [word for key, value in settings.items() for word in (f"--{key}", toml(value))]
    resume = ["--resume"] if (folder / "metrics.jsonl").exists() else []
    print(f"{run}: training", file=sys.stderr)
    run_vlmrl("train", run_file, *own, *flags, *resume)
    return folder


def toml(value: Any) -> str:
    """A setting's value as text of a flag."""
    return json.dumps(value) if isinstance(value, list) else str(value)


def inline_table(value: Any) -> str:
    """Nested tables, lists, numbers and texts as TOML text of a flag."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {inline_table(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)


def run_vlmrl(*arguments: object) -> None:
    """Runs one command of the toolkit in a new process. If it fails, this process exits with its code."""
    command = [sys.executable, "-m", "vlmrl.cli", *map(str, arguments)]
    if code := subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
        sys.exit(code)


def interval(values: Sequence[float]) -> dict[str, float] | None:
    """Mean and the 95 % interval of Student's t; None without values, no bounds with one value."""
    if not values:
        return None
    centre = float(np.mean(values))
    if len(values) == 1:
        return {"mean": centre}
    half = T_95[len(values)] * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return {"mean": centre, "low": centre - half, "high": centre + half}


def cell(value: Mapping[str, float] | None, form: str) -> str:
    """An interval as a cell of a table; `form` is the format of a number."""
    if value is None or math.isnan(value["mean"]):
        return "-"
    bounds = f" ({form.format(value['low'])} to {form.format(value['high'])})" if "low" in value else ""
    return form.format(value["mean"]) + bounds
