"""refill: flat groups are dropped and replaced until the update is full (dynamic sampling of DAPO, arXiv 2503.14476).

A group is of use if 0 < right < G: if its scores are not all alike. Another sampler (`base`) chooses the prompts. A
round asks for the groups that are missing over the expected share of useful ones, with the `margin` of GRESO's code
(arXiv 2506.02177). What an update does not take waits in a buffer for the next, and is dropped once the policy is more
than `max_age` updates ahead of the one that wrote it: DAPO throws the surplus away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from vlmrl.config.section import Section
from vlmrl.curriculum import Sampler, Seed, create_one, pack_groups, unpack_groups
from vlmrl.curriculum.memory import PromptMemory
from vlmrl.errors import UserError
from vlmrl.rollout.group import Group

if TYPE_CHECKING:
    from vlmrl.config.sampler import SamplerSections


class Settings(Section):
    """[sampler.refill]: dynamic sampling of DAPO, with a buffer for the surplus."""

    base: str = Field(default="uniform", description="the sampler that chooses the prompts")
    max_rounds: int = Field(
        default=10, gt=0, description="rounds of rollouts in a step, at most; then the update takes the groups it has"
    )
    margin: float = Field(default=1.25, ge=1, description="prompts asked for / prompts expected to be needed")
    max_ratio: float = Field(default=4.0, ge=1, description="prompts asked for at once / groups missing, at most")
    buffer: int = Field(default=64, ge=0, description="groups with spread that are kept for later steps, at most")
    max_age: int = Field(default=2, ge=0, description="updates after which a kept group is dropped")


def create(memory: PromptMemory, settings: SamplerSections, own: Settings, seed: Seed) -> Refill:
    if own.base in ("refill", "rlcs"):
        raise UserError(f"sampler.refill.base: {own.base!r} fills updates itself; name another sampler")
    return Refill(create_one(settings, memory, seed, own.base), own)


class Refill:
    """Fills each update from `base`."""

    def __init__(self, base: Sampler, own: Settings) -> None:
        self.base, self.own = base, own
        self.pending: list[Group] = []
        self.version = 0
        self.rounds = 0
        self.flat_share = 0.0
        self.from_buffer = self.dropped = 0

    def begin(self, step: int, progress: float) -> None:
        self.base.begin(step, progress)
        # Each step ends with an update, so the weights of step s are version s - 1.
        self.version, self.rounds = step - 1, 0
        fresh = [g for g in self.pending if self.version - g.rollouts[0].version <= self.own.max_age]
        self.dropped += len(self.pending) - len(fresh)
        self.pending = fresh

    def missing(self, n: int) -> int:
        return max(0, n - len(self.pending)) if self.rounds < self.own.max_rounds else 0

    def next(self, n: int) -> np.ndarray:
        expected = n / (1 - self.flat_share) if self.flat_share < 1 else math.inf
        return self.base.next(math.ceil(min(self.own.margin * expected, self.own.max_ratio * n)))

    def observe(self, groups: Sequence[Group]) -> None:
        self.base.observe(groups)
        self.base.pending.clear()
        useful = [group for group in groups if group.has_spread]
        self.rounds += 1
        self.flat_share = 1 - len(useful) / len(groups)
        self.pending += useful

    def batch(self, n: int) -> list[Group]:
        """The oldest useful groups, n of them if there are as many."""
        taken, surplus = self.pending[:n], self.pending[n:]
        self.pending = surplus[: self.own.buffer]
        self.dropped += len(surplus) - len(self.pending)
        self.from_buffer = sum(group.rollouts[0].version < self.version for group in taken)
        return taken

    def metrics(self) -> dict[str, float]:
        counts = {"rounds": self.rounds, "buffered": len(self.pending), "from_buffer": self.from_buffer}
        return {**self.base.metrics(), **counts, "surplus_dropped": self.dropped}

    def state_dict(self) -> dict[str, Any]:
        own = {"flat_share": self.flat_share, "dropped": self.dropped, "pending": pack_groups(self.pending)}
        return {"base": self.base.state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.base.load_state_dict(state["base"])
        self.flat_share, self.dropped = state["flat_share"], state["dropped"]
        self.pending = unpack_groups(state["pending"])
