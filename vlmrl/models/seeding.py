"""Random generators: their seeds, and their state in a checkpoint."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


class Generators:
    """The state of every random generator that a run may use."""

    def state_dict(self) -> dict[str, Any]:
        return {
            "python": random.getstate(),
            "numpy": np.random.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        version, words, gauss = state["python"]
        random.setstate((version, tuple(words), gauss))
        np.random.set_state(state["numpy"])
        torch.set_rng_state(state["torch"])
        if torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda"])


def seed_everything(seed: int) -> None:
    """Seeds every random generator. On CPU it also makes torch deterministic."""
    if not torch.cuda.is_available():
        # By default the backward pass of a gather adds with atomics, in an order that varies between threads.
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
