"""Interrupts: a run that is asked to stop ends its step, saves and leaves."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Stop:
    """Whether the run was asked to stop."""

    requested = False


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """The first Ctrl-C or SIGTERM asks the loop to save and end after the step; a second one ends at once."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread receives signals
        return

    def ask(number: int, frame: FrameType | None) -> None:
        stop.requested = True
        for name in earlier:
            signal.signal(name, earlier[name])
        print("stopping after this step; again to stop at once", file=sys.stderr, flush=True)

    earlier: dict[int, Any] = {n: signal.signal(n, ask) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for name in earlier:
            signal.signal(name, earlier[name])
