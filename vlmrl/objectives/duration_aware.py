"""Duration-aware gradients (RL for machine learning engineering agents, arXiv 2509.01684): long actions count more.

The gradient is sum_k dt_k grad log pi(a_k) A_k, dt_k the duration of action k over the mean of the batch, because fast
actions finish more often and would be over-represented. Here an action is a response and its duration the tokens it
took to write. GRPO otherwise; the paper itself has PPO with a critic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from vlmrl.config.objective import ObjectiveSettings
    from vlmrl.objectives import Tokens

PRESET: dict[str, Any] = {
    "baseline": "mean",
    "scale": "std",
    "token_weight": ["duration_aware"],
    "loss": "grpo",
    "clip_low": 0.2,
    "clip_high": 0.2,
    "aggregation": "sequence",
}


def token_weight(tokens: Tokens, settings: ObjectiveSettings, own: None) -> torch.Tensor:
    """The duration of the token's response over the mean duration in the update."""
    return tokens.spread([r.relative_duration for r in tokens.responses])
