"""pcurl_stages: easy, medium and hard stages over the same prompts, shuffled anew (VL-Cogito, arXiv 2507.22607).

VL-Cogito multiplies the advantages of a group by a weight that depends on its pass rate and on the stage
(`vlmrl/objectives/pcurl.py`). Here a prompt is drawn with that weight as its chance (`probe` at least), so that what
would have no weight is not paid for. Where the objective applies the weight (`objective.group_weight = "pcurl"`), set
`draw_by_weight = false`. The paper also drops prompts of a base pass rate above one half: `sampler.admit = [0, 0.5]`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, field_validator

from vlmrl.config.section import Section
from vlmrl.curriculum import Seed
from vlmrl.curriculum.draws import Draws
from vlmrl.curriculum.memory import PromptMemory
from vlmrl.objectives.pcurl import STAGES, stage_at, stage_weight

if TYPE_CHECKING:
    from vlmrl.config.sampler import SamplerSections


Share = Annotated[float, Field(ge=0, le=1)]


class Settings(Section):
    """[sampler.pcurl_stages]: the stages of VL-Cogito."""

    until: tuple[Share, Share, Share] = Field(
        default=(1 / 3, 2 / 3, 1.0), description="shares of the steps at which the easy, medium and hard stage end"
    )
    draw_by_weight: bool = Field(
        default=True, description="draw prompts by the stage's group weight; false if the objective applies this weight"
    )
    probe: float = Field(
        default=0.05, gt=0, le=1, description="lowest chance that a prompt is drawn, whatever its weight"
    )

    @field_validator("until")
    @classmethod
    def _ascends(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(later <= earlier for earlier, later in pairwise(value)):
            raise ValueError(f"{list(value)} does not ascend")
        return value


def create(memory: PromptMemory, settings: SamplerSections, own: Settings, seed: Seed) -> PcurlStages:
    return PcurlStages(memory, settings, own, seed)


class PcurlStages(Draws):
    """The order is a function of (seed, stage, epoch)."""

    def __init__(self, memory: PromptMemory, settings: SamplerSections, own: Settings, seed: Seed) -> None:
        self.stage = 0
        super().__init__(memory, settings, (*seed, 0))
        self.own = own

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
