"""Memory in use and its peak.

On CUDA it is torch's counter of allocated bytes. On Linux it is the resident memory of the process and its high-water
mark (`VmHWM`, the ru_maxrss of getrusage). Elsewhere nothing is measured.
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
    """Peak bytes beyond those in use at the start; 0 where nothing is measured."""

    bytes: int = 0


@contextmanager
def watch(device: torch.device) -> Iterator[Peak]:
    """The peak inside the block; it is set when the block ends."""
    result = Peak()
    if not measurable(device):
        yield result
        return
    reset_peak(device)
    before = in_use(device)
    yield result
    result.bytes = peak(device) - before


def measurable(device: torch.device) -> bool:
    return device.type == "cuda" or sys.platform == "linux"


def in_use(device: torch.device) -> int:
    """Bytes in use."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else _resident("VmRSS")


def peak(device: torch.device) -> int:
    """Most bytes in use since `reset_peak`."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _resident("VmHWM")


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        CLEAR.write_text("5")  # proc(5): sets the high-water mark to the resident memory


def _resident(field: str) -> int:
    match = re.search(rf"^{field}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    assert match
    return int(match[1]) * 1024
