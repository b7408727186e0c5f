"""Planner: divides the responses of an update into passes, by predicted cost and memory.

    planner = Planner(policy, settings)
    for row in planner.rows(items): ...         packed rows and forks; the one that takes the most memory first
    planner.metrics()                           predicted and measured cost and memory

A pass holds at most `learner.row_tokens` tokens and takes at most `learner.memory_mb`, if that is set. Packed rows are
few and of even cost, in FLOPs of language layers, attention, head and vision tower. A group that does not fit a row is
forked, and so is every group of a model with recurrent layers. docs/learner.md explains the settings.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Literal, NamedTuple

import torch

from vlmrl.config.learner import LearnerSettings
from vlmrl.errors import UserError
from vlmrl.models.attention.sharing import UNSHARED
from vlmrl.models.encoded_prompt import EncodedPrompt, PromptSize
from vlmrl.models.fork import Fork, chunk_work, rounded
from vlmrl.models.packing import Item, Row, Work, arrange, build, repeat, work_of
from vlmrl.models.policy import Policy
from vlmrl.train import device_memory
from vlmrl.train.flops import Rates, tower_flops
from vlmrl.train.footprint import Footprint

MB = 2**20
BLOCK = 64
"""Tokens that a recurrent layer computes at a time: a sequence takes the memory of whole blocks."""

Mode = Literal["auto", "packed", "fork", "plain"]
"""`auto`: as described above. The others are for tests and benchmarks: all groups packed, all forked, or every response
with a prompt of its own."""


class Pass(NamedTuple):
    """A packed row, or the fork of one item."""

    items: list[Item]
    work: Work
    held: Work
    """The work whose memory is taken at the same time: all of it, or that of the prompt and the largest chunk."""
    chunks: list[list[int]] | None = None
    """Places in the item of the responses of each chunk of a fork."""


class Planner:
    """The `CostModel` of a policy, with the budgets of the settings, and the passes that follow from it."""

    def __init__(self, policy: Policy, settings: LearnerSettings, mode: Mode = "auto") -> None:
        self.policy = policy
        self.settings = settings
        self.mode = mode
        self.rates = Rates.of(policy.core)
        if policy.sharing == "none":
            print(f"learner: {UNSHARED}; each is computed with a prompt of its own", file=sys.stderr)
        towers = [policy.core.get_submodule(name) for name in policy.formatter.family.towers]
        self._trained = any(parameter.requires_grad for tower in towers for parameter in tower.parameters())
        self._towers: dict[str, float] = {}
        self._reset()

    @cached_property
    def footprint(self) -> Footprint:
        return Footprint.of(self.policy)

    # --- the cost model -----------------------------------------------------------------------------------

    def prompt(self, prompt: EncodedPrompt) -> Work:
        sizes = str({k.sizes: prompt.features[k.sizes].tolist() for k in prompt.kinds if k.sizes in prompt.features})
        if sizes not in self._towers:
            self._towers[sizes] = tower_flops(self.policy.core, prompt)
        return Work.of_prompt(prompt, self._towers[sizes])

    def cost(self, work: Work) -> float:
        """FLOPs of forward and backward pass. Frozen towers have no backward pass; cached ones have no pass at all."""
        repeats = 4 if self.policy.settings.gradient_checkpointing else 3
        tower = repeats if self._trained else 0 if self.policy.vision_cache else 1
        parts = self.rates.flops(work)
        return repeats * (parts.total - parts.towers) + tower * parts.towers

    def memory(self, work: Work) -> float:
        """Bytes of an update with a row of this work: activations and accumulated gradients."""
        return self.footprint.gradients + self.footprint.row(work)

    def fits(self, work: Work) -> bool:
        budget = self.settings.memory_mb
        return work.tokens <= self.settings.row_tokens and (not budget or self.memory(work) <= budget * MB)

    # --- rows ---------------------------------------------------------------------------------------------

    def plan(self, items: Sequence[Item]) -> list[Pass]:
        """The passes over these items, the one that takes the most memory first."""
        if self.mode == "plain" or self.policy.sharing == "none":
            items = repeat(items)
        forked = [self._forks(item) for item in items]
        passes = [self._fork(item) for item, forks in zip(items, forked, strict=True) if forks]
        whole = [item for item, forks in zip(items, forked, strict=True) if not forks]
        rows = arrange(whole, self) if self.policy.sharing == "tree" else [[item] for item in whole]
        for row in rows:
            work = sum((work_of(item, self) for item in row), start=Work())
            passes.append(Pass(row, work, work))
        return sorted(passes, key=lambda planned: -self.footprint.row(planned.held))

    def _forks(self, item: Item) -> bool:
        if len(item.responses) == 1 or self.mode == "packed":
            return False
        return self.mode == "fork" or self.policy.recurrent or not self.fits(work_of(item, self))

    def _fork(self, item: Item) -> Pass:
        """Chunks as large as the budgets allow, long responses first, and little padding in each."""
        lengths = [len(response) for response in item.responses]
        chunks: list[list[int]] = []
        for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
            # A chunk computes all of its responses to the length of its first.
            if (
                chunks
                and lengths[number] > lengths[chunks[-1][0]] / 2
                and self.fits(self._held(item, [*chunks[-1], number]))
            ):
                chunks[-1].append(number)
            else:
                chunks.append([number])
        held = max((self._held(item, chunk) for chunk in chunks), key=self.footprint.row)
        return Pass([item], work_of(item, self), held, chunks)

    def _held(self, item: Item, chunk: Sequence[int]) -> Work:
        """The work of a fork whose memory is taken while this chunk runs."""
        block = BLOCK if self.policy.recurrent else 1
        prompt = self.prompt(item.prompt)
        prompt = replace(prompt, tokens=rounded(prompt.tokens, block), kept=prompt.tokens)
        return prompt + chunk_work(item, chunk, block)

    def rows(self, items: Sequence[Item]) -> Iterator[Row | Fork]:
        """Builds the rows one at a time, so that only one row's pixels exist, and times the work done on each."""
        planned = self.plan(items)
        if not torch.is_grad_enabled() or not planned:
            yield from map(self._build, planned)
            return
        self._predicted = max(self._predicted, self.footprint.update([one.held for one in planned]))
        with device_memory.watch(self.policy.device) as peak:
            for one in planned:
                started = time.perf_counter()
                yield self._build(one)
                self._timed.append((self.cost(one.work), time.perf_counter() - started))
        self._measured = max(self._measured, peak.bytes)

    def _build(self, planned: Pass) -> Row | Fork:
        if planned.chunks is not None:
            return Fork(planned.items[0], planned.chunks)
        return build(planned.items, tree=self.policy.sharing == "tree")

    def require(self, prompt: EncodedPrompt | PromptSize, response_tokens: int) -> None:
        """`UserError` if the prompt with a response of this number of tokens exceeds the memory budget."""
        budget = self.settings.memory_mb
        if not budget:
            return
        tokens, sounds = len(prompt) + response_tokens - 1, prompt.sound_values
        work = Work(tokens, scored=response_tokens, patches=prompt.patches, sounds=sounds, kept=len(prompt))
        if self.memory(work) > budget * MB:
            raise UserError(
                f"learner.memory_mb = {budget:g}: one response of length {response_tokens} to sample "
                f"{prompt.sample_id!r} ({len(prompt)} tokens, {prompt.patches} patches) takes "
                f"{math.ceil(self.memory(work) / MB)}; raise it, lower model.max_pixels, shorten the response "
                "(rollout.max_new_tokens, or the demonstration), or set model.gradient_checkpointing"
            )

    # --- metrics ------------------------------------------------------------------------------------------

    def metrics(self) -> dict[str, float]:
        """Metrics of the rows since the last call; those under `seconds/` differ between two runs with one seed.

        `imbalance` is the largest row's cost over the mean. `seconds/plan/tflops_per_second` should stay constant;
        `seconds/plan/off` is the mean relative difference between a row's share of the seconds and of the cost.
        """
        if not self._timed:
            return {}
        costs, seconds = (torch.tensor(column, dtype=torch.float64) for column in zip(*self._timed, strict=True))
        metrics = {
            "plan/rows": len(costs),
            "plan/tflops": costs.sum().item() / 1e12,
            "plan/imbalance": (costs.max() / costs.mean()).item(),
            "plan/memory_mb": self._predicted / MB,
            **({"seconds/plan/memory_mb": self._measured / MB} if device_memory.measurable(self.policy.device) else {}),
            "seconds/plan/tflops_per_second": (costs.sum() / seconds.sum()).item() / 1e12,
            "seconds/plan/off": ((seconds / seconds.sum()) / (costs / costs.sum()) - 1).abs().mean().item(),
        }
        self._reset()
        return metrics

    def _reset(self) -> None:
        self._timed: list[tuple[float, float]] = []
        self._predicted = self._measured = 0.0
