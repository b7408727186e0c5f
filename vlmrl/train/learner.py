"""Learner: one policy, one optimizer, and an update from groups of scored rollouts or from demonstrations.

Both kinds of update go through the same packed rows and forks, logprobs, optimizer and schedule; they differ in the
loss of a token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from vlmrl.config.learner import LearnerSettings
from vlmrl.config.objective import ObjectiveSettings
from vlmrl.models.fork import Fork
from vlmrl.models.logprobs import Scores, score, score_row
from vlmrl.models.packing import Item, Row
from vlmrl.models.policy import Policy
from vlmrl.objectives import Response, Tokens
from vlmrl.rollout.group import Group, TokenStats, UpdateReport
from vlmrl.train.agreement import AgreementGate
from vlmrl.train.divergence import k3
from vlmrl.train.objective import Objective
from vlmrl.train.planner import Mode, Planner


class Learner:
    """Owns the optimizer. `run_updates` is the number of optimizer steps the whole run will take.

    Other modes than `auto` are what tests and benchmarks compare with.
    """

    def __init__(
        self,
        policy: Policy,
        settings: LearnerSettings,
        objective: ObjectiveSettings,
        run_updates: int,
        temperature: float = 1.0,
        extra_parameters: Iterable[torch.nn.Parameter] = (),
        gate: AgreementGate | None = None,
        mode: Mode = "auto",
    ) -> None:
        self.policy = policy
        self.settings = settings
        self.planner = Planner(policy, settings, mode)
        self.objective = Objective(objective, lambda token: policy.formatter.tokenizer.decode([token]))
        self.temperature = temperature
        self.gate = gate
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

    def update(self, groups: Sequence[Group], progress: float = 0.0, version: int | None = None) -> UpdateReport:
        """One step's optimizer updates on these groups; fills `group.stats` of those that took part.

        A group without spread has no advantage, so it is left out, unless a KL or entropy term gives it a gradient.
        `progress` is the share of the run that is done; agreement is measured on rollouts of the policy's `version`, or
        on all. `UserError`, before any weight changes, if the gate does not accept it.
        """
        useful = [g for g in groups if g.scores and (g.has_spread or not self.objective.needs_spread)]
        if not useful:
            return UpdateReport(0.0, 0.0, self.rate, 0, 0)
        self.policy.train(dropout=False)
        count = min(self.settings.updates_per_step, len(useful))
        parts = [useful[part::count] for part in range(count)]
        plans = [self.objective.responses(part) for part in parts]
        for part, plan in zip(parts[1:], plans[1:], strict=True):
            self._set_old_logprobs(part, plan)
        reports = [
            self._update_on(part, plan, progress, version, first=number == 0)
            for number, (part, plan) in enumerate(zip(parts, plans, strict=True))
        ]
        loss, norm = (math.fsum(values) / count for values in zip(*reports, strict=True))
        skipped = sum(not math.isfinite(norm) for _, norm in reports)
        return UpdateReport(loss, norm, self.rate, len(useful), count - skipped, skipped)

    def _update_on(
        self, groups: Sequence[Group], plan: list[Response], progress: float, version: int | None, first: bool
    ) -> tuple[float, float]:
        """One optimizer step; (loss, gradient norm). `first`: the policy is still the one that has this version."""
        scored = self._scoring_pass(groups, plan) if self.objective.needs_scoring_pass(plan) else None
        self.objective.set_masks(plan, scored)
        for group in groups:
            group.stats = [None] * len(group.rollouts)
        total = 0.0
        for responses, scores, reference_L in self._parts(groups, plan, with_reference=True):
            tokens = self.objective.tokens(responses, scores.logprob_L, scores.entropy_L)
            loss, clipped_L = self.objective.loss(tokens, reference_L, progress)
            loss.backward()
            total += loss.item()
            _measure(groups, tokens, clipped_L, version, first)
        if first and self.gate:
            self.gate.judge(groups)
        return total, self._step()

    def _parts(
        self, groups: Sequence[Group], plan: Sequence[Response], with_reference: bool = False
    ) -> Iterator[tuple[list[Response], Scores, torch.Tensor | None]]:
        """Responses of a packed row or of a chunk, with their scores and their logprobs under the reference.

        With gradients, the loss of a part goes backward before the next part is taken.
        """
        members: list[list[Response]] = [[] for _ in groups]
        for response in plan:
            members[response.group].append(response)
        items = [
            Item(n, group.prompt, [r.rollout.token_ids for r in responses])
            for n, (group, responses) in enumerate(zip(groups, members, strict=True))
            if responses
        ]
        for row in self.planner.rows(items):
            reference_L = self._reference_logprobs(row) if with_reference else None
            for spans, scores in score(self.policy, row, self.temperature):
                part = slice(spans[0].start, spans[-1].stop)
                responses = [members[span.item][span.response] for span in spans]
                yield responses, scores, None if reference_L is None else reference_L[part]

    @torch.no_grad()
    def _scoring_pass(self, groups: Sequence[Group], plan: Sequence[Response]) -> Tokens:
        """Logprobs and entropies of an update's tokens under the policy before the step."""
        parts = list(self._parts(groups, plan))
        return self.objective.tokens(
            [response for responses, _, _ in parts for response in responses],
            torch.cat([scores.logprob_L for _, scores, _ in parts]),
            torch.cat([scores.entropy_L for _, scores, _ in parts]),
        )

    def _set_old_logprobs(self, groups: Sequence[Group], plan: Sequence[Response]) -> None:
        """Old logprobs under the policy as it is now, for the responses whose ratio is to it."""
        proximal = [response for response in plan if response.old_T is None]
        if proximal:
            now = self._scoring_pass(groups, proximal)
            for response, old_T in zip(now.responses, now.split(now.logprob_L), strict=True):
                response.old_T = old_T

    # --- reference ----------------------------------------------------------------------------------------

    def _frozen_copy(self) -> Policy | None:
        """The policy as it starts; with adapters the base model under them serves, and nothing is copied."""
        if hasattr(self.policy.model, "disable_adapter"):
            return self.policy
        return self.policy.frozen_copy()

    @torch.no_grad()
    def _reference_logprobs(self, row: Row | Fork) -> torch.Tensor | None:
        """Logprobs of the row's tokens under the reference, if there is one."""
        reference = self.reference
        if reference is None:
            return None
        with reference.model.disable_adapter() if reference is self.policy else nullcontext():
            return torch.cat([scores.logprob_L for _, scores in score(reference, row, self.temperature)])

    # --- shared -------------------------------------------------------------------------------------------

    def supervise(self, items: Sequence[Item], loss_of: Callable[[Row, torch.Tensor], torch.Tensor]) -> UpdateReport:
        """One optimizer step on demonstrations; `loss_of(row, logprob_L)` gives a row's share of the loss."""
        self.policy.train(dropout=True)
        total = 0.0
        for row in self.planner.rows(items):
            assert isinstance(row, Row), "a prompt with one demonstration is not forked"
            loss = loss_of(row, score_row(self.policy, row).logprob_L)
            loss.backward()
            total += loss.item()
        norm = self._step()
        skipped = int(not math.isfinite(norm))
        return UpdateReport(total, norm, self.rate, len(items), 1 - skipped, skipped)

    @property
    def rate(self) -> float:
        return float(self.scheduler.get_last_lr()[0])

    def _step(self) -> float:
        """The gradient's norm before clipping; where that is not finite, the weights stay as they are."""
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
        # The run may be longer now than when the rate was stored, which the schedule then spans.
        scheduler = self.scheduler
        rules = zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
        scheduler._last_lr = [base * factor(scheduler.last_epoch) for base, factor in rules]
        for group, rate in zip(self.optimizer.param_groups, scheduler._last_lr, strict=True):
            group["lr"] = rate


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
    groups: Sequence[Group], tokens: Tokens, clipped_L: torch.Tensor, version: int | None, first: bool
) -> None:
    """Writes each response's `TokenStats`. Agreement is measured where the policy is the one that sampled."""
    logprob_L = tokens.logprob_L.detach()
    diff_L, kl_L = (logprob_L - tokens.behaviour_L).abs(), k3(tokens.behaviour_L, logprob_L)
    table = torch.stack([tokens.entropy_L.detach(), clipped_L.float(), kl_L, diff_L]).cpu()
    for response, part in zip(tokens.responses, table.split([len(r) for r in tokens.responses], 1), strict=True):
        part = part[:, response.trained_T]
        entropy, clipped, kl, diff = part.mean(1).tolist()
        worst = part[3].max().item()
        rollout = response.rollout
        sampled = first and rollout.kind == "policy" and version in (None, rollout.version)
        groups[response.group].stats[response.index] = TokenStats(
            entropy, clipped, kl, diff if sampled else None, worst if sampled else None, response.advantage
        )
