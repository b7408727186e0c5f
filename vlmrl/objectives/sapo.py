"""SAPO (arXiv 2511.20347): a sigmoid gate around ratio 1 instead of a clip, narrower where the advantage is negative.

loss = - mean_i mean_t f(r_t) A_i,  f(r) = 4 / tau * sigmoid(tau (r - 1)),  tau = 1.0 where A > 0, else 1.05. The slope
of f is 1 at r = 1, so the gradient on policy is GRPO's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from vlmrl.config.section import Section
from vlmrl.objectives import TokenLoss

if TYPE_CHECKING:
    from vlmrl.config.objective import ObjectiveSettings
    from vlmrl.objectives import Tokens

PRESET: dict[str, Any] = {
    "baseline": "mean",
    "scale": "std",
    "loss": "sapo",
    "aggregation": "sequence",
}


class Settings(Section):
    """[objective.sapo]: the temperatures of the gate."""

    temperature_positive: float = Field(default=1.0, ge=0.001, description="temperature tau where A > 0")
    temperature_negative: float = Field(default=1.05, ge=0.001, description="temperature tau where A <= 0")


def loss(tokens: Tokens, settings: ObjectiveSettings, own: Settings) -> TokenLoss:
    """The gated surrogate; nothing is ever clipped."""
    positive_L = tokens.advantage_L > 0
    tau_L = tokens.advantage_L.new_full(positive_L.shape, own.temperature_negative)
    tau_L = tau_L.masked_fill(positive_L, own.temperature_positive)
    gate_L = (tau_L * (tokens.ratio_L - 1)).sigmoid() * 4 / tau_L
    return TokenLoss(-gate_L * tokens.advantage_L, positive_L & False)
