"""variance: the prompts whose reward varies most, by one of three scores.

    group     std of the scores within a group (the variance-aware selection of Temporal-RLT, arXiv 2506.01908)
    history   std of a prompt's pass rate over its visits (1-shot RLVR, arXiv 2504.20571)
    limr      1 - sum_t (r_t - m_t)^2 / sum_t (1 - m_t)^2 over its visits, r_t its pass rate and m_t that of all
              prompts at the time: how closely it follows the run (LIMR, arXiv 2502.11886)

The share `top` with the highest score is drawn, the others with chance `probe`, a prompt without a score whenever its
turn comes. The papers select once, from a finished run; here the selection follows the run, m_t is a moving average
over groups, and the threshold is the quantile of a random 4096 prompts, of those that gates and source weights leave.
Temporal-R1's bound on easy prompts is `sampler.admit = [0, 0.7]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from vlmrl.config.section import Section
from vlmrl.curriculum import Seed
from vlmrl.curriculum.draws import Draws, is_admitted
from vlmrl.curriculum.memory import PromptMemory
from vlmrl.rollout.group import Group

if TYPE_CHECKING:
    from vlmrl.config.sampler import SamplerSections

PROBED = 4096
"""Prompts that the threshold is estimated from."""
DECAY = 0.99
"""Decay of the moving average over groups."""


class Settings(Section):
    """[sampler.variance]: the prompts whose reward varies most."""

    score: Literal["group", "history", "limr"] = Field(
        default="group",
        description="score of a prompt: deviation in the last group, that over visits, or LIMR's alignment",
    )
    top: float = Field(
        default=0.5, gt=0, le=1, description="share of the prompts, those with the highest scores, that is always drawn"
    )
    probe: float = Field(default=0.05, gt=0, le=1, description="chance that one of the other prompts is drawn")
    visits: int = Field(default=3, gt=1, description="visits of a prompt before `history` and `limr` give it a score")


def create(memory: PromptMemory, settings: SamplerSections, own: Settings, seed: Seed) -> Variance:
    return Variance(memory, settings, own, seed)


class Alignment:
    """The two sums of LIMR's score, by prompt."""

    def __init__(self, prompts: int) -> None:
        self.away_N = np.zeros(prompts, np.float32)
        self.below_N = np.zeros(prompts, np.float32)

    def add(self, index: int, rate: float, average: float) -> None:
        self.away_N[index] += (rate - average) ** 2
        self.below_N[index] += (1 - average) ** 2

    def score(self, indices: np.ndarray) -> np.ndarray:
        """At most 1; NaN before the first visit."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return 1 - self.away_N[indices] / self.below_N[indices]


class Variance(Draws):
    """Uniform draws among the prompts of high score, and some of the others."""

    def __init__(self, memory: PromptMemory, settings: SamplerSections, own: Settings, seed: Seed) -> None:
        super().__init__(memory, settings, seed)
        self.own = own
        self.alignment = Alignment(len(memory)) if self.own.score == "limr" else None
        self.average: float | None = None
        self.threshold = -np.inf

    def scores(self, indices: np.ndarray) -> np.ndarray:
        """NaN for prompts that are not known well enough."""
        if self.own.score == "group":
            return self.memory.spread(indices)
        score = self.alignment.score(indices) if self.alignment else self.memory.std_over_visits(indices)
        return np.where(self.memory.visits_N[indices] >= self.own.visits, score, np.nan)

    def next(self, n: int) -> np.ndarray:
        scores = self.scores(self._probe())
        known = scores[~np.isnan(scores)]
        place = int((1 - self.own.top) * (len(known) - 1))
        self.threshold = float(np.partition(known, place)[place]) if len(known) else -np.inf
        return super().next(n)

    def _probe(self) -> np.ndarray:
        """Random prompts among those that can be drawn."""
        rng = np.random.default_rng([*self.seed, self.draws, 2])
        sizes = np.array([len(stream) for stream in self.streams])
        counts = rng.multinomial(PROBED, sizes / sizes.sum())
        probed = np.concatenate([s.sample(count, rng) for s, count in zip(self.streams, counts, strict=True)])
        return probed[is_admitted(self.memory, probed, self.settings.admit)]

    def chance(self, indices: np.ndarray) -> np.ndarray:
        # A group without spread teaches nothing, even where half of all prompts have none.
        scores = self.scores(indices)
        return np.where((scores < self.threshold) | (scores == 0), self.own.probe, 1.0)

    def observe(self, groups: Sequence[Group]) -> None:
        super().observe(groups)
        for group in groups:
            rate = self.memory.group_pass_rate(group)
            if self.alignment is None or np.isnan(rate):
                continue
            self.average = rate if self.average is None else DECAY * self.average + (1 - DECAY) * rate
            self.alignment.add(group.index, rate, self.average)

    def metrics(self) -> dict[str, float]:
        return super().metrics() | ({"threshold": self.threshold} if np.isfinite(self.threshold) else {})

    def state_dict(self) -> dict[str, Any]:
        if self.alignment is None:
            return super().state_dict()
        known = np.flatnonzero(self.alignment.below_N > 0).astype(np.int32)
        sums = (known, self.alignment.away_N[known], self.alignment.below_N[known])
        return super().state_dict() | {"average": self.average, "alignment": sums}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        if self.alignment is not None:
            self.average = state["average"]
            known, away, below = state["alignment"]
            self.alignment.away_N[known], self.alignment.below_N[known] = away, below
