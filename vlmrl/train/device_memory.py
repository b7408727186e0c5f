"""Memory in use and its peak. On CUDA that is torch's own counter of allocated bytes, on Linux the resident memory of
the process and its high-water mark (`VmHWM`, what getrusage calls ru_maxrss). Nothing is measured elsewhere.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Peak:
    """Bytes above those in use at the start; 0 where nothing is measured."""

    bytes: int = 0


@contextmanager
def watch(device: torch.device) -> Iterator[Peak]:
    """The peak of what runs inside, told at its end."""
    found = Peak()
    if not measurable(device):
        yield found
        return
    reset_peak(device)
    before = in_use(device)
    yield found
    found.bytes = peak(device) - before


def measurable(device: torch.device) -> bool:
    return device.type == "cuda" or sys.platform == "linux"


def in_use(device: torch.device) -> int:
    """Bytes."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else _resident("VmRSS")


def peak(device: torch.device) -> int:
    """Bytes in use at most since `reset_peak`."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _resident("VmHWM")


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        CLEAR.write_text("5")  # proc(5): the high-water mark becomes what is resident now


def _resident(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024
