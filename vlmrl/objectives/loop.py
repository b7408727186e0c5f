"""LOOP (arXiv 2502.01600): leave-one-out baseline, PPO's clip, no std and no KL.

A_i = R_i - mean of the other rollouts' scores = G / (G - 1) (R_i - mean); rollouts with |A| < 0.01 are left out; the
ratio of a token is clipped to [1 / 1.1, 1.1]; mean over rollouts of token means. The paper makes two passes over each
batch (`learner.updates_per_step` parts it instead). RLOO (arXiv 2402.14740) has the same advantages.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from vlmrl.config.section import Section

PRESET: dict[str, Any] = {
    "baseline": "leave_one_out",
    "scale": "none",
    "loop": {"min_advantage": 0.01},
    "loss": "grpo",
    "clip_low": 1 - 1 / 1.1,
    "clip_high": 0.1,
    "aggregation": "sequence",
}


class Settings(Section):
    """[objective.loop]: which rollouts take part."""

    min_advantage: float = Field(
        default=0.0, ge=0, description="smallest absolute advantage; rollouts below it have no loss"
    )


def takes_part(advantage: float, own: Settings) -> bool:
    """Whether a rollout of that advantage has a loss."""
    return abs(advantage) >= own.min_advantage
