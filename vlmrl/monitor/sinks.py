"""Sinks: the outputs of metrics. `SINKS` has their classes by name; `SINKS[name](folder, total_steps)` makes one.

They write lines of `metrics.jsonl`, TensorBoard scalars, and a progress bar or log lines on the console.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from vlmrl.errors import UserError, escaped
from vlmrl.monitor.summary import PHASES, heldout_tables, metrics_line, source_names


class Sink(Protocol):
    """An output of metrics."""

    def write(self, row: Mapping[str, float], label: str) -> None:
        """Writes metrics, which include their `step`. `label` is the name of an evaluation; empty for a step."""
        ...

    def close(self) -> None: ...


class JsonlSink:
    """Appends a line to `metrics.jsonl` for each call."""

    def __init__(self, folder: Path, total_steps: int) -> None:
        self._path = folder / "metrics.jsonl"

    def write(self, row: Mapping[str, float], label: str) -> None:
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(metrics_line(row))
        except OSError as error:
            raise UserError(f"{self._path}: cannot write ({error.strerror}); make room and resume") from None

    def close(self) -> None:
        pass


class TensorBoardSink:
    """Writes scalars to `tensorboard/`, one tag for each key; it needs neither torch nor tensorflow."""

    def __init__(self, folder: Path, total_steps: int) -> None:
        try:
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError:
            raise UserError(
                "sink 'tensorboard': not installed; pip install 'vlmrl-toolkit[train]' or leave the sink out"
            ) from None
        self._writer = EventFileWriter(str(folder / "tensorboard"))
        self._first_write = True

    def write(self, row: Mapping[str, float], label: str) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore
        from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore

        now, step = time.time(), int(row["step"])
        if self._first_write:
            # TensorBoard then ignores what a killed process wrote from this step on.
            start = SessionLog(status=SessionLog.START)
            self._writer.add_event(Event(wall_time=now, step=step, session_log=start))
            self._first_write = False
        values = [Summary.Value(tag=key, simple_value=value) for key, value in row.items()]
        self._writer.add_event(Event(wall_time=now, step=step, summary=Summary(value=values)))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class ConsoleSink:
    """Shows a progress bar with the reward of each source on a terminal; prints a line every few seconds to a log."""

    SECONDS_BETWEEN_LINES = 5.0

    def __init__(self, folder: Path, total_steps: int) -> None:
        from rich import get_console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._total = total_steps
        self._last_line = -math.inf
        # The global console of rich, because two bars at the same time, as in an evaluation, must share a console.
        self._console = get_console()
        rewards = TextColumn("{task.description}", markup=False)
        columns = (BarColumn(bar_width=20), MofNCompleteColumn(), TimeRemainingColumn(), rewards)
        self._bar = Progress(*columns, console=self._console)
        self._task = self._bar.add_task("", total=total_steps)

    def write(self, row: Mapping[str, float], label: str) -> None:
        step = int(row["step"])
        if label:
            self._print(f"held-out, {label}: {_heldout_rewards(row)}")
            return
        rewards = _step_rewards(row)
        if self._console.is_terminal:
            self._bar.start()
            self._bar.update(self._task, completed=step, description=rewards)
        elif step >= self._total or time.monotonic() - self._last_line >= self.SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            seconds = sum(row.get(f"seconds/{phase}", 0.0) for phase in PHASES)
            length = f"  length {row['all/length']:.1f}" if "all/length" in row else ""
            self._print(f"step {step}/{self._total}  {rewards}{length}  {seconds:.1f} s")

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        if self._console.is_terminal:
            self._bar.stop()


def _step_rewards(row: Mapping[str, float]) -> str:
    """The rewards of a step, or the loss of a supervised step."""
    if "all/reward" not in row and "all/loss" in row:
        return f"loss {row['all/loss']:.4f}"
    sources = {source: f"source/{source}/reward" for source in source_names(row)}
    return _rewards_text({name: row[key] for name, key in ({"all": "all/reward"} | sources).items() if key in row})


def _heldout_rewards(row: Mapping[str, float]) -> str:
    table = heldout_tables([row]).get(int(row["step"]), {})
    figures = {source: modes.get("sampled", {}) for source, modes in table.items()}
    return _rewards_text({source: f["mean"] for source, f in figures.items() if "mean" in f})


def _rewards_text(rewards: Mapping[str, float]) -> str:
    """`reward 0.531  counting 0.612  ...`: the reward of all sources, then of each."""
    ordered = sorted(rewards.items(), key=lambda item: (item[0] != "all", item[0]))
    return "  ".join(f"{'reward' if name == 'all' else escaped(name)} {value:.3f}" for name, value in ordered)


SINKS: dict[str, Callable[[Path, int], Sink]] = {
    "jsonl": JsonlSink,
    "tensorboard": TensorBoardSink,
    "console": ConsoleSink,
}
