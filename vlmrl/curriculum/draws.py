"""Draws: prompts in a fresh random order each epoch, from which a sampler keeps each with a chance of its own.

A curriculum is a chance for each prompt, from what the memory knows of it. Prompts are looked at in the order of the
epoch and passed over or drawn, so that no prompt is drawn twice before the others had their turn, and a draw costs the
prompts it looks at, not the data set. Samplers derive from `Draws` and change `chance`, and what else they need to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vlmrl.curriculum import Seed, pack_groups, unpack_groups
from vlmrl.curriculum.memory import PromptMemory
from vlmrl.curriculum.permutation import shuffled
from vlmrl.errors import UserError
from vlmrl.rollout.group import Group

if TYPE_CHECKING:  # config.sampler loads the files of samplers/
    from vlmrl.config.sampler import SamplerSections

CHUNK = 1024
"""Prompts looked at together, at least."""
PATIENCE = 100_000
"""Prompts looked at for one draw before the likeliest of those passed over are taken."""


class Stream:
    """An endless order of prompts: each once an epoch, shuffled anew each time. Its state is two numbers."""

    def __init__(self, members: np.ndarray | int, seed: Seed) -> None:
        """`members`: numbers of prompts, or how many there are in all."""
        self.members = members
        self.seed = seed
        self.epoch, self.cursor = 0, 0

    def __len__(self) -> int:
        return self.members if isinstance(self.members, int) else len(self.members)

    def at(self, places: np.ndarray) -> np.ndarray:
        """The prompts at these places of the present epoch: a function of (seed, epoch, place)."""
        return self._members(shuffled(places, len(self), (*self.seed, self.epoch)))

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n of its prompts at random, with replacement, wherever the epoch stands."""
        return self._members(rng.integers(len(self), size=n))

    def _members(self, numbers: np.ndarray) -> np.ndarray:
        return numbers if isinstance(self.members, int) else self.members[numbers]

    def peek(self, n: int) -> np.ndarray:
        """The next n prompts, or those up to the end of the epoch."""
        if self.cursor == len(self):
            self.epoch, self.cursor = self.epoch + 1, 0
        return self.at(np.arange(self.cursor, min(self.cursor + n, len(self))))

    def advance(self, n: int) -> None:
        self.cursor += n

    @property
    def epochs(self) -> float:
        """Epochs done."""
        return self.epoch + self.cursor / len(self)

    def restore(self, epoch: int, cursor: int) -> None:
        self.epoch, self.cursor = epoch, cursor


