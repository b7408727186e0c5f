"""Commands as forks of one process that has imported everything, each killed before one of its file operations.

    with Forks() as forks:
        done = forks.run(["train", "run.toml"], folder)                     # to its end, operations counted
        done = forks.run(["train", "run.toml"], folder, kill_at=17)         # SIGKILL before operation 17 in `folder`

A start of the interpreter with torch takes longer than the short runs of a test; a fork costs nothing. There is one
thread, so that a fork loses none and sums are the same everywhere.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

EVENTS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate")
"""Audit events that change a folder, beside `open` for writing; `os.fsync` has none and is wrapped."""
LOADED = (
    *("vlmrl.train.trainer", "datasets", "jinja2", "plotly.offline"),
    *("vlmrl.verifiers.counting", "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl"),
)
"""What a run imports when it needs it."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Ended(NamedTuple):
    """What a command left."""

    code: int
    """Its exit code; the negative number of the signal that ended it."""
    operations: list[str]
    """The file operations in the folder, in their order; empty for a command that was killed."""
    errors: str


class Forks:
    """The warmed process; a context manager."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "helpers.forks"]
        path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    def run(
        self,
        arguments: Sequence[Any],
        folder: Path,
        kill_at: int | None = None,
        number: signal.Signals = signal.SIGKILL,
    ) -> Ended:
        """Runs a `vlmrl` command; `kill_at` counts from 1 and sends it the signal `number`."""
        assert self.process.stdin
        assert self.process.stdout
        order = {"arguments": list(map(str, arguments)), "folder": str(folder), "at": kill_at, "signal": int(number)}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return Ended(**json.loads(self.process.stdout.readline()))


def serve() -> None:
    """Runs the commands that arrive on standard input."""
    import torch

    from vlmrl.config.model import ModelSettings
    from vlmrl.models.formatting import Formatter
    from vlmrl.models.policy import resolve

    torch.set_num_threads(1)
    for name in LOADED:
        importlib.import_module(name)
    Formatter.load(resolve("tiny"), ModelSettings())  # most of what it loads are modules
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for line in sys.stdin:
        order = json.loads(line)
        with tempfile.TemporaryDirectory() as name:
            child = os.fork()
            if not child:
                _run(order, Path(name))
            _, status = os.waitpid(child, 0)
            known = Path(name) / "operations.json"
            operations = json.loads(known.read_text()) if known.exists() else []
            errors = (Path(name) / "errors").read_text()
        ended = Ended(os.waitstatus_to_exitcode(status), operations, errors)
        answers.write(json.dumps(ended._asdict()) + "\n")
        answers.flush()


def _run(order: dict[str, Any], about: Path) -> None:
    """One command, in a fork; does not return."""
    from vlmrl.cli import main

    os.dup2(os.open(about / "errors", os.O_WRONLY | os.O_CREAT), 2)
    operations: list[str] = []

    def count(name: str, path: str) -> None:
        operations.append(f"{name} {path}")
        if len(operations) == order["at"]:
            os.kill(os.getpid(), order["signal"])

    def audit(event: str, about: tuple[Any, ...]) -> None:
        if event == "open" and not (about[2] or 0) & WRITING:
            return
        if (event == "open" or event in EVENTS) and isinstance(about[0], str | bytes | os.PathLike):
            path = os.fsdecode(about[0])
            if path.startswith(order["folder"]):
                count(event, path)

    def fsync(descriptor: int, plain: Any = os.fsync) -> None:
        count("os.fsync", os.readlink(f"/proc/self/fd/{descriptor}"))
        plain(descriptor)

    os.fsync = fsync
    sys.addaudithook(audit)
    code = 1
    try:
        code = main(order["arguments"])
        (about / "operations.json").write_text(json.dumps(operations))
    except Exception:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
