"""GRPO with DAPO's token-level loss and clip-higher: the default objective.

Group statistics (DeepSeekMath, arXiv 2402.03300): A_i = (R_i - mean) / (std + epsilon) over the scored
rollouts of a group. Loss (DAPO, arXiv 2503.14476, eq. 8), ratio r_t = pi(o_t) / pi_old(o_t):

    - 1 / sum_i |o_i|  *  sum_i sum_t  min(r_t A_i, clip(r_t, 1 - clip_low, 1 + clip_high) A_i)

`aggregation = "sequence"` is GRPO's own mean over rollouts of means over tokens; `scale = "none"` leaves
the standard deviation out (Dr.GRPO, arXiv 2503.20783).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from vlmrl.settings import ObjectiveSettings


class TokenLoss(NamedTuple):
    """Per token, not yet aggregated. Shapes [L]."""

    loss_L: torch.Tensor
    clipped_L: torch.Tensor
    """Whether the clip decided the value, so that the token has no policy gradient."""


def advantages(scores: Sequence[float | None], settings: ObjectiveSettings) -> list[float | None]:
    """Advantage of each rollout of a group; None (unscored) has no part in the statistics and gets none."""
    scored = torch.tensor([s for s in scores if s is not None], dtype=torch.float64)
    if not len(scored):
        return [None] * len(scores)
    centre = scored.mean()
    scale = scored.std() + settings.epsilon if settings.scale == "std" and len(scored) > 1 else 1.0
    return [None if s is None else float((s - centre) / scale) for s in scores]


def token_loss(
    logprob_L: torch.Tensor,
    old_logprob_L: torch.Tensor,
    advantage_L: torch.Tensor,
    settings: ObjectiveSettings,
    reference_logprob_L: torch.Tensor | None = None,
) -> TokenLoss:
    """The loss of each token; the gradient flows through `logprob_L` alone."""
    assert logprob_L.shape == old_logprob_L.shape == advantage_L.shape
    ratio = torch.exp(logprob_L - old_logprob_L)
    clipped = ratio.clamp(1 - settings.clip_low, 1 + settings.clip_high)
    plain, bounded = ratio * advantage_L, clipped * advantage_L
    loss = -torch.minimum(plain, bounded)
    if reference_logprob_L is not None:
        loss = loss + settings.kl_coef * k3(logprob_L, reference_logprob_L)
    return TokenLoss(loss, (bounded < plain).detach())


def k3(logprob: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Schulman's estimate of KL(policy || other) on the policy's tokens: e^d - d - 1 >= 0, d = other - policy."""
    d = other - logprob
    return torch.exp(d) - d - 1


def token_weights(lengths: Sequence[int], settings: ObjectiveSettings) -> list[float]:
    """The weight of each token of a rollout in an update over all these rollouts; `lengths` in tokens."""
    if settings.aggregation == "token":
        return [1.0 / sum(lengths)] * len(lengths)
    return [1.0 / (len(lengths) * length) for length in lengths]
