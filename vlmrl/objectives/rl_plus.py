"""RL-PLUS (arXiv 2508.00222): one external demonstration in each group, with multiple importance sampling.

For a token of a demonstration, whose writer's probabilities nobody knows:

    loss = - 2 pi / (pi_old + w) A (1 - sg pi)^0.5,    w = (pi_old + 1) / 2

The root is the exploration advantage (`token_weight`), large where the policy would not have gone. Tokens of the
policy have -r A, unclipped. A = R - mean over the group with its demonstration; pi_old is the learner's policy as
the step begins. Summed over tokens / 8192 and over the batch; entropy bonus 0.001; no KL.
`demonstrations` puts it into the group: the sample's own last turn, a `Rollout` of kind "demo" without logprobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from vlmrl.config.section import Section
from vlmrl.objectives import TokenLoss

if TYPE_CHECKING:
    import torch

    from vlmrl.config.objective import ObjectiveSettings
    from vlmrl.objectives import Tokens

PRESET: dict[str, Any] = {
    "baseline": "mean",
    "scale": "none",
    "token_weight": ["rl_plus"],
    "loss": "rl_plus",
    "demonstrations": True,
    "aggregation": "sum",
    "length_divisor": 8192.0,
    "entropy_coef": 0.001,
}


class Settings(Section):
    """[objective.rl_plus]: the exploration advantage."""

    exploration_power: float = Field(
        default=0.5, ge=0, description="exponent of the weight (1 - pi) of demonstration tokens"
    )


def token_weight(tokens: Tokens, settings: ObjectiveSettings, own: Settings) -> torch.Tensor:
    """(1 - pi)^power at the tokens of demonstrations, 1 at all others."""
    unlikely_L = (1 - tokens.logprob_L.detach().exp()).clamp(min=0) ** own.exploration_power
    return unlikely_L.masked_fill(~tokens.is_kind("demo"), 1.0)


def loss(tokens: Tokens, settings: ObjectiveSettings, own: Settings) -> TokenLoss:
    """-r A without a clip."""
    return TokenLoss(-tokens.ratio_L * tokens.advantage_L, tokens.trained_L & False)


def demo_loss(tokens: Tokens) -> TokenLoss:
    """-A times the ratio to the mixture of the old policy and an unknown, uniformly likely writer."""
    old_L = tokens.old_L.exp()
    ratio_L = 2 * tokens.logprob_L.exp() / (old_L + (old_L + 1) / 2)
    return TokenLoss(-ratio_L * tokens.advantage_L, tokens.trained_L & False)
