"""The files of a run folder as the report reads them: whole, or refused in one line.

    metrics(run_dir)                       the rows of metrics.jsonl
    summary(run_dir / "summary.json")      what `summarise` wrote
    heldout(file)                          the rows of an evaluation

A run folder may be damaged, or that of others.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Json, ValidationError

from vlmrl.errors import UserError, one_line
from vlmrl.files import read_file, read_rows
from vlmrl.monitor.curves import Rows
from vlmrl.monitor.metrics import Figures
from vlmrl.monitor.summary import heldout_tables, read_metrics
from vlmrl.sample import RewardSpec


def metrics(run_dir: Path) -> Rows:
    """The rows of metrics.jsonl; `UserError` names a line that the ledger did not write."""
    rows = read_metrics(run_dir)
    for number, row in enumerate(rows, 1):
        where = f"{run_dir / 'metrics.jsonl'}:{number}"
        numbers = isinstance(row, dict) and all(_is_finite(value) for value in row.values())
        if not numbers or "step" not in row:
            raise UserError(f"{where}: expected a step and its numbers, got {row!r:.80}; delete the line")
        for source, modes in (pair for table in heldout_tables([row]).values() for pair in table.items()):
            if not all(map(_is_complete, modes.values())):
                raise UserError(f"{where}: held-out figures of {source!r} are incomplete; delete the line")
    return rows


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < float("inf")


def _is_complete(figures: Figures) -> bool:
    """Whether an interval has both of its ends and what lies between them."""
    return not {"low", "high"} & figures.keys() or {"mean", "low", "high"} <= figures.keys()


def summary(path: Path) -> dict[str, Any]:
    """The stored summary; `UserError` unless it is as `summarise` writes it."""
    try:
        return _Summary.model_validate_json(read_file(path)).model_dump(exclude_unset=True)
    except ValidationError as error:
        fix = "delete the file, and the report compares the evaluations so far"
        raise UserError(f"{path}: {one_line(error, _Summary)}; {fix}") from None


def _complete(figures: Figures) -> Figures:
    if not _is_complete(figures):
        raise ValueError("has not all of mean, low and high")
    return figures


_Figures = Annotated[Figures, AfterValidator(_complete)]


class _Compared(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)

    before: _Figures = {}
    after: _Figures = {}
    greedy: dict[str, _Figures] = {}


class _Summary(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)

    sources: dict[str, _Compared]
    all: _Compared
    steps: int
    seconds: dict[str, float]
    agreement: dict[str, dict[str, float]]


def config_text(config: Path) -> str:
    """The run file of a run folder; empty if there is none."""
    try:
        return read_file(config).decode() if config.exists() else ""
    except UnicodeDecodeError as error:
        raise UserError(f"{config}: not text ({error}); put the run's own file back") from None


def planned_steps(config: str, path: Path) -> int:
    """The steps that the run file asks for, 0 if unknown. A run that its time limit ended has fewer."""
    try:
        steps = tomllib.loads(config).get("run", {}).get("steps", 0)
    except (ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: not a run file ({error}); put the run's own file back") from None
    return steps if isinstance(steps, int) else 0


def heldout(file: Path) -> list[dict[str, Any]]:
    """The rows of an evaluation; `UserError` names one that is not as the ledger writes it."""
    rows = []
    for where, row in read_rows(file):
        try:
            _HeldOut.model_validate(row)
        except ValidationError as error:
            raise UserError(f"{where}: {one_line(error, _HeldOut)}; delete the file") from None
        rows.append(row)
    return rows


class _HeldOut(BaseModel):
    key: str
    source: str
    mode: str
    prompt: str
    response: str
    reward: Json[Annotated[list[RewardSpec], Field(min_length=1)]]
    score: float | None
    image: bytes | None
