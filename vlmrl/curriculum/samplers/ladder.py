"""ladder: from easy to hard, once, in the order of a graded data set (NeuraLadder of Observe-R1, arXiv 2505.12432).

Difficulty is 1 - pass rate of the grade, complexity its mean response length; prompts come sorted by both. A share
`mix` of each level goes to its four adjacent levels, in equal parts, so that neighbours meet. Prompts that every
rollout solved are left out if they are of low complexity (shorter than the median of those), and so are prompts
without a grade. After the last prompt the ladder begins anew. The paper looks through the hopeless ones by hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from vlmrl.config.section import Section
from vlmrl.curriculum import Seed
from vlmrl.curriculum.draws import Draws, Stream
from vlmrl.curriculum.memory import PromptMemory
from vlmrl.errors import UserError

if TYPE_CHECKING:
    from vlmrl.config.sampler import SamplerSections

NEIGHBOURS = (-2, -1, 1, 2)


class Settings(Section):
    """[sampler.ladder]: NeuraLadder of Observe-R1; needs grades."""

    levels: int = Field(
        default=8,
        gt=0,
        description="highest level of difficulty, counted from 0; set it to the rollouts that graded a prompt",
    )
    mix: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.2, description="share of a level's prompts that moves to the two levels below and the two above"
    )


def create(memory: PromptMemory, settings: SamplerSections, own: Settings, seed: Seed) -> Ladder:
    if np.isnan(memory.graded_pass_rate_N).all():
        raise UserError("sampler.name 'ladder': no prompt has a grade; run `vlmrl data grade`, name it in history")
    return Ladder(memory, settings, own, seed)


class Rungs(Stream):
    """The same order in each epoch, from easy to hard."""

    def __init__(self, ordered: np.ndarray, seed: Seed) -> None:
        super().__init__(ordered, seed)
        self.ordered = ordered

    def at(self, places: np.ndarray) -> np.ndarray:
        return self.ordered[places]


class Ladder(Draws):
    """Draws in the order of the rungs."""

    def __init__(self, memory: PromptMemory, settings: SamplerSections, own: Settings, seed: Seed) -> None:
        self.own = own
        super().__init__(memory, settings, seed)

    def make_stream(self, members: np.ndarray | int, seed: Seed) -> Stream:
        kept = _worth_climbing(self.memory, np.arange(members, dtype=np.int32) if isinstance(members, int) else members)
        if not len(kept):
            raise UserError("sampler.name 'ladder': a source has no prompt that is graded and not solved; leave it out")
        return Rungs(_sorted(self.memory, self.own, kept, seed), seed)


def _worth_climbing(memory: PromptMemory, members: np.ndarray) -> np.ndarray:
    """A copy with those that have a grade, but for the solved ones of low complexity."""
    rate_M = memory.graded_pass_rate_N[members]
    length_M = memory.graded_length_N[members]
    solved_M = rate_M == 1
    plain_M = solved_M & (length_M < np.median(length_M[solved_M])) if solved_M.any() else solved_M
    return members[~(np.isnan(rate_M) | plain_M)]


def _sorted(memory: PromptMemory, own: Settings, members: np.ndarray, seed: Seed) -> np.ndarray:
    """From easy to hard; equals are in random order. Shuffles `members`."""
    rng = np.random.default_rng(seed)
    rng.shuffle(members)
    difficulty_M = 1 - memory.graded_pass_rate_N[members].astype(np.float32)
    level_M = np.round(difficulty_M * own.levels).astype(np.int16)
    guest_M = rng.random(len(members), np.float32) < own.mix
    level_M[guest_M] += rng.choice(np.array(NEIGHBOURS, np.int16), np.count_nonzero(guest_M))
    level_M.clip(0, own.levels, out=level_M)
    # A guest is placed by its complexity alone: by difficulty, all would stand at one end of the level.
    difficulty_M[guest_M] = level_M[guest_M] / own.levels

    def of_level(level: int) -> np.ndarray:
        here_M = level_M == level
        prompts = members[here_M]
        return prompts[np.lexsort((memory.graded_length_N[prompts], difficulty_M[here_M]))]

    # Level by level, because the sort of ten million prompts at once needs 200 MB of its own.
    return np.concatenate([of_level(level) for level in range(own.levels + 1)])
