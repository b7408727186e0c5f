"""skip_solved: passes over prompts whose group would be flat, before they are paid for (GRESO, arXiv 2506.02177).

A prompt whose last z visits were flat (all scores alike) is drawn with chance p^z. There is one p for prompts that the
policy has solved and one for those it fails, and each moves by `step` so that the share of such groups among those paid
for approaches its target: 25 % together, easy to hard 1 : 2. As in the authors' code, p moves from the second epoch on,
within [0.05, 0.95]. Two things are ours: before a prompt's first visit, a grade without spread counts as one flat visit
(from then on the visits alone count), and `probe` keeps p^z from vanishing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from vlmrl.config.section import Section
from vlmrl.curriculum import Seed
from vlmrl.curriculum.draws import Draws
from vlmrl.curriculum.memory import PromptMemory
from vlmrl.rollout.group import Group

if TYPE_CHECKING:
    from vlmrl.config.sampler import SamplerSections


Share = Annotated[float, Field(ge=0, le=1)]


class Settings(Section):
    """[sampler.skip_solved]: GRESO, with the constants of its paper and code, but for `probe`."""

    explore: float = Field(
        default=0.5, gt=0, lt=1, description="initial p; a prompt with z flat visits in a row is drawn with chance p^z"
    )
    target_easy: Share = Field(
        default=0.25 / 3,
        description="target share of flat groups with a pass rate of at least one half, among those rolled out",
    )
    target_hard: Share = Field(
        default=0.5 / 3, description="target share of flat groups with a lower pass rate, among those rolled out"
    )
    step: float = Field(default=0.01, gt=0, description="amount by which p moves after each round")
    bounds: tuple[Share, Share] = Field(default=(0.05, 0.95), description="lowest and highest p")
    probe: float = Field(default=0.01, ge=0, le=1, description="lowest chance that any prompt is drawn; 0 in the paper")


def create(memory: PromptMemory, settings: SamplerSections, own: Settings, seed: Seed) -> SkipSolved:
    return SkipSolved(memory, settings, own, seed)


class SkipSolved(Draws):
    """Uniform draws with a chance of p_easy^z or p_hard^z."""

    def __init__(self, memory: PromptMemory, settings: SamplerSections, own: Settings, seed: Seed) -> None:
        super().__init__(memory, settings, seed)
        self.own = own
        self.explore_easy = self.explore_hard = self.own.explore

    def chance(self, indices: np.ndarray) -> np.ndarray:
        flat = self.memory.flat_visits(indices)
        explore = np.where(self.memory.pass_rate(indices) >= 0.5, self.explore_easy, self.explore_hard)
        return np.where(flat > 0, np.maximum(self.own.probe, explore**flat), 1.0)

    def observe(self, groups: Sequence[Group]) -> None:
        super().observe(groups)
        rates = [self.memory.group_pass_rate(g) for g in groups if len(set(g.scores)) == 1]
        first_epoch = all(stream.epoch == 0 for stream in self.streams)
        if first_epoch and np.isnan(self.memory.graded_spread_N[[g.index for g in groups]]).all():
            return
        easy = sum(rate >= 0.5 for rate in rates)
        self.explore_easy = self._moved(self.explore_easy, easy / len(groups), self.own.target_easy)
        self.explore_hard = self._moved(self.explore_hard, (len(rates) - easy) / len(groups), self.own.target_hard)

    def _moved(self, explore: float, share: float, target: float) -> float:
        moved = explore - self.own.step if share >= target else explore + self.own.step
        return float(np.clip(moved, *self.own.bounds))

    def metrics(self) -> dict[str, float]:
        return super().metrics() | {"explore_easy": self.explore_easy, "explore_hard": self.explore_hard}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"explore": (self.explore_easy, self.explore_hard)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.explore_easy, self.explore_hard = state["explore"]
