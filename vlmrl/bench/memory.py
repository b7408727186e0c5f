"""Peak memory of one side's update, in a process of its own, above the loaded model and its inputs.

On CUDA it is torch's own counter of allocated bytes. On Linux it is the high-water mark of the process's resident
memory (`VmHWM`, what getrusage calls ru_maxrss), reset before the first update: activations, gradients and optimizer
state count. None elsewhere.
"""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

UPDATES = 2
"""The second has the optimizer's state in memory."""
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def in_a_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's result, computed in a fresh process; both must pickle."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_aside) as pool:
        return pool.submit(function, *arguments).result()


def _aside() -> None:
    """Libraries log to standard output as they load; it is for the figures."""
    sys.stdout = sys.stderr


def peak_bytes(update: Callable[[], Any]) -> int | None:
    """Peak of `UPDATES` calls above what is in memory before the first."""
    if not torch.cuda.is_available() and sys.platform != "linux":
        return None
    gc.collect()
    _reset()
    before = _now()
    for _ in range(UPDATES):
        update()
    return _peak() - before


def _now() -> int:
    return torch.cuda.memory_allocated() if torch.cuda.is_available() else _resident("VmRSS")


def _peak() -> int:
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else _resident("VmHWM")


def _reset() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        CLEAR.write_text("5")  # proc(5): the high-water mark becomes what is resident now


def _resident(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024
