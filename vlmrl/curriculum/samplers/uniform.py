"""uniform: every prompt once an epoch, in a fresh random order each time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlmrl.curriculum import Seed
from vlmrl.curriculum.draws import Draws
from vlmrl.curriculum.memory import PromptMemory

if TYPE_CHECKING:
    from vlmrl.config.sampler import SamplerSections


def create(memory: PromptMemory, settings: SamplerSections, own: None, seed: Seed) -> Draws:
    return Draws(memory, settings, seed)
