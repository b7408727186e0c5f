"""Objective: the stages of a policy-gradient loss, composed as the run file names them.

    objective = Objective(ObjectiveSettings(preset="dapo"), decode)
    responses = objective.responses(groups)              # group statistics -> baseline -> scale
    objective.set_masks(responses, scored)               # masks and denominators, over the whole update
    objective.loss(objective.tokens(...), reference_L)   # a row: weights, credit -> loss -> aggregation

All that needs the whole update is computed in `set_masks`, before the first backward pass, so that the gradient does
not depend on how responses were packed into rows. What the stages are given: `vlmrl/objectives/__init__.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from vlmrl import catalog
from vlmrl.config.objective import ObjectiveSettings
from vlmrl.objectives import Response, TokenLoss, Tokens, guide, ma_rlhf, rl_plus, tis, visionary_r1
from vlmrl.objectives.loop import takes_part
from vlmrl.rollout.group import Group
from vlmrl.train.divergence import ESTIMATES


class Objective:
    """`decode` gives the text of a token id."""

    def __init__(self, settings: ObjectiveSettings, decode: Callable[[int], str] = chr) -> None:
        self.settings = settings
        self._decode = decode

    def _stage(self, name: str, function: str, *given: Any) -> Any:
        """What the function of `objectives/<name>.py` makes of what it is given and the settings."""
        return catalog.function("objectives", name, function)(*given, self.settings, self.settings.own(name))

    # --- the update ---------------------------------------------------------------------------------------

    @property
    def needs_spread(self) -> bool:
        """Whether a group of equal scores has no gradient: there is neither a KL nor an entropy term."""
        return not (self.settings.kl_coef or self.settings.entropy_coef)

    def responses(self, groups: Sequence[Group]) -> list[Response]:
        """The rollouts that take part in an update over these groups, with their advantages."""
        responses = [r for number, group in enumerate(groups) for r in self._of_group(number, group)]
        mean = sum(map(len, responses)) / max(len(responses), 1)
        for response in responses:
            response.relative_duration = len(response) / mean
        return responses

    def _of_group(self, number: int, group: Group) -> list[Response]:
        settings = self.settings
        scores = [v.score for v in group.verdicts]
        correct = [s is not None and s >= settings.correct_at - 1e-9 for s in scores]
        rate = sum(s >= settings.correct_at - 1e-9 for s in group.own_scores) / max(len(group.own_scores), 1)
        responses = []
        for index, advantage in enumerate(advantages(scores, settings)):
            rollout = group.rollouts[index]
            trained_T = torch.tensor(rollout.trained or [True] * len(rollout.token_ids), dtype=torch.bool)
            cut = settings.overlong_filter and rollout.finish == "length"
            if advantage is None or cut or not trained_T.any() or not takes_part(advantage, settings.own("loop")):
                continue
            behaviour_T = None if rollout.kind == "demo" else torch.tensor(rollout.logprobs, dtype=torch.float32)
            # The ratio of a hinted rollout is to the policy that saw the hint, whatever `old` is.
            proximal = settings.old == "proximal" and rollout.kind == "policy"
            response = Response(rollout, number, index, advantage, rate, correct[index])
            response.trained_T = response.kept_T = response.counted_T = trained_T
            response.behaviour_T, response.old_T = behaviour_T, None if proximal else behaviour_T
            responses.append(response)
        return responses

    def needs_scoring_pass(self, responses: Sequence[Response]) -> bool:
        """Whether `set_masks` needs logprobs and entropies of the whole update, which takes another forward pass."""
        masked = self.settings.token_mask != "none" and len(responses) > 0
        return masked or any(r.rollout.kind == "hint" for r in responses)

    def set_masks(self, responses: Sequence[Response], scored: Tokens | None) -> None:
        """Masks and denominators: `kept_T`, `policy_weight`, `penalty_weight` and `hint_gamma` of each response.

        `scored` is the whole update, if it `needs_scoring_pass`.
        """
        settings = self.settings
        if scored and settings.token_mask != "none":
            masks = map(scored.split, self._stage(settings.token_mask, "token_mask", scored))
            for response, kept_T, counted_T in zip(scored.responses, *masks, strict=True):
                response.kept_T, response.counted_T = kept_T.cpu(), counted_T.cpu()
        if scored and any(r.rollout.kind == "hint" for r in responses):
            gamma = guide.hint_gamma(scored, settings.own("guide"))
            for response in responses:
                response.hint_gamma = gamma
        groups = [r.group for r in responses]
        policy = token_weights([int(r.counted_T.sum()) for r in responses], groups, settings)
        penalty = token_weights([int(r.trained_T.sum()) for r in responses], groups, settings)
        for response, *weights in zip(responses, policy, penalty, strict=True):
            response.policy_weight, response.penalty_weight = weights

    # --- a row --------------------------------------------------------------------------------------------

    def tokens(self, responses: Sequence[Response], logprob_L: torch.Tensor, entropy_L: torch.Tensor) -> Tokens:
        """What the stages see of these responses, whose tokens follow each other in `logprob_L`."""
        lengths = [len(r) for r in responses]
        device = logprob_L.device
        response_L = torch.repeat_interleave(torch.tensor(lengths)).to(device)
        now = logprob_L.detach().split(lengths)
        old = [n if r.old_T is None else r.old_T.to(n) for r, n in zip(responses, now, strict=True)]
        behaviour = [o if r.behaviour_T is None else r.behaviour_T.to(o) for r, o in zip(responses, old, strict=True)]
        return Tokens(
            responses=responses,
            response_L=response_L,
            logprob_L=logprob_L,
            entropy_L=entropy_L,
            old_L=torch.cat(old),
            behaviour_L=torch.cat(behaviour),
            trained_L=torch.cat([r.trained_T for r in responses]).to(device),
            advantage_L=logprob_L.new_tensor([r.advantage for r in responses])[response_L],
            weight_L=torch.ones_like(logprob_L),
            decode=self._decode,
        )

    def loss(
        self, tokens: Tokens, reference_L: torch.Tensor | None = None, progress: float = 0.0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A row's share of the update's loss, and the tokens [L] whose importance ratio was clipped.

        `reference_L` are logprobs under the reference, if there is a KL term; `progress` is the share of the run done.
        """
        settings = self.settings
        beta = visionary_r1.coefficient(settings.kl_coef, progress, settings.own("visionary_r1"))
        tokens = self._token_weighted(self._credited(self._group_weighted(tokens, progress), reference_L, beta))
        policy_L, clipped_L = self._policy_loss(tokens)
        if settings.own("tis").correction != "none":
            policy_L = policy_L * tis.correction(tokens, settings.own("tis"))
        kept_L = torch.cat([r.kept_T for r in tokens.responses]).to(policy_L)
        total = (policy_L * (tokens.spread([r.policy_weight for r in tokens.responses]) * kept_L)).sum()
        penalty_L = -settings.entropy_coef * tokens.entropy_L if settings.entropy_coef else None
        if reference_L is not None and settings.kl_in == "loss":
            kl_L = beta * ESTIMATES[settings.kl](tokens.logprob_L, reference_L)
            penalty_L = kl_L if penalty_L is None else penalty_L + kl_L
        if penalty_L is not None:
            weight_L = tokens.spread([r.penalty_weight for r in tokens.responses])
            total = total + (penalty_L * weight_L * tokens.trained_L).sum()
        return total, clipped_L

    def _group_weighted(self, tokens: Tokens, progress: float) -> Tokens:
        name = self.settings.group_weight
        if name == "none":
            return tokens
        weights = [self._stage(name, "group_weight", r.pass_rate, progress) for r in tokens.responses]
        weight_L = tokens.spread(weights)
        return replace(tokens, weight_L=weight_L, advantage_L=tokens.advantage_L * weight_L)

    def _credited(self, tokens: Tokens, reference_L: torch.Tensor | None, beta: float) -> Tokens:
        """Advantages of tokens, where a token has a reward of its own or later actions discount it."""
        settings, own = self.settings, self.settings.own("ma_rlhf")
        rewards_L = torch.zeros_like(tokens.old_L)
        if reference_L is not None and settings.kl_in == "reward":
            rewards_L = -beta * ESTIMATES[settings.kl](tokens.old_L, reference_L) * tokens.trained_L
        elif own.gae_lambda == 1:
            return tokens
        advantages: list[float] = []
        parts = map(tokens.split, (rewards_L, tokens.advantage_L, tokens.behaviour_L))
        for response, reward_T, advantage_T, behaviour_T in zip(tokens.responses, *parts, strict=True):
            rewards = reward_T.tolist()
            rewards[-1] += advantage_T[-1].item()
            lengths = ma_rlhf.macro_lengths(response.rollout.token_ids, behaviour_T.tolist(), own)
            advantages += ma_rlhf.credit(rewards, lengths, own.gae_lambda)
        return replace(tokens, advantage_L=tokens.advantage_L.new_tensor(advantages))

    def _token_weighted(self, tokens: Tokens) -> Tokens:
        factor_L = torch.ones_like(tokens.weight_L)
        for name in self.settings.token_weight:
            factor_L = factor_L * self._stage(name, "token_weight", tokens)
        return replace(tokens, weight_L=tokens.weight_L * factor_L, advantage_L=tokens.advantage_L * factor_L)

    def _policy_loss(self, tokens: Tokens) -> TokenLoss:
        """Each token has the loss of those who wrote it."""
        loss_L, clipped_L = self._stage(self.settings.loss, "loss", tokens)
        for kind, loss_of in (("hint", guide.hint_loss), ("demo", rl_plus.demo_loss)):
            if any(r.rollout.kind == kind for r in tokens.responses):
                theirs = loss_of(tokens)
                is_theirs_L = tokens.is_kind(kind)
                loss_L, clipped_L = loss_L.where(~is_theirs_L, theirs.loss_L), clipped_L & ~is_theirs_L
        return TokenLoss(loss_L, clipped_L)


