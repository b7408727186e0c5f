"""A synthetic population: prompts of known pass rates, and a policy that answers them by chance alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlmrl.curriculum import Sampler
from vlmrl.curriculum.memory import PromptMemory
from vlmrl.rollout import Rollout
from vlmrl.rollout.group import Group
from vlmrl.sample import Message, RewardSpec, Sample
from vlmrl.verdict import Verdict

SAMPLE = Sample(
    id="s",
    source="s",
    messages=(Message(role="user", content="?"),),
    reward=(RewardSpec(verifier="exact", target="!"),),
)


def make_group(index: int, scores: Sequence[float | None], version: int = 0, length: int = 1) -> Group:
    """A group without an encoded prompt: samplers look at scores, lengths and versions."""
    rollout = Rollout((0,) * length, (0.0,) * length, "", "stop", version)
    verdicts = [Verdict(score, "ok" if score is not None else "timeout") for score in scores]
    return Group(SAMPLE, None, [rollout] * len(verdicts), verdicts, index=index)  # pyright: ignore[reportArgumentType]


class Population:
    """Prompt i is answered rightly with probability rate_N[i]."""

    def __init__(self, rate_N: np.ndarray, sources: int = 1, seed: int = 0) -> None:
        self.rate_N = rate_N
        self.rng = np.random.default_rng(seed)
        names = [f"source{number}" for number in range(sources)]
        self.memory = PromptMemory((np.arange(len(rate_N)) % sources).astype(np.int16), names)
        self.paid: list[list[Group]] = []
        self.trained: list[list[Group]] = []
        self.drawn: list[list[int]] = []

    def roll_out(self, indices: np.ndarray, version: int, group: int = 8) -> list[Group]:
        right = self.rng.random((len(indices), group)) < self.rate_N[indices, None]
        return [make_group(int(i), row, version) for i, row in zip(indices, right.astype(float).tolist(), strict=True)]

    def run(self, sampler: Sampler, steps: int, n: int = 32, first: int = 1, total: int | None = None) -> None:
        """The trainer's loop without a model."""
        for step in range(first, first + steps):
            sampler.begin(step, step / (total or first + steps))
            paid: list[Group] = []
            self.drawn.append([])
            while missing := sampler.missing(n):
                indices = sampler.next(missing)
                self.drawn[-1] += indices.tolist()
                groups = self.roll_out(indices, step - 1)
                self.memory.observe(groups)
                sampler.observe(groups)
                paid += groups
            self.paid.append(paid)
            self.trained.append(sampler.batch(n))

    def flat_share(self, steps: int) -> float:
        """Share of the groups paid for in the last steps that teach nothing."""
        groups = [group for step in self.paid[-steps:] for group in step]
        return sum(not group.has_spread for group in groups) / len(groups)


def half_solved(n: int) -> np.ndarray:
    """Half of the prompts solved, a quarter hopeless, a quarter in between, in random order."""
    rates = np.repeat([1.0, 1.0, 0.0, 0.5], n // 4)
    return np.random.default_rng(7).permutation(rates)
