"""CISPO (MiniMax-M1, arXiv 2506.13585): the clipped ratio is a constant weight, so every token keeps its gradient.

Eq. 4: loss = - 1 / sum_i |o_i| * sum_i sum_t sg(clip(r_t, 1 - clip_low, 1 + clip_high)) A_i log pi(o_t).
Without lower bound, and without KL. The paper tunes the upper bound and does not print it. Code bases disagree on
what it is: verl has 1 + clip_high, TRL clip_high itself; the preset has the absolute 5.0 of ScaleRL
(arXiv 2510.13786).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vlmrl.objectives import TokenLoss
from vlmrl.objectives.grpo import upper_bound

if TYPE_CHECKING:
    from vlmrl.config.objective import ObjectiveSettings
    from vlmrl.objectives import Tokens

PRESET: dict[str, Any] = {
    "baseline": "mean",
    "scale": "std",
    "loss": "cispo",
    "clip_low": 1.0,
    "clip_high": 5.0,
    "upper_clip": "absolute",
    "aggregation": "token",
}


def loss(tokens: Tokens, settings: ObjectiveSettings, own: None) -> TokenLoss:
    """REINFORCE with truncated importance weights."""
    ratio_L = tokens.ratio_L.detach()
    weight_L = ratio_L.clamp(1 - settings.clip_low, upper_bound(settings))
    return TokenLoss(-weight_L * tokens.advantage_L * tokens.logprob_L, weight_L != ratio_L)
