"""Peak memory of one side's update in a separate process, beyond the loaded model and its inputs.

`vlmrl.train.device_memory` measures from the first update on, so activations, gradients and optimizer state count.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch

from vlmrl.train import device_memory

UPDATES = 2
"""Number of updates; from the second on, the optimizer's state is in memory."""


def in_new_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's result, computed in a new process; function and arguments must pickle."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_log_to_stderr) as pool:
        return pool.submit(function, *arguments).result()


def _log_to_stderr() -> None:
    """Sends the log lines of libraries to standard error, because standard output is for the figures."""
    sys.stdout = sys.stderr


def peak_bytes(update: Callable[[], Any], device: torch.device) -> int | None:
    """Peak bytes of `UPDATES` calls beyond those in use before the first; None where they cannot be measured."""
    if not device_memory.measurable(device):
        return None
    gc.collect()
    with device_memory.watch(device) as peak:
        for _ in range(UPDATES):
            update()
    return peak.bytes
