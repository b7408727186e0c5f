"""GRPO (DeepSeekMath, arXiv 2402.03300): group-normalised advantages, clipped ratio, k3 estimate of the KL.

For rollouts o_i of a group with scores R_i and ratios r_t = pi(o_t) / pi_old(o_t):

    A_i  = (R_i - mean) / std
    loss = - mean_i mean_t  min(r_t A_i, clip(r_t, 1 - clip_low, 1 + clip_high) A_i)  +  kl_coef * k3

The std is unbiased, as in verl and TRL. DeepSeek-R1 has kl_coef 0.001 and clip 10. `dual_clip` = c bounds the loss
of tokens with A < 0 by -A c (arXiv 1912.09729; 3 in verl, 10 in DAPO's recipes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vlmrl.objectives import TokenLoss

if TYPE_CHECKING:
    import torch

    from vlmrl.config.objective import ObjectiveSettings
    from vlmrl.objectives import Tokens

PRESET: dict[str, Any] = {
    "baseline": "mean",
    "scale": "std",
    "loss": "grpo",
    "clip_low": 0.2,
    "clip_high": 0.2,
    "aggregation": "sequence",
    "kl_coef": 0.04,
    "kl": "k3",
}


def loss(tokens: Tokens, settings: ObjectiveSettings, own: None) -> TokenLoss:
    """The clipped surrogate with the ratio of each token."""
    return surrogate(tokens.ratio_L, tokens.advantage_L, settings)


def surrogate(ratio_L: torch.Tensor, advantage_L: torch.Tensor, settings: ObjectiveSettings) -> TokenLoss:
    """PPO's pessimistic bound -min(r A, clip(r) A), with the dual clip if it is on."""
    clipped_L = ratio_L.clamp(1 - settings.clip_low, upper_bound(settings))
    plain_L, bounded_L = ratio_L * advantage_L, clipped_L * advantage_L
    loss_L, is_clipped_L = -plain_L.minimum(bounded_L), bounded_L < plain_L
    if settings.dual_clip:
        floor_L = settings.dual_clip * advantage_L
        below_L = (advantage_L < 0) & (-loss_L < floor_L)
        loss_L, is_clipped_L = loss_L.where(~below_L, -floor_L), is_clipped_L | below_L
    return TokenLoss(loss_L, is_clipped_L.detach())


def upper_bound(settings: ObjectiveSettings) -> float:
    """Upper bound of the ratio: 1 + clip_high (verl), or clip_high itself (TRL's CISPO)."""
    return settings.clip_high if settings.upper_clip == "absolute" else 1 + settings.clip_high
