"""Observe-R1 (arXiv 2505.12432): advantages weighted by 4 sigma d (1 - d), most where half of the group is right.

d is the group's pass rate, sigma 1.8. A = (R - mean) / (std + 1e-9). The KL is the k1 estimate with coefficient 0.01
and part of each token's reward, as in its OpenRLHF base: from the weighted advantage of a token goes the sum of the KL
from it on, unweighted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from vlmrl.config.section import Section

if TYPE_CHECKING:
    from vlmrl.config.objective import ObjectiveSettings

PRESET: dict[str, Any] = {
    "baseline": "mean",
    "scale": "std",
    "epsilon": 1e-9,
    "group_weight": "observe_r1",
    "loss": "grpo",
    "clip_low": 0.2,
    "clip_high": 0.2,
    "aggregation": "sequence",
    "kl_coef": 0.01,
    "kl": "k1",
    "kl_in": "reward",
}


class Settings(Section):
    """[objective.observe_r1]: the weight of a group."""

    sigma: float = Field(default=1.8, gt=0, description="weight of a group with a pass rate of one half")


def group_weight(pass_rate: float, progress: float, settings: ObjectiveSettings, own: Settings) -> float:
    """4 sigma d (1 - d)."""
    return 4 * own.sigma * pass_rate * (1 - pass_rate)
