"""uniform: every sample once an epoch, in a fresh random order each time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vlmrl.group import Group
from vlmrl.sample import Sample

if TYPE_CHECKING:
    from vlmrl.dataset import Dataset


def create(dataset: Dataset, seed: int) -> UniformSampler:
    return UniformSampler(dataset, seed)


class UniformSampler:
    """The order of an epoch is a function of (seed, epoch), so the state is two numbers."""

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed
        self.epoch = 0
        self.cursor = 0
        self._order = self._shuffle()

    def _shuffle(self) -> np.ndarray:
        return np.random.default_rng([self.seed, self.epoch]).permutation(len(self.dataset))

    def next(self, n: int) -> list[Sample]:
        """The next `n` samples; an epoch's end falls anywhere in them."""
        picked = []
        for _ in range(n):
            if self.cursor == len(self.dataset):
                self.epoch, self.cursor = self.epoch + 1, 0
                self._order = self._shuffle()
            picked.append(self.dataset[int(self._order[self.cursor])])
            self.cursor += 1
        return picked

    def observe(self, groups: Sequence[Group]) -> None:
        pass

    def metrics(self) -> dict[str, float]:
        return {"epoch": self.epoch + self.cursor / len(self.dataset)}

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "cursor": self.cursor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.cursor = state["epoch"], state["cursor"]
        self._order = self._shuffle()
