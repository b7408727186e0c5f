"""A process that judges calls until it is killed, from both its sides: what `workers` holds, and what runs in it.

    worker = Worker(deadline=5.0, memory_mb=1024)
    worker.begin([("math", [("It is 3.",)], "3", {})])
    while not worker.pipe.poll(0.02): ...            # worker.left() says how long the answer being judged may take
    verdicts, seconds = worker.pipe.recv()           # or a `UserError`: a verifier file of the user is gone
    worker.end()

Calls and verdicts travel as plain tuples: those are pickled several times as fast as the classes.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing import forkserver, popen_forkserver, spawn
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any
from unittest.mock import patch

import psutil

from vlmrl import catalog
from vlmrl.errors import UserError
from vlmrl.rewards.calls import Call, run_call
from vlmrl.verdict import Member, Status

STUCK = 60.0
"""Seconds after which a process that has not begun its chunk is given up."""
_IDLE = -1.0


class LostError(Exception):
    """A chunk whose process has ended. `place`: that of the response it was judging, if it had begun; `before`: the
    verdicts and seconds of the responses before it, once they are known."""

    def __init__(self, place: int | None, status: Status, why: str) -> None:
        super().__init__(why)
        self.place = place
        self.before: Any = None
        self.status: Status = status


class Worker:
    """A process that judges chunks until it is killed. `LostError` if none can be started."""

    def __init__(self, deadline: float, memory_mb: int) -> None:
        self.deadline = deadline
        # The place of the response being judged, and since when.
        self.progress = _CONTEXT.RawArray("d", [_IDLE, 0.0])
        self.pipe, theirs = _CONTEXT.Pipe()
        arguments = (theirs, self.progress, memory_mb, catalog.added_verifiers())
        self.process = _CONTEXT.Process(target=_work, args=arguments, daemon=True)
        try:
            with _starting:
                _CONTEXT.set_forkserver_preload(["vlmrl.rewards.worker_preload"])
                self.process.start()
        except (EOFError, OSError) as error:
            raise LostError(None, "error", f"no process could be started ({error})") from None
        finally:
            theirs.close()

    def end(self) -> None:
        """Stops the process, whatever it does."""
        self.process.kill()
        self.process.join()
        self.pipe.close()

    def begin(self, calls: Sequence[tuple[Any, ...]]) -> None:
        """Hands a chunk over; the pipe brings what `_judge_chunk` makes of it, or a `UserError`."""
        self.progress[0], self.progress[1] = _IDLE, time.monotonic()
        self.pipe.send(calls)

    def place(self) -> int | None:
        """The index, in the chunk, of the response being judged; None before the first."""
        return None if self.progress[0] == _IDLE else int(self.progress[0])

    def left(self) -> float:
        """Seconds that the response being judged still has."""
        limit = STUCK if self.progress[0] == _IDLE else self.deadline
        return limit - (time.monotonic() - self.progress[1])


# --- in the process ---------------------------------------------------------------------------------------


def _work(pipe: Connection, progress: Any, memory_mb: int, added: Sequence[str]) -> None:
    # Ctrl-C in a terminal goes to all its processes; the caller decides when this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The fork server lives while somebody holds this; without it, it ends when the caller does ...
    os.close(forkserver._forkserver._forkserver_alive_fd)  # pyright: ignore[reportAttributeAccessIssue]
    if sys.platform == "linux":
        # ... and takes along even a verifier that is stuck (PR_SET_PDEATHSIG).
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    # What a reward function prints must not mix with the rows that a command writes to standard output.
    os.dup2(2, 1)
    broken: UserError | None = None  # a verifier file of the user that is gone, as the reply to every chunk
    try:
        catalog.add_verifiers(*added)
    except UserError as error:
        broken = error
    limit = psutil.Process().memory_info().vms + memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        try:
            calls = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            pipe.send(broken or _judge_chunk(progress, calls))
        except UserError as error:  # it cannot be loaded any more
            pipe.send(error)


def _judge_chunk(progress: Any, calls: Sequence[tuple[Any, ...]]) -> tuple[list[list[tuple[Any, ...]]], list[float]]:
    """The verdicts of the calls, and the seconds of each."""
    verdicts, seconds = [], []
    for place, (verifier, members, target, params) in enumerate(calls):
        call = Call(verifier, tuple(Member(*member) for member in members), target, params)
        start = time.monotonic()
        progress[1] = start
        progress[0] = place
        verdicts.append([(v.score, v.status, v.parts, v.answer, v.why) for v in run_call(call)])
        seconds.append(time.monotonic() - start)
    progress[0] = _IDLE
    return verdicts, seconds


# --- how processes start ----------------------------------------------------------------------------------


class _Popen(popen_forkserver.Popen):
    """Starts a process that does not import the caller's main file: that may be a training script without a
    guard, and would cost every new process seconds."""

    def _launch(self, process_obj: Any) -> None:
        prepare = spawn.get_preparation_data

        def without_main(name: str) -> dict[str, Any]:
            return {key: value for key, value in prepare(name).items() if not key.startswith("init_main")}

        with patch.object(spawn, "get_preparation_data", without_main):
            super()._launch(process_obj)  # pyright: ignore[reportAttributeAccessIssue]


class _Process(ForkServerProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        return _Popen(process_obj)


class _Context(ForkServerContext):
    Process = _Process


_CONTEXT = _Context()
_starting = threading.Lock()