def advantages(scores: Sequence[float | None], settings: ObjectiveSettings) -> list[float | None]:
    """Advantage of each rollout of a group; None (unscored) has no part in the statistics and gets none."""
    scored = torch.tensor([s for s in scores if s is not None], dtype=torch.float64)
    count = len(scored)
    if not count:
        return [None] * len(scores)
    centre = scored.mean().clamp(scored.min(), scored.max())  # the rounded mean of equal scores may differ from them
    scale = 1.0
    if settings.scale != "none" and count > 1:
        scale = scored.std(correction=int(settings.scale == "std")) + settings.epsilon
    if settings.baseline == "leave_one_out" and count > 1:
        scale = scale * (count - 1) / count
    return [None if s is None else float((s - centre) / scale) for s in scores]


def token_weights(counts: Sequence[int], groups: Sequence[int], settings: ObjectiveSettings) -> list[float]:
    """The weight of each token of a response, from the tokens each has in the denominator and its group's number."""
    members: dict[int, list[int]] = defaultdict(list)
    for number, group in enumerate(groups):
        members[group if settings.aggregation == "group" else 0].append(number)
    weights = [0.0] * len(counts)
    for numbers in members.values():
        total = sum(counts[n] for n in numbers)
        for n in numbers:
            divisor = {
                "token": total,
                "group": total,
                "sequence": len(numbers) * counts[n],
                "sequence_sum": len(numbers) * settings.length_divisor,
                "sum": settings.length_divisor,
            }[settings.aggregation]
            weights[n] = 1.0 / (len(members) * divisor) if divisor else 0.0
    return weights
