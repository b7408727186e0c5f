"""uniform: every prompt once an epoch, in a fresh random order each time."""

from __future__ import annotations

from vlmrl.config.sampler import SamplerSections
from vlmrl.curriculum import Seed
from vlmrl.curriculum.draws import Draws
from vlmrl.curriculum.memory import PromptMemory


def create(memory: PromptMemory, settings: SamplerSections, seed: Seed) -> Draws:
    return Draws(memory, settings, seed)
