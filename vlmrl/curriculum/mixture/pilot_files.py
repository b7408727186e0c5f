"""The files of a plan and of its pilots as `vlmrl data mix` reads them: whole, or refused in one line.

planned_sources(folder / "plan.json")          base weight and bounds of each source
stored_summary(run / "summary.json")           steps, and the held-out scores of each source
trained_weights(run / "config.toml")           the weights that a pilot was trained with
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from vlmrl.errors import UserError, one_line
from vlmrl.files import read_file
from vlmrl.monitor.records import verify_file

_Share = Annotated[float, Field(ge=0, le=1)]


class _Source(BaseModel):
    base: _Share
    low: _Share
    high: _Share


class _Plan(BaseModel):
    sources: Annotated[dict[str, _Source], Field(min_length=2)]


class _Scores(BaseModel):
    after: dict[str, FiniteFloat] = {}


class _Summary(BaseModel):
    steps: int
    sources: Annotated[dict[str, _Scores], Field(min_length=1)]


def planned_sources(path: Path) -> dict[str, dict[str, float]]:
    """What `plan.json` says of each source; `UserError` names the field that is not as `plan` writes it."""
    return _read(path, _Plan)["sources"]


def stored_summary(path: Path) -> dict[str, Any]:
    """The part of a pilot's summary that a fit needs; `UserError` unless it is as the run wrote it."""
    verify_file(path)
    return _read(path, _Summary)


def trained_weights(config: Path) -> dict[str, float]:
    """The source weights that a run has stored; `UserError` unless the file is as the run wrote it."""
    verify_file(config)
    text = read_file(config)
    try:
        return dict(tomllib.loads(text.decode())["sampler"]["source_weights"])
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{config}: is not the run file of a pilot ({reason:.200}); put it back") from None


def _read(path: Path, model: type[BaseModel]) -> dict[str, Any]:
    content = read_file(path)
    try:
        return model.model_validate_json(content).model_dump()
    except ValidationError as error:
        raise UserError(f"{path}: is damaged: {one_line(error, model)}; put it back") from None
