"""TIS ("Your Efficient RL Framework Secretly Brings You Off-Policy RL Training", Yao et al. 2025): engine mismatch.

The engine and the learner give the same token slightly different probabilities. The ratio is to the learner's own
policy, and each token is weighted by min(pi_learner / pi_engine, 2), both as the step begins. Otherwise DAPO's clip and
mean. What is above the cap may also be masked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from vlmrl.config.section import Section

if TYPE_CHECKING:
    import torch

    from vlmrl.config.objective import ObjectiveSettings
    from vlmrl.objectives import Tokens

PRESET: dict[str, Any] = {
    "baseline": "mean",
    "scale": "std",
    "old": "proximal",
    "tis": {"correction": "clamp"},
    "loss": "grpo",
    "clip_low": 0.2,
    "clip_high": 0.28,
    "aggregation": "token",
}


class Settings(Section):
    """[objective.tis]: importance weights between the engine's policy and the learner's."""

    correction: Literal["none", "clamp", "mask"] = Field(
        default="none",
        description="weight of a token, proximal / behaviour; above the cap clamp makes it the cap, mask 0",
    )
    cap: float = Field(default=2.0, gt=0, description="largest weight of a token")


def check(settings: ObjectiveSettings, own: Settings) -> None:
    """ValueError if the weight would be 1 everywhere."""
    if own.correction != "none" and settings.old != "proximal":
        raise ValueError(f'tis.correction = "{own.correction}" is a weight old / behaviour; it needs old = "proximal"')


def correction(tokens: Tokens, own: Settings) -> torch.Tensor:
    """old / behaviour of each token [L], bounded by the cap; a constant. 1 for hinted rollouts and demonstrations."""
    weight_L = (tokens.old_L - tokens.behaviour_L).detach().exp()
    if own.correction == "clamp":
        return weight_L.clamp(max=own.cap)
    return weight_L.masked_fill(weight_L > own.cap, 0.0)
