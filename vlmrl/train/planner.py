"""Planner: packs the responses of an update into rows, by predicted cost and memory.

    planner = Planner(policy, settings)         share_prompt=False repeats the prompt: the reference path
    for row in planner.rows(items): ...         the row that takes the most memory first
    planner.metrics()                           predicted and measured cost and memory

A row holds at most `learner.row_tokens` tokens and takes at most `learner.memory_mb`, if that is set. The rows are few
and of even cost, in FLOPs of language layers, attention, head and vision tower. docs/learner.md explains the settings.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from functools import cached_property

import torch

from vlmrl.config.learner import LearnerSettings
from vlmrl.errors import UserError
from vlmrl.models.attention.tree import tree_unsupported
from vlmrl.models.encoded_prompt import EncodedPrompt, PromptSize
from vlmrl.models.packing import Item, Row, Work, arrange, build, repeat, work_of
from vlmrl.models.policy import Policy
from vlmrl.train import device_memory
from vlmrl.train.flops import Rates, tower_flops
from vlmrl.train.footprint import Footprint

MB = 2**20


class Planner:
    """The `CostModel` of a policy, with the budgets of the settings, and the rows that follow from it."""

    def __init__(self, policy: Policy, settings: LearnerSettings, share_prompt: bool = True) -> None:
        self.policy = policy
        self.settings = settings
        self.share_prompt = share_prompt
        self.rates = Rates.of(policy.core)
        self.tree_unsupported = tree_unsupported(policy.core.config.text_config)
        if self.tree_unsupported:
            print(
                f"learner: {self.tree_unsupported}; each response is computed with a prompt of its own", file=sys.stderr
            )
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

    def plan(self, items: Sequence[Item]) -> list[tuple[list[Item], Work]]:
        """The items of each row with their work, the row that takes the most memory first."""
        if self.tree_unsupported:
            rows = [[item] for item in repeat(items)]
        else:
            rows = arrange(items if self.share_prompt else repeat(items), self)
        planned = [(row, sum((work_of(item, self) for item in row), start=Work())) for row in rows]
        return sorted(planned, key=lambda row: -self.footprint.row(row[1]))

    def rows(self, items: Sequence[Item]) -> Iterator[Row]:
        """Builds the rows one at a time, so that only one row's pixels exist, and times the work done on each."""
        planned = self.plan(items)
        if not torch.is_grad_enabled() or not planned:
            yield from (build(row, tree=self.tree_unsupported is None) for row, _ in planned)
            return
        self._predicted = max(self._predicted, self.footprint.update([work for _, work in planned]))
        with device_memory.watch(self.policy.device) as peak:
            for row, work in planned:
                started = time.perf_counter()
                yield build(row, tree=self.tree_unsupported is None)
                self._timed.append((self.cost(work), time.perf_counter() - started))
        self._measured = max(self._measured, peak.bytes)

    def require(self, prompt: EncodedPrompt | PromptSize, response_tokens: int) -> None:
        """`UserError` if the prompt with a response of this number of tokens exceeds the memory budget."""
        budget = self.settings.memory_mb
        if not budget:
            return
        work = Work(
            len(prompt) + response_tokens - 1,
            scored=response_tokens,
            patches=prompt.patches,
            sounds=prompt.sound_values,
        )
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
