"""Peak memory of one side's update, in a process of its own, above the loaded model and its inputs.

`vlmrl.train.device_memory` says what is measured, from the first update on: activations, gradients and optimizer
state count.
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
"""The second has the optimizer's state in memory."""


def in_a_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's result, computed in a fresh process; both must pickle."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_aside) as pool:
        return pool.submit(function, *arguments).result()


def _aside() -> None:
    """Libraries log to standard output as they load; it is for the figures."""
    sys.stdout = sys.stderr


def peak_bytes(update: Callable[[], Any], device: torch.device) -> int | None:
    """Peak of `UPDATES` calls above what is in memory before the first."""
    if not device_memory.measurable(device):
        return None
    gc.collect()
    with device_memory.watch(device) as peak:
        for _ in range(UPDATES):
            update()
    return peak.bytes
