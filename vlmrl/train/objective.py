"""Objective: the stages of a policy-gradient loss, composed as the run file names them.

    objective = Objective(ObjectiveSettings(preset="dapo"), decode)
    responses = objective.responses(groups)              # group statistics -> baseline -> scale
    objective.weigh(responses, survey)                   # masks and denominators, over the whole update
    objective.loss(objective.tokens(...), reference_L)   # a row: weights, credit -> loss -> aggregation

All that needs the whole update is settled in `weigh`, before the first backward pass, so that the gradient does not
depend on how responses were packed into rows. What the stages are given: `vlmrl/objectives/__init__.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from vlmrl import catalog
from vlmrl.config.objective import ObjectiveSettings
from vlmrl.objectives import Response, TokenLoss, Tokens
from vlmrl.objectives.ma_rlhf import credit, macro_lengths
from vlmrl.rollout.group import Group
from vlmrl.train.divergence import ESTIMATES, coefficient


class Objective:
    """`decode` gives the text of a token id."""

    def __init__(self, settings: ObjectiveSettings, decode: Callable[[int], str] = chr) -> None:
        self.settings = settings
        self._decode = decode

    # --- the update ---------------------------------------------------------------------------------------

    @property
    def needs_spread(self) -> bool:
        """Whether a group of equal scores has no gradient: there is neither a KL nor an entropy term."""
        return not (self.settings.kl_coef or self.settings.entropy_coef)

    def responses(self, groups: Sequence[Group]) -> list[Response]:
        """The rollouts that take part in an update over these groups, with their advantages."""
        found = [r for number, group in enumerate(groups) for r in self._of_group(number, group)]
        mean = sum(map(len, found)) / max(len(found), 1)
        for response in found:
            response.relative_duration = len(response) / mean
        return found

    def _of_group(self, number: int, group: Group) -> list[Response]:
        settings = self.settings
        scores = [v.score for v in group.verdicts]
        correct = [s is not None and s >= settings.correct_at - 1e-9 for s in scores]
        rate = sum(s >= settings.correct_at - 1e-9 for s in group.own_scores) / max(len(group.own_scores), 1)
        found = []
        for index, advantage in enumerate(advantages(scores, settings)):
            rollout = group.rollouts[index]
            trained_T = torch.tensor(rollout.trained or [True] * len(rollout.token_ids), dtype=torch.bool)
            cut = settings.overlong_filter and rollout.finish == "length"
            if advantage is None or cut or not trained_T.any() or abs(advantage) < settings.min_advantage:
                continue
            behaviour_T = None if rollout.kind == "demo" else torch.tensor(rollout.logprobs, dtype=torch.float32)
            # The ratio of a hinted rollout is to the policy that saw the hint, whatever `old` is.
            proximal = settings.old == "proximal" and rollout.kind == "policy"
            response = Response(rollout, number, index, advantage, rate, correct[index])
            response.trained_T = response.kept_T = trained_T
            response.behaviour_T, response.old_T = behaviour_T, None if proximal else behaviour_T
            found.append(response)
        return found

    def needs_survey(self, responses: Sequence[Response]) -> bool:
        """Whether `weigh` must know logprobs and entropies of the whole update, which takes another pass."""
        masked = self.settings.token_mask != "none" and len(responses) > 0
        return masked or any(r.rollout.kind == "hint" for r in responses)

    def weigh(self, responses: Sequence[Response], survey: Tokens | None) -> None:
        """Masks and denominators: `kept_T`, `policy_weight`, `penalty_weight` and `hint_gamma` of each response.

        `survey` is the whole update, if `needs_survey`.
        """
        settings = self.settings
        if survey and settings.token_mask != "none":
            kept_L = catalog.function("objectives", settings.token_mask, "token_mask")(survey, settings)
            for response, kept_T in zip(survey.responses, survey.split(kept_L), strict=True):
                response.kept_T = kept_T.cpu()
        if survey and any(r.rollout.kind == "hint" for r in responses):
            gamma = catalog.function("objectives", settings.hint_loss, "hint_gamma")(survey, settings)
            for response in responses:
                response.hint_gamma = gamma
        counts = {
            "kept": [int(r.kept_T.sum()) for r in responses],
            "trained": [int(r.trained_T.sum()) for r in responses],
        }
        groups = [r.group for r in responses]
        policy = token_weights(counts[settings.denominator], groups, settings)
        penalty = token_weights(counts["trained"], groups, settings)
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
        beta = coefficient(settings, progress)
        tokens = self._token_weighted(self._credited(self._group_weighted(tokens, progress), reference_L, beta))
        policy_L, clipped_L = self._policy_loss(tokens)
        if settings.correction != "none":
            policy_L = policy_L * correction(tokens, settings)
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
        settings = self.settings
        if settings.group_weight == "none":
            return tokens
        weight = catalog.function("objectives", settings.group_weight, "group_weight")
        weight_L = tokens.spread([weight(r.pass_rate, settings, progress) for r in tokens.responses])
        return replace(tokens, weight_L=weight_L, advantage_L=tokens.advantage_L * weight_L)

    def _credited(self, tokens: Tokens, reference_L: torch.Tensor | None, beta: float) -> Tokens:
        """Advantages of tokens, where a token has a reward of its own or later actions discount it."""
        settings = self.settings
        rewards_L = torch.zeros_like(tokens.old_L)
        if reference_L is not None and settings.kl_in == "reward":
            rewards_L = -beta * ESTIMATES[settings.kl](tokens.old_L, reference_L) * tokens.trained_L
        elif settings.gae_lambda == 1:
            return tokens
        found: list[float] = []
        parts = map(tokens.split, (rewards_L, tokens.advantage_L, tokens.behaviour_L))
        for response, reward_T, advantage_T, behaviour_T in zip(tokens.responses, *parts, strict=True):
            rewards = reward_T.tolist()
            rewards[-1] += advantage_T[-1].item()
            lengths = macro_lengths(response.rollout.token_ids, behaviour_T.tolist(), settings)
            found += credit(rewards, lengths, settings.gae_lambda)
        return replace(tokens, advantage_L=tokens.advantage_L.new_tensor(found))

    def _token_weighted(self, tokens: Tokens) -> Tokens:
        factor_L = torch.ones_like(tokens.weight_L)
        for name in self.settings.token_weight:
            factor_L = factor_L * catalog.function("objectives", name, "token_weight")(tokens, self.settings)
        return replace(tokens, weight_L=tokens.weight_L * factor_L, advantage_L=tokens.advantage_L * factor_L)

    def _policy_loss(self, tokens: Tokens) -> TokenLoss:
        """Each token has the loss of those who wrote it."""
        settings = self.settings
        loss_L, clipped_L = catalog.function("objectives", settings.loss, "loss")(tokens, settings)
        for kind, name in (("hint", settings.hint_loss), ("demo", settings.demo_loss)):
            if any(r.rollout.kind == kind for r in tokens.responses):
                theirs = catalog.function("objectives", name, f"{kind}_loss")(tokens, settings)
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
    if settings.scale == "std" and count > 1:
        scale = scored.std(correction=int(settings.unbiased_std)) + settings.epsilon
    if settings.baseline == "leave_one_out" and count > 1:
        scale = scale * (count - 1) / count
    return [None if s is None else float((s - centre) / scale) for s in scores]


def token_weights(counts: Sequence[int], groups: Sequence[int], settings: ObjectiveSettings) -> list[float]:
    """The weight of each token of a response, from the tokens each has in the denominator and its group's number."""
    members: dict[int, list[int]] = defaultdict(list)
    for number, group in enumerate(groups):
        members[group if settings.denominator_scope == "group" else 0].append(number)
    weights = [0.0] * len(counts)
    for numbers in members.values():
        total = sum(counts[n] for n in numbers)
        for n in numbers:
            divisor = {
                "token": total,
                "sequence": len(numbers) * counts[n],
                "sequence_sum": len(numbers) * settings.length_divisor,
                "sum": settings.length_divisor / len(members),
            }[settings.aggregation]
            weights[n] = 1.0 / (len(members) * divisor) if divisor else 0.0
    return weights


def correction(tokens: Tokens, settings: ObjectiveSettings) -> torch.Tensor:
    """old / behaviour of each token [L], bounded by the cap; a constant. 1 for hinted rollouts and demonstrations."""
    log_weight_L = (tokens.old_L - tokens.behaviour_L).detach()
    if settings.correction_level == "sequence":
        log_weight_L = tokens.response_sum(log_weight_L)
    elif settings.correction_level == "geometric":
        log_weight_L = tokens.response_mean(log_weight_L)
    weight_L = log_weight_L.exp()
    if settings.correction == "clamp":
        return weight_L.clamp(max=settings.correction_cap)
    return weight_L.masked_fill(weight_L > settings.correction_cap, 0.0)
