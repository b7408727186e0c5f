"""The folder of a run: which run it holds, and whether that run can resume.

runs/<name>/   config.toml  metrics.jsonl  rollouts/  heldout/  checkpoints/  model/  summary.json  report.html
"""

from __future__ import annotations

import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any, Literal

import tomli_w

from vlmrl.config.moved import translated
from vlmrl.config.run_file import RunConfig, validated
from vlmrl.errors import UserError, escaped
from vlmrl.files import whole_file

MAY_CHANGE = {
    *(f"run.{name}" for name in ("max_minutes", "sinks", "keep_checkpoints", "checkpoint_every")),
    *(f"reward.{name}" for name in ("workers", "deadline", "memory_mb", "servers")),
    "agreement.tolerance",
    "data.on_unreadable",
}
"""Settings that a resumed run may change, because what it has done so far does not depend on them."""

ChangedData = Literal["keep", "reload"]
"""The rows of a run whose data files have changed: those that it has copied, or those of today."""


class RunFolder:
    """A run's folder. Use `open`, which rejects a folder with another run."""

    def __init__(self, path: Path, changed_data: ChangedData | None = None) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.changed_data = changed_data

    @classmethod
    def open(cls, config: RunConfig, resume: bool, changed_data: ChangedData | None = None) -> RunFolder:
        """Creates or reopens the folder; `UserError` if it holds a run and `resume` is off, or if settings differ.

        `changed_data` says which rows a resumed run goes on with if a data file has changed.
        """
        folder = cls(Path(config.run.folder) / config.run.name, changed_data)
        settings = _flat(config)
        stored = folder.path / "config.toml"
        # A start that was killed may have left a part of its config alone.
        if not stored.exists() and any(path.suffix != ".partial" for path in folder.path.glob("*")):
            raise UserError(f"{folder.path}: not empty and not a run; choose another run.name")
        if not folder.has_begun():
            # A failed start has left its copy of the data, and the files may have been fixed since.
            shutil.rmtree(folder.path / "data", ignore_errors=True)
            folder.write("config.toml", tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)))
            return folder
        if not resume:
            raise UserError(f"{folder.path}: already holds a run; add --resume to go on, or choose another run.name")
        earlier = _flat(validated(translated(tomllib.loads(stored.read_text()), str(folder.path)), str(stored)))
        for key in sorted((settings.keys() | earlier.keys()) - MAY_CHANGE):
            if settings.get(key) != earlier.get(key):
                raise UserError(
                    f"{folder.path}: was started with {key} = {earlier.get(key)!r}, not {settings.get(key)!r}; "
                    "put it back, or choose another run.name"
                )
        if not folder.checkpoints.exists():  # it starts anew, and so from the rows of today
            shutil.rmtree(folder.path / "data", ignore_errors=True)
        return folder

    def has_begun(self) -> bool:
        """Whether anything was recorded; a run that failed at its start has nothing to resume."""
        metrics = self.path / "metrics.jsonl"
        return self.checkpoints.exists() or (metrics.exists() and metrics.stat().st_size > 0)

    def write(self, name: str, text: str) -> None:
        """Writes a text file whole or not at all."""
        with whole_file(self.path / name) as partial:
            partial.write_text(text, encoding="utf-8")

    def say(self, line: str) -> None:
        """Prints one line for the user."""
        print(f"[{self.path.name}] {escaped(line)}", file=sys.stderr, flush=True)


def _flat(config: RunConfig) -> dict[str, Any]:
    """The values of all settings by dotted name."""
    return _leaves(config.model_dump(mode="json", exclude_none=True), "")


def _leaves(table: dict[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            flat |= _leaves(value, f"{name}.")
        else:
            flat[name] = value
    return flat
