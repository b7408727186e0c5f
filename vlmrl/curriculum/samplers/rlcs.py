"""rlcs: reinforcement learning with curriculum sampling (GLM-4.1V-Thinking, arXiv 2507.01006, section 5).

- Tiers: a prompt's pass rate, to the nearest quarter, from its grade (offline) merged with its last visit (online).
- Re-weighting: each source x tier is drawn in proportion to its weight, p (1 - p) + floor for the tier times the same
  for the moving pass rate of the source, so that what is too easy and too hard comes rarely. What is not known counts
  as the middle.
- Expansion: with v the share of flat groups in the last step, 1 / (1 - v) goes into a moving average, and the next step
  rolls out that many prompts for each group of the update, in one shot.
- Balance: of these, the groups whose right and wrong answers are most alike in number are trained on.

The report gives the method without tiers, weights, merge rule or decay; these are ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from vlmrl.config.section import Section
from vlmrl.curriculum import Seed
from vlmrl.curriculum.draws import Draws
from vlmrl.curriculum.memory import PromptMemory
from vlmrl.rollout.group import Group

if TYPE_CHECKING:
    from vlmrl.config.sampler import SamplerSections

TIERS = 5


class Settings(Section):
    """[sampler.rlcs]: curriculum sampling of GLM-4.1V-Thinking. Its report publishes none of these constants."""

    floor: float = Field(
        default=0.005, gt=0, description="number added to the weight p (1 - p) of a tier or source with pass rate p"
    )
    decay: float = Field(
        default=0.9,
        ge=0,
        lt=1,
        description="decay, for each step, of the averages of the expansion ratio and of the sources' pass rates",
    )
    max_ratio: float = Field(default=4.0, ge=1, description="prompts rolled out / groups of the update, at most")
    grade_visits: float = Field(default=1.0, ge=0, description="number of visits that a prompt's grade counts as")


def create(memory: PromptMemory, settings: SamplerSections, own: Settings, seed: Seed) -> Rlcs:
    return Rlcs(memory, settings, own, seed)


def expansion_ratio(groups: Sequence[Group], limit: float) -> float:
    """Prompts to pay for per useful group: 1 / (1 - share of flat groups), at most `limit`."""
    useful = sum(group.has_spread for group in groups)
    return min(limit, len(groups) / useful) if useful else limit


class Rlcs(Draws):
    """Draws weighted by source and tier, expanded by a ratio, cut back to the most balanced groups."""

    def __init__(self, memory: PromptMemory, settings: SamplerSections, own: Settings, seed: Seed) -> None:
        super().__init__(memory, settings, seed)
        self.own = own
        self.ratio = 1.0
        self.source_rate = np.full(len(memory.source_names), 0.5)

    def chance(self, indices: np.ndarray) -> np.ndarray:
        tier = self.tiers(indices)
        by_tier = self._weight(np.arange(TIERS) / (TIERS - 1))[tier]
        by_source = self._weight(self.source_rate)
        return by_tier * (by_source / by_source.max())[self.memory.source_N[indices]]

    def tiers(self, indices: np.ndarray) -> np.ndarray:
        """0 (hardest) to 4 (easiest) for each prompt; 2 for one that is not known."""
        graded = self.memory.graded_pass_rate_N[indices].astype(np.float32)
        online = self.memory.last_N[indices].astype(np.float32)
        visits = self.memory.visits_N[indices].astype(np.float32)
        with np.errstate(invalid="ignore"):
            merged = graded + (online - graded) * visits / (visits + self.own.grade_visits)
        rate = np.where(np.isnan(merged), np.where(np.isnan(online), graded, online), merged)
        return np.round(np.nan_to_num(rate, nan=0.5) * (TIERS - 1)).astype(int)

    def _weight(self, rate: np.ndarray) -> np.ndarray:
        """p (1 - p) + floor, as a share of its largest value."""
        return (rate * (1 - rate) + self.own.floor) / (0.25 + self.own.floor)

    def next(self, n: int) -> np.ndarray:
        return super().next(math.ceil(n * self.ratio))

    def observe(self, groups: Sequence[Group]) -> None:
        super().observe(groups)
        decay = self.own.decay
        self.ratio = decay * self.ratio + (1 - decay) * expansion_ratio(groups, self.own.max_ratio)
        for number in {int(self.memory.source_N[group.index]) for group in groups}:
            of_source = [g for g in groups if self.memory.source_N[g.index] == number and g.own_scores]
            if of_source:
                rate = np.mean([self.memory.group_pass_rate(group) for group in of_source])
                self.source_rate[number] = decay * self.source_rate[number] + (1 - decay) * rate

    def batch(self, n: int) -> list[Group]:
        """The n groups that are most balanced; flat ones come last."""

        def imbalance(group: Group) -> tuple[bool, float]:
            return not group.has_spread, abs(self.memory.group_pass_rate(group) - 0.5)

        groups, self.pending = self.pending, []
        return sorted(groups, key=imbalance)[:n]

    def metrics(self) -> dict[str, float]:
        rates = zip(self.memory.source_names, self.source_rate.tolist(), strict=True)
        return super().metrics() | {"ratio": self.ratio} | {f"pass_rate/{name}": rate for name, rate in rates}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"ratio": self.ratio, "source_rate": self.source_rate.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.ratio, self.source_rate = state["ratio"], np.array(state["source_rate"])
