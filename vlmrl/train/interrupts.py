"""Interrupts: on a signal the run completes its step, saves a checkpoint and ends."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Stop:
    """Whether a stop was requested."""

    requested = False


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """The first Ctrl-C or SIGTERM requests a stop after the current step; a second one ends the process at once."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread receives signals
        return

    def request_stop(number: int, frame: FrameType | None) -> None:
        stop.requested = True
        for name in previous:
            signal.signal(name, previous[name])
        print("stopping after this step; press Ctrl-C again to stop at once", file=sys.stderr, flush=True)

    previous: dict[int, Any] = {n: signal.signal(n, request_stop) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for name in previous:
            signal.signal(name, previous[name])
