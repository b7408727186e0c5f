"""The run file: every setting there is, with its default, validated. TOML, overlays, `--section.field value`.

    config = load_run(["quickstart", "mine.toml", {"run.steps": 100}], ["--rollout.engine", "vllm"])

A later layer wins over an earlier one, a flag over all. An unknown key is refused with the nearest valid name.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import vlmrl
from vlmrl.config.data import DataSettings
from vlmrl.config.learner import AgreementSettings, LearnerSettings
from vlmrl.config.model import ModelSettings
from vlmrl.config.moved import refuse_moved
from vlmrl.config.objective import ObjectiveSettings
from vlmrl.config.reward import RewardSettings
from vlmrl.config.rollout import RolloutSettings
from vlmrl.config.run import EvalSettings, RunSettings
from vlmrl.config.sampler import SamplerSettings
from vlmrl.config.section import Section
from vlmrl.config.sft import SftSettings
from vlmrl.errors import UserError, nearest, one_line


class RunConfig(Section):
    """A whole run file."""

    run: RunSettings
    data: DataSettings
    model: ModelSettings = ModelSettings()
    sampler: SamplerSettings = SamplerSettings()
    rollout: RolloutSettings = RolloutSettings()
    reward: RewardSettings = RewardSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    learner: LearnerSettings = LearnerSettings()
    agreement: AgreementSettings = AgreementSettings()
    eval: EvalSettings = EvalSettings()
    sft: SftSettings | None = None


Layer = str | Mapping[str, Any]
"""A run file or the name of one that is shipped; or settings, nested or by dotted name."""


def load_run(layers: Sequence[Layer], overrides: Sequence[str] = ()) -> RunConfig:
    """The validated config of a run; `UserError` names the file or flag, the field, the value."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for table in [_read(layer)] if isinstance(layer, str) else _tables(layer):
            _merge(merged, table)
    for path, value in _flags(overrides):
        _set(merged, path, value)
    where = ", ".join(layer if isinstance(layer, str) else "settings" for layer in layers)
    refuse_moved(merged, where)
    return validated(merged, where)


def validated(config: dict[str, Any], where: str) -> RunConfig:
    """The config of nested tables; `UserError` names the field and its value."""
    try:
        return RunConfig.model_validate(config)
    except ValidationError as error:
        raise UserError(f"{where}: {one_line(error, RunConfig)}") from None


def find_run_file(name: str) -> Path:
    """The file of that path, or the run file of that name that comes with the toolkit."""
    path = Path(name)
    if path.is_file():
        return path
    folders = [Path(base) / part for base in vlmrl.__path__ for part in ("runs", "scripts/configs")]
    shipped = {p.stem: p for folder in folders for p in sorted(folder.glob("*.toml"))}
    if name in shipped:
        return shipped[name]
    raise UserError(f"{name}: no such run file{nearest(name, shipped)}")


def _read(name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(find_run_file(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{name}: cannot be read ({error.strerror or error})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{name}: not valid TOML ({error})") from None


def _tables(settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Each setting as a nested table of its own; the values are copies."""
    for name, value in settings.items():
        table = deepcopy(value)
        for part in reversed(name.split(".")):
            table = {part: table}
        yield table


def _merge(base: dict[str, Any], over: dict[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = value


def _flags(overrides: Sequence[str]) -> Iterator[tuple[list[str], Any]]:
    """Pairs of path and value from `--a.b value` or `--a.b=value`."""
    words = list(overrides)
    while words:
        flag, equals, value = words.pop(0).partition("=")
        if not flag.startswith("--") or "." not in flag:
            raise UserError(f"{flag!r}: not a setting; write --section.field value")
        if not equals:
            if not words:
                raise UserError(f"{flag}: its value is missing; write {flag} value")
            value = words.pop(0)
        yield flag.removeprefix("--").split("."), _value(value)


def _value(text: str) -> Any:
    """A TOML value if it reads as one, else the text itself."""
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def _set(table: dict[str, Any], path: list[str], value: Any) -> None:
    *parents, last = path
    for part in parents:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise UserError(f"--{'.'.join(path)}: {part!r} is a value, not a section")
    table[last] = value
