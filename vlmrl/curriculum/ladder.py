"""ladder: from easy to hard, once, in the order of a graded data set (NeuraLadder of Observe-R1, arXiv 2505.12432).

Difficulty is 1 - pass rate of the grade, complexity its mean response length; prompts come sorted by both. A share
`mix` of each level goes to its four adjacent levels, in equal parts, so that neighbours meet. Prompts that every
rollout solved are left out if they are of low complexity (shorter than the median of those), and so are prompts
without a grade. After the last prompt the ladder begins anew. The paper looks through the hopeless ones by hand.
"""

from __future__ import annotations

import numpy as np

from vlmrl.curriculum import Seed
from vlmrl.curriculum._draws import Draws, Stream
from vlmrl.errors import UserError
from vlmrl.prompt_memory import PromptMemory
from vlmrl.sampler_settings import LadderSettings, SamplerSections

NEIGHBOURS = (-2, -1, 1, 2)


def create(memory: PromptMemory, settings: SamplerSections, seed: Seed) -> Ladder:
    if np.isnan(memory.graded_pass_rate_N).all():
        raise UserError("sampler.name 'ladder': no prompt has a grade; run `vlmrl data grade`, name it in history")
    return Ladder(memory, settings, seed)


class Rungs(Stream):
    """The same order in each epoch, from easy to hard."""

    def __init__(self, memory: PromptMemory, own: LadderSettings, members: np.ndarray, seed: Seed) -> None:
        self.memory, self.own = memory, own
        rate_M = memory.graded_pass_rate_N[members]
        length_M = memory.graded_length_N[members]
        solved_M = rate_M == 1
        plain_M = solved_M & (length_M < np.median(length_M[solved_M])) if solved_M.any() else solved_M
        kept = members[~(np.isnan(rate_M) | plain_M)]
        if not len(kept):
            raise UserError("sampler.name 'ladder': a source has no prompt that is graded and not solved; leave it out")
        self.sorted = self._sort(np.random.default_rng(seed).permutation(kept), seed)
        super().__init__(kept, seed)

    def order(self) -> np.ndarray:
        return self.sorted

    def _sort(self, members: np.ndarray, seed: Seed) -> np.ndarray:
        """From easy to hard; equals stay as they are."""
        rng = np.random.default_rng([*seed, 0])
        difficulty_M = 1 - self.memory.graded_pass_rate_N[members].astype(np.float32)
        level_M = np.round(difficulty_M * self.own.levels).astype(np.int8)
        moved_M = rng.random(len(members), np.float32) < self.own.mix
        offset_M = rng.choice(np.array(NEIGHBOURS, np.int8), len(members))
        level_M = np.where(moved_M, (level_M + offset_M).clip(0, self.own.levels), level_M)
        # A guest is placed by its complexity alone: by difficulty, all would stand at one end of the level.
        within_M = np.where(moved_M, level_M / self.own.levels, difficulty_M)
        return members[np.lexsort((self.memory.graded_length_N[members], within_M, level_M))]


class Ladder(Draws):
    """Draws in the order of the rungs."""

    def make_stream(self, members: np.ndarray | int, seed: Seed) -> Stream:
        numbers = np.arange(members, dtype=np.int32) if isinstance(members, int) else members
        return Rungs(self.memory, self.settings.ladder, numbers, seed)
