"""The folder of a run: whose it is, and what may be continued in it.

runs/<name>/   config.toml  metrics.jsonl  rollouts/  heldout/  checkpoints/  model/  summary.json  report.html
"""

from __future__ import annotations

import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from vlmrl.config.run_file import RunConfig
from vlmrl.errors import UserError
from vlmrl.files import whole_file

MAY_CHANGE = {
    *(f"run.{name}" for name in ("max_minutes", "sinks", "keep_checkpoints", "checkpoint_every", "export")),
    *(f"reward.{name}" for name in ("workers", "deadline", "memory_mb", "servers")),
    *(f"agreement.{name}" for name in ("warn", "warn_kl", "stop", "stop_kl")),
}
"""Settings that a resumed run may change, because its numbers do not depend on them."""


class RunFolder:
    """Made by `open`, which refuses a folder that holds another run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"

    @classmethod
    def open(cls, config: RunConfig, resume: bool) -> RunFolder:
        """`UserError` if the folder holds a run and `resume` is off, or holds a run with other settings."""
        folder = cls(Path(config.run.folder) / config.run.name)
        settings = _flat(config.model_dump(mode="json", exclude_none=True))
        stored = folder.path / "config.toml"
        # A start that was killed may have left a part of its config alone.
        if not stored.exists() and any(path.suffix != ".partial" for path in folder.path.glob("*")):
            raise UserError(f"{folder.path}: not empty and not a run; choose another run.name")
        if not folder.has_begun():
            # A start that was refused has left its copy of the data, and the files may have been mended since.
            shutil.rmtree(folder.path / "data", ignore_errors=True)
            folder.write("config.toml", tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)))
            return folder
        if not resume:
            raise UserError(f"{folder.path}: already holds a run; add --resume to go on, or choose another run.name")
        earlier = _flat(tomllib.loads(stored.read_text()))
        for key in sorted((settings.keys() | earlier.keys()) - MAY_CHANGE):
            if settings.get(key) != earlier.get(key):
                raise UserError(
                    f"{folder.path}: was started with {key} = {earlier.get(key)!r}, not {settings.get(key)!r}; "
                    "put it back, or choose another run.name"
                )
        return folder

    def has_begun(self) -> bool:
        """Whether anything was recorded; a run that was refused at its start leaves nothing to go on from."""
        metrics = self.path / "metrics.jsonl"
        return self.checkpoints.exists() or (metrics.exists() and metrics.stat().st_size > 0)

    def write(self, name: str, text: str) -> None:
        """A small text file, whole or not at all."""
        with whole_file(self.path / name) as partial:
            partial.write_text(text, encoding="utf-8")

    def say(self, line: str) -> None:
        """One line for the person who watches."""
        print(f"[{self.path.name}] {line}", file=sys.stderr, flush=True)


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves by dotted name."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{name}.")
        else:
            flat[name] = value
    return flat