class Draws:
    """The uniform sampler, and what others derive from."""

    def __init__(self, memory: PromptMemory, settings: SamplerSections, seed: Seed) -> None:
        self.memory, self.settings, self.seed = memory, settings, seed
        self.progress, self.rolled_out = 0.0, False
        self.pending: list[Group] = []
        self.draws = 0
        self.shares = _shares(settings, memory)
        self.credits = np.zeros(len(self.shares))
        self.streams = self.make_streams(seed)

    # --- what samplers change -----------------------------------------------------------------------------

    def chance(self, indices: np.ndarray) -> np.ndarray | None:
        """With which chance each of these prompts is drawn when its turn comes; None: all are."""
        return None

    def make_stream(self, members: np.ndarray | int, seed: Seed) -> Stream:
        return Stream(members, seed)

    # --- the protocol -------------------------------------------------------------------------------------

    def begin(self, step: int, progress: float) -> None:
        self.progress, self.rolled_out = progress, False

    def missing(self, n: int) -> int:
        # Groups that wait are the surplus of an earlier stage.
        return 0 if self.rolled_out else max(0, n - len(self.pending))

    def next(self, n: int) -> np.ndarray:
        rng = np.random.default_rng([*self.seed, self.draws, 1])
        self.draws += 1
        if not self.shares:
            return self._draw(self.streams[0], n, rng)
        counts = self._counts(n)
        drawn = [self._draw(stream, count, rng) for stream, count in zip(self.streams, counts, strict=True) if count]
        return rng.permutation(np.concatenate(drawn))

    def observe(self, groups: Sequence[Group]) -> None:
        self.pending += groups
        self.rolled_out = True

    def batch(self, n: int) -> list[Group]:
        # More than n are the surplus of an earlier stage, which would be too old for another step.
        groups, self.pending = self.pending[:n], []
        return groups

    def metrics(self) -> dict[str, float]:
        if not self.shares:
            return {"epoch": self.streams[0].epochs}
        return {f"epoch/{name}": stream.epochs for name, stream in zip(self.shares, self.streams, strict=True)}

    def state_dict(self) -> dict[str, Any]:
        places = [(stream.epoch, stream.cursor) for stream in self.streams]
        own = {"draws": self.draws, "credits": self.credits.tolist(), "streams": places}
        return own | {"pending": pack_groups(self.pending)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.draws, self.credits = state["draws"], np.array(state["credits"])
        self.pending = unpack_groups(state["pending"])
        for stream, place in zip(self.streams, state["streams"], strict=True):
            stream.restore(*place)

    # --- drawing ------------------------------------------------------------------------------------------

    def make_streams(self, seed: Seed) -> list[Stream]:
        """One stream of all prompts, or one for each source that has a weight."""
        if not self.shares:
            return [self.make_stream(len(self.memory), seed)]
        numbers = [self.memory.source_names.index(name) for name in self.shares]
        members = [np.flatnonzero(self.memory.source_N == number).astype(np.int32) for number in numbers]
        return [self.make_stream(m, (*seed, number)) for m, number in zip(members, numbers, strict=True)]

    def _counts(self, n: int) -> list[int]:
        """Prompts of each weighted source among the next n; what rounding leaves over counts for later draws."""
        self.credits += n * np.array(list(self.shares.values()))
        counts = [0] * len(self.shares)
        for _ in range(n):
            place = int(self.credits.argmax())
            counts[place] += 1
            self.credits[place] -= 1
        return counts

    def _draw(self, stream: Stream, n: int, rng: np.random.Generator) -> np.ndarray:
        """n prompts of the stream."""
        drawn, looked_at = np.empty(0, np.int32), 0
        spare, spare_chance = drawn, np.empty(0)
        enough = False
        while not enough:
            candidates = stream.peek(max(CHUNK, 2 * n))
            open_ = is_admitted(self.memory, candidates, self.settings.admit)
            chance = self.chance(candidates)
            taken = open_ if chance is None else open_ & (rng.random(len(candidates)) < chance)
            places = np.flatnonzero(taken)[: n - len(drawn)]
            drawn = np.concatenate([drawn, candidates[places]])
            seen = int(places[-1]) + 1 if len(drawn) == n else len(candidates)
            stream.advance(seen)
            looked_at += seen
            if chance is not None:
                passed_over = np.flatnonzero(open_ & ~taken)
                spare = np.concatenate([spare, candidates[passed_over]])
                spare_chance = np.concatenate([spare_chance, chance[passed_over]])
                likeliest = np.argsort(-spare_chance, kind="stable")[:n]
                spare, spare_chance = spare[likeliest], spare_chance[likeliest]
            at_hand = len(drawn) + len(spare)
            if looked_at >= 2 * len(stream) and not at_hand:  # the rest of this epoch and the whole of the next
                raise UserError(f"sampler.admit: no prompt passes {list(self.settings.admit)}; widen it")
            enough = len(drawn) == n or (at_hand >= n and looked_at >= min(PATIENCE, len(stream)))
        return np.concatenate([drawn, spare[: n - len(drawn)]])


def is_admitted(memory: PromptMemory, indices: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """Which of these prompts have a graded pass rate within the bounds. What is not known (NaN) is outside no bound."""
    # Rates are kept in float16. Rounded alike, a bound admits the rate that equals it.
    rate, (low, high) = memory.graded_pass_rate_N[indices].astype(np.float16), np.array(bounds, np.float16)
    return ~((rate < low) | (rate > high))


def _shares(settings: SamplerSections, memory: PromptMemory) -> dict[str, float]:
    """Each source's share of the draws, in the order of the memory; empty if that is its share of the prompts."""
    if not settings.source_weights and settings.source_alpha == 1:
        return {}
    prompts = np.bincount(memory.source_N, minlength=len(memory.source_names)).tolist()
    shares = settings.shares(dict(zip(memory.source_names, prompts, strict=True)))
    return {name: share for name, share in shares.items() if share}
