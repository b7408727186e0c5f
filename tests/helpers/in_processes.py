"""What tests run in other processes: these import it by its name, which a test file has not for them."""

from __future__ import annotations

import torch

from vlmrl.bench.memory import peak_bytes
from vlmrl.rewards.endpoint import ask


def ask_all(_: int) -> list[str]:
    """The replies of the endpoint to twenty questions."""
    return [ask(f"question {number}") for number in range(20)]


def peaks(*megabytes: int) -> list[int | None]:
    """Peak memory of making a tensor of each size."""
    cpu = torch.device("cpu")
    return [peak_bytes(lambda size=size: torch.ones(size << 18).sum(), cpu) for size in megabytes]
