"""pcurl_stages: easy, medium and hard stages over the same prompts, shuffled anew (VL-Cogito, arXiv 2507.22607).

VL-Cogito weighs the advantages of a group by its pass rate and the stage (`vlmrl/objectives/pcurl.py`). Here a prompt
is drawn with that weight as its chance (`probe` at least), so that what would weigh nothing is not paid for. Where the
objective applies the weight (`objective.group_weight = "pcurl"`), set `draw_by_weight = false`. The paper also drops
prompts of a base pass rate above one half: `sampler.admit.graded_pass_rate = [0, 0.5]`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vlmrl.config.sampler import SamplerSections
from vlmrl.curriculum import Seed
from vlmrl.curriculum.draws import Draws
from vlmrl.curriculum.memory import PromptMemory
from vlmrl.objectives.pcurl import STAGES, stage_at, stage_weight


def create(memory: PromptMemory, settings: SamplerSections, seed: Seed) -> PcurlStages:
    return PcurlStages(memory, settings, seed)


class PcurlStages(Draws):
    """The order is a function of (seed, stage, epoch)."""

    def __init__(self, memory: PromptMemory, settings: SamplerSections, seed: Seed) -> None:
        self.stage = 0
        super().__init__(memory, settings, (*seed, 0))
        self.own = settings.pcurl_stages

    def begin(self, step: int, progress: float) -> None:
        super().begin(step, progress)
        # The objective goes by what was done before the step: this is the very float, so that both change at once.
        steps = round(step / progress)
        stage = stage_at((step - 1) / steps, self.own.until)
        if stage != self.stage:
            self._enter(stage)

    def _enter(self, stage: int) -> None:
        self.stage = stage
        self.streams = self.make_streams((*self.seed[:-1], stage))

    def chance(self, indices: np.ndarray) -> np.ndarray | None:
        if not self.own.draw_by_weight:
            return None
        rate = self.memory.pass_rate(indices)
        weight = np.maximum(self.own.probe, stage_weight(rate, STAGES[self.stage]))
        return np.where(np.isnan(rate), 1.0, weight)

    def metrics(self) -> dict[str, float]:
        return super().metrics() | {"pcurl_stage": self.stage}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"stage": self.stage}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._enter(state["stage"])
        super().load_state_dict(state)
