"""Decoupled PPO (AReaL, arXiv 2505.24298): the clip is centred on the learner's own policy, not on the stale engine's.

Eq. 5: loss = - (pi_prox / pi_behaviour) min(u A, clip(u, 1 - 0.2, 1 + 0.2) A),  u = pi / pi_prox, where pi_prox is the
learner's policy as the step begins. The weight of a token is bounded by 5 and leaves the denominator as it is.
"""

from __future__ import annotations

from typing import Any

PRESET: dict[str, Any] = {
    "baseline": "mean",
    "scale": "std",
    "old": "proximal",
    "correction": "clamp",
    "correction_cap": 5.0,
    "correction_level": "token",
    "loss": "grpo",
    "clip_low": 0.2,
    "clip_high": 0.2,
    "aggregation": "token",
}
