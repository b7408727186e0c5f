"""Stages: one sampler after another, each up to its share of the run's steps.

[[sampler.stages]]
name = "ladder"
until = 0.3

[[sampler.stages]]
name = "rlcs"
until = 1.0
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vlmrl.curriculum import Sampler, create_one
from vlmrl.curriculum.memory import PromptMemory
from vlmrl.rollout.group import Group

if TYPE_CHECKING:
    from vlmrl.config.sampler import SamplerSettings


class Stages:
    """Passes on to the sampler of the present stage; surplus groups of a stage go over to the next."""

    def __init__(self, settings: SamplerSettings, memory: PromptMemory, seed: int) -> None:
        self.sections, self.memory, self.seed = settings.sections(), memory, seed
        self.until = [stage.until for stage in settings.stages]
        for stage in range(1, len(self.sections)):
            self._create(stage)  # only to check it: an error in a late stage shows before the first step
        self.stage, self.sampler = 0, self._create(0)

    def _create(self, stage: int) -> Sampler:
        return create_one(self.sections[stage], self.memory, (self.seed, stage))

    @property
    def pending(self) -> list[Group]:
        return self.sampler.pending

    def begin(self, step: int, progress: float) -> None:
        stage = next(number for number, until in enumerate(self.until) if progress <= until)
        if stage != self.stage:
            self.sampler.begin(step, progress)  # drops what is too old to go over
            surplus = self.pending
            self.stage, self.sampler = stage, self._create(stage)
            self.pending.extend(surplus)
        self.sampler.begin(step, progress)

    def missing(self, n: int) -> int:
        return self.sampler.missing(n)

    def next(self, n: int) -> np.ndarray:
        return self.sampler.next(n)

    def observe(self, groups: Sequence[Group]) -> None:
        self.sampler.observe(groups)

    def batch(self, n: int) -> list[Group]:
        return self.sampler.batch(n)

    def metrics(self) -> dict[str, float]:
        return {"stage": self.stage, **self.sampler.metrics()}

    def state_dict(self) -> dict[str, Any]:
        return {"stage": self.stage, "sampler": self.sampler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.stage = state["stage"]
        self.sampler = self._create(self.stage)
        self.sampler.load_state_dict(state["sampler"])
