"""GSPO (arXiv 2507.18071): one importance ratio for the whole response, the geometric mean of its tokens'.

s_i = exp(mean_t log r_t);  loss = - mean_i min(s_i A_i, clip(s_i, 1 - 3e-4, 1 + 4e-4) A_i). No KL.
Written by tokens (the paper's GSPO-token with equal advantages): each token has the value s_i, and the gradient
s_i * mean_t grad log pi, so `aggregation` is the mean over rollouts of token means. log s_i is capped at 10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vlmrl.objectives.grpo import surrogate

if TYPE_CHECKING:
    from vlmrl.config.objective import ObjectiveSettings
    from vlmrl.objectives import TokenLoss, Tokens

PRESET: dict[str, Any] = {
    "baseline": "mean",
    "scale": "std",
    "loss": "gspo",
    "clip_low": 3e-4,
    "clip_high": 4e-4,
    "aggregation": "sequence",
}

MAX_LOG_RATIO = 10.0


def loss(tokens: Tokens, settings: ObjectiveSettings, own: None) -> TokenLoss:
    """The clipped surrogate with the ratio of the response; the gradient flows through each token's logprob."""
    mean_L = tokens.response_mean((tokens.logprob_L - tokens.old_L).detach())
    ratio_L = (mean_L + tokens.logprob_L - tokens.logprob_L.detach()).clamp(max=MAX_LOG_RATIO).exp()
    return surrogate(ratio_L, tokens.advantage_L, settings)
