"""Learner: one policy, one optimizer, and an update from groups of scored rollouts or from demonstrations.

Both kinds of update go through the same packed rows, logprobs, optimizer and schedule; they differ in the
loss of a token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Any

import torch

from vlmrl.group import Group, TokenStats, UpdateReport
from vlmrl.objectives import grpo
from vlmrl.packing import Item, Row, pack
from vlmrl.policy import Policy
from vlmrl.scoring import score_row
from vlmrl.settings import LearnerSettings, ObjectiveSettings


class Learner:
    """Owns the optimizer. `run_updates` is the number of optimizer steps the whole run will take."""

    def __init__(
        self,
        policy: Policy,
        settings: LearnerSettings,
        objective: ObjectiveSettings,
        run_updates: int,
        temperature: float = 1.0,
        extra_parameters: Iterable[torch.nn.Parameter] = (),
    ) -> None:
        self.policy = policy
        self.settings = settings
        self.objective = objective
        self.temperature = temperature
        self.parameters = [p for p in policy.model.parameters() if p.requires_grad] + list(extra_parameters)
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=settings.learning_rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, _rate(settings.schedule, settings.warmup_steps, settings.schedule_updates or run_updates)
        )
        self.reference = self._frozen_copy() if objective.kl_coef > 0 else None

    # --- reinforcement ------------------------------------------------------------------------------------

    def update(self, groups: Sequence[Group]) -> UpdateReport:
        """One step's optimizer updates on these groups; fills `group.stats` of those that took part.

        A group without spread has no advantage, so it is left out, unless a KL term gives it a gradient.
        """
        useful = [g for g in groups if g.scores and (g.has_spread or self.reference)]
        if not useful:
            return UpdateReport(0.0, 0.0, self.rate, 0, 0)
        self.policy.model.train()
        count = min(self.settings.updates_per_step, len(useful))
        reports = [self._update_on(useful[part::count], first=part == 0) for part in range(count)]
        loss, norm = (math.fsum(values) / count for values in zip(*reports, strict=True))
        return UpdateReport(loss, norm, self.rate, len(useful), count)

    def _update_on(self, groups: Sequence[Group], first: bool) -> tuple[float, float]:
        """One optimizer step; (loss, gradient norm). `first`: the policy is still the one that sampled."""
        advantages = [self._advantages(g) for g in groups]
        kept = [[i for i, a in enumerate(adv) if a is not None] for adv in advantages]
        lengths = [len(g.rollouts[i].token_ids) for g, rows in zip(groups, kept, strict=True) for i in rows]
        weights = iter(grpo.token_weights(lengths, self.objective))
        weight = [{i: next(weights) for i in rows} for rows in kept]
        items = [
            Item(n, g.prompt, [g.rollouts[i].token_ids for i in rows])
            for n, (g, rows) in enumerate(zip(groups, kept, strict=True))
        ]
        for group in groups:
            group.stats = [TokenStats(0.0, 0.0, 0.0, None, None)] * len(group.rollouts)
        total = 0.0
        for row in pack(items, self.settings.row_tokens, share_prompt=self.settings.share_prompt):
            reference = self._reference_logprobs(row)
            scores = score_row(self.policy, row, self.temperature)
            old, advantage, token_weight = self._per_token(row, groups, kept, advantages, weight)
            tokens = grpo.token_loss(scores.logprob_L, old, advantage, self.objective, reference)
            loss = (tokens.loss_L * token_weight).sum()
            loss.backward()
            total += loss.item()
            _measure(row, groups, kept, scores.logprob_L.detach(), scores.entropy_L, old, tokens.clipped_L, first)
        return total, self._step()

    def _advantages(self, group: Group) -> list[float | None]:
        return grpo.advantages([v.score for v in group.verdicts], self.objective)

    def _per_token(
        self,
        row: Row,
        groups: Sequence[Group],
        kept: list[list[int]],
        advantages: list[list[float | None]],
        weight: list[dict[int, float]],
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Behaviour logprob, advantage and weight of each scored token, all [L]."""
        old: list[float] = []
        advantage: list[float | None] = []
        token_weight: list[float] = []
        for span in row.spans:
            index = kept[span.item][span.response]
            length = span.stop - span.start
            old += groups[span.item].rollouts[index].logprobs
            advantage += [advantages[span.item][index]] * length
            token_weight += [weight[span.item][index]] * length
        device = self.policy.device
        return tuple(torch.tensor(x, dtype=torch.float32, device=device) for x in (old, advantage, token_weight))  # pyright: ignore[reportReturnType]

    # --- reference ----------------------------------------------------------------------------------------

    def _frozen_copy(self) -> Policy | None:
        """The policy as it starts; with adapters the base model under them serves, and nothing is copied."""
        if hasattr(self.policy.model, "disable_adapter"):
            return self.policy
        model = deepcopy(self.policy.model).eval().requires_grad_(False)
        return Policy(model, self.policy.formatter, self.policy.path, self.policy.compute)

    @torch.no_grad()
    def _reference_logprobs(self, row: Row) -> torch.Tensor | None:
        if self.reference is None:
            return None
        if self.reference is self.policy:
            with self.policy.model.disable_adapter():
                return score_row(self.policy, row, self.temperature).logprob_L
        return score_row(self.reference, row, self.temperature).logprob_L

    # --- shared -------------------------------------------------------------------------------------------

    def supervise(self, items: Sequence[Item], loss_of: Callable[[Row, torch.Tensor], torch.Tensor]) -> UpdateReport:
        """One optimizer step on demonstrations; `loss_of(row, logprob_L)` gives a row's share of the loss."""
        self.policy.model.train()
        total = 0.0
        for row in pack(items, self.settings.row_tokens):
            loss = loss_of(row, score_row(self.policy, row).logprob_L)
            loss.backward()
            total += loss.item()
        return UpdateReport(total, self._step(), self.rate, len(items), 1)

    @property
    def rate(self) -> float:
        return float(self.scheduler.get_last_lr()[0])

    def _step(self) -> float:
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.max_grad_norm).item()
        if math.isfinite(norm):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.scheduler.step()
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Optimizer and schedule; the weights are the policy's."""
        return {"optimizer": self.optimizer.state_dict(), "scheduler": self.scheduler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])


def _rate(schedule: str, warmup: int, total: int) -> Callable[[int], float]:
    """Factor of the learning rate at an optimizer step counted from 0."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        left = 1 - (step - warmup) / max(1, total - warmup)
        if schedule == "linear":
            return max(0.0, left)
        if schedule == "cosine":
            return 0.5 * (1 - math.cos(math.pi * max(0.0, left)))
        return 1.0

    return factor


def _measure(
    row: Row,
    groups: Sequence[Group],
    kept: list[list[int]],
    logprob_L: torch.Tensor,
    entropy_L: torch.Tensor,
    old_L: torch.Tensor,
    clipped_L: torch.Tensor,
    first: bool,
) -> None:
    """Writes each response's `TokenStats`. Agreement is measured where the policy is the one that sampled."""
    diff_L, kl_L = (logprob_L - old_L).abs(), grpo.k3(old_L, logprob_L)
    table = torch.stack([entropy_L, clipped_L.float(), kl_L, diff_L]).cpu()
    for span in row.spans:
        part = table[:, span.start : span.stop]
        entropy, clipped, kl, diff = part.mean(1).tolist()
        worst = part[3].max().item()
        groups[span.item].stats[kept[span.item][span.response]] = TokenStats(
            entropy, clipped, kl, diff if first else None, worst if first else None
        )
