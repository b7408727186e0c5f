"""Interrupts: on a signal the run completes its step and saves a checkpoint, or stops where it loads or evaluates."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Stop:
    """Whether a stop was requested, and whether it waits."""

    requested = False
    waits = False
    """Whether steps are being made: the one under way then ends first. Otherwise nothing is lost by a stop at once."""


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """The first Ctrl-C or SIGTERM requests a stop, or raises `KeyboardInterrupt` if that does not wait; a second one
    has its usual effect."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread receives signals
        return

    def request_stop(number: int, frame: FrameType | None) -> None:
        for name in previous:
            signal.signal(name, previous[name])
        if not stop.waits:
            raise KeyboardInterrupt
        stop.requested = True
        print("stopping after this step; press Ctrl-C again to stop at once", file=sys.stderr, flush=True)

    previous: dict[int, Any] = {n: signal.signal(n, request_stop) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for name in previous:
            signal.signal(name, previous[name])
