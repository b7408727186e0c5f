"""The folder of a run: which run it holds, whether it is ours, and whether that run can resume.

runs/<name>/   run.json  config.toml  metrics.jsonl  rollouts/  heldout/  checkpoints/  model/  summary.json
               report.html

`run.json` marks the folder as ours. Nothing is written into a folder without it, and nothing deleted, unless the folder
is empty or holds a run of the first versions, which had no marker. A start that is refused leaves no trace.
"""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Self

import tomli_w

import vlmrl
from vlmrl.config.moved import translated
from vlmrl.config.run_file import RunConfig, validated
from vlmrl.errors import UserError, escaped
from vlmrl.files import remove, whole_file
from vlmrl.monitor.records import MARKER, verify
from vlmrl.monitor.run_lock import LOCK, RunLock

CONFIG = "config.toml"
LEFTOVERS = {LOCK, f".{MARKER}.partial", f".{CONFIG}.partial"}
"""What a start can leave that was killed before it had written its marker."""

MAY_CHANGE = {
    *(f"run.{name}" for name in ("steps", "max_minutes", "sinks", "keep_checkpoints", "checkpoint_every")),
    *(f"reward.{name}" for name in ("workers", "deadline", "memory_mb", "servers")),
    "agreement.tolerance",
    "data.on_unreadable",
}
"""Settings that a resumed run may change, because what it has done so far does not depend on them."""

ChangedData = Literal["keep", "reload"]
"""The rows of a run whose data files have changed: those that it has copied, or those of today."""


class RunFolder:
    """A run's folder, locked for this process. Use `open`; as a context it also removes what a refused start wrote."""

    def __init__(self, config: RunConfig, changed_data: ChangedData | None = None) -> None:
        self.path = Path(config.run.folder) / config.run.name
        self.checkpoints = self.path / "checkpoints"
        self.config = config
        self.changed_data = changed_data
        self._lock: RunLock | None = None
        self.earlier_steps = config.run.steps
        """The `run.steps` of the latest start."""
        self._created = [path for path in (self.path, *self.path.parents) if not path.exists()]
        self._starts = False  # whether this process has begun a run here that is not yet under way

    @classmethod
    def open(cls, config: RunConfig, resume: bool, changed_data: ChangedData | None = None) -> RunFolder:
        """Creates or reopens the folder; `UserError` if it holds a run and `resume` is off, or if settings differ.

        `changed_data` says which rows a resumed run goes on with if a data file has changed.
        """
        folder = cls(config, changed_data)
        folder._check(resume)
        try:  # the lock is in the folder
            folder.path.mkdir(parents=True, exist_ok=True)
            folder._lock = RunLock(folder.path)
        except OSError as error:
            raise UserError(f"{folder.path}: cannot be written ({error.strerror or error})") from None
        try:
            folder._check(resume)  # again: until the lock was ours, another process may have been at work
            folder._take_up(resume)
        except BaseException:
            folder.close()
            raise
        return folder

    def has_begun(self) -> bool:
        """Whether anything was recorded; a run that failed at its start has nothing to resume."""
        metrics = self.path / "metrics.jsonl"
        return self.checkpoints.exists() or (metrics.exists() and metrics.stat().st_size > 0)

    def begin(self) -> None:
        """The run is under way: its settings are stored, and what a killed process left half written goes."""
        text = tomli_w.dumps(self.config.model_dump(mode="json", exclude_none=True))
        stored = self.path / CONFIG
        if not stored.exists() or stored.read_bytes() != text.encode():
            self.write(CONFIG, text)
        for partial in self.path.glob(".*.partial"):
            remove(partial)
        self._starts = False

    def write(self, name: str, text: str) -> None:
        """Writes a text file whole or not at all."""
        with whole_file(self.path / name) as partial:
            partial.write_text(text, encoding="utf-8")

    def say(self, line: str) -> None:
        """Prints one line for the user."""
        print(f"[{self.path.name}] {escaped(line)}", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._starts and kind is not None and issubclass(kind, Exception):
            self._clear()
        self.close()

    # --- opening ------------------------------------------------------------------------------------------

    def _check(self, resume: bool) -> None:
        """`UserError` unless this run may start or go on here. It only reads."""
        if not self.path.exists():
            if resume:
                raise UserError(f"{self.path}: there is no run to resume; leave --resume out to start it")
            return
        if not self.path.is_dir():
            raise UserError(f"{self.path}: is not a folder; choose another run.name")
        names = {path.name for path in self.path.iterdir()}
        marked, begun = self._marker() is not None, self.has_begun()
        if not marked and not names <= LEFTOVERS and not (begun and CONFIG in names):
            raise UserError(f"{self.path}: not empty and not a run; choose another run.name")
        if not begun:
            return
        if not resume:
            raise UserError(f"{self.path}: already holds a run; add --resume to go on, or choose another run.name")
        self._compare()
        if not marked and "data" in names and not self.checkpoints.exists():
            raise UserError(f"{self.path}: holds no {MARKER} and no checkpoint; choose another run.name")

    def _compare(self) -> None:
        """`UserError` if a setting differs from that of the run so far."""
        stored, settings = self.path / CONFIG, _flat(self.config)
        try:
            table = tomllib.loads(stored.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{stored}: cannot be read ({error.strerror or error}); put it back") from None
        except ValueError as error:  # not TOML, or not UTF-8
            raise UserError(f"{stored}: not valid TOML ({' '.join(str(error).split()):.200}); put it back") from None
        earlier = _flat(validated(translated(table, str(self.path)), str(stored)))
        self.earlier_steps = earlier["run.steps"]
        for key in sorted((settings.keys() | earlier.keys()) - MAY_CHANGE):
            if settings.get(key) != earlier.get(key):
                raise UserError(
                    f"{self.path}: was started with {key} = {earlier.get(key)!r}, not {settings.get(key)!r}; "
                    "put it back, or choose another run.name"
                )

    def _take_up(self, resume: bool) -> None:
        """Marks the folder. What a run without a checkpoint has copied goes: it starts anew, from the rows of today."""
        marker, self._starts = self._marker(), not self.has_begun()
        verify(self.path)
        if resume and not self.checkpoints.exists():
            self.say("there is no checkpoint yet, so the run starts from its first step")
        if marker is None:
            about = {"format": 1, "vlmrl": vlmrl.__version__, "run": uuid.uuid4().hex}
            self.write(MARKER, json.dumps(about, indent=2) + "\n")
        elif not self.checkpoints.exists():
            shutil.rmtree(self.path / "data", ignore_errors=True)
        if marker is not None and marker["vlmrl"] != vlmrl.__version__:
            self.say(
                f"was started with vlmrl {marker['vlmrl']!s:.20} and goes on with {vlmrl.__version__}: "
                "it may end otherwise than it would have"
            )

    def _marker(self) -> dict[str, Any] | None:
        """What `run.json` holds; None if there is none, or if it is not ours."""
        try:
            marker = json.loads((self.path / MARKER).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        return marker if isinstance(marker, dict) and {"format", "vlmrl", "run"} <= marker.keys() else None

    def _clear(self) -> None:
        """Removes what a start has written that was refused, and the folders that it has made."""
        shutil.rmtree(self.path / "data", ignore_errors=True)
        for name in (CONFIG, "unreadable.jsonl", MARKER, LOCK):
            (self.path / name).unlink(missing_ok=True)
        with suppress(OSError):  # one that holds something else stays
            for folder in self._created:
                folder.rmdir()


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
