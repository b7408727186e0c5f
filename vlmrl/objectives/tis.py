"""TIS ("Your Efficient RL Framework Secretly Brings You Off-Policy RL Training", Yao et al. 2025): engine mismatch.

The engine and the learner give the same token slightly different probabilities. The ratio is to the learner's own
policy, and each token weighs min(pi_learner / pi_engine, 2), both as the step begins. Otherwise DAPO's clip and mean.
`correction_level = "sequence"` has the product over the response, "geometric" its geometric mean.
"""

from __future__ import annotations

from typing import Any

PRESET: dict[str, Any] = {
    "baseline": "mean",
    "scale": "std",
    "old": "proximal",
    "correction": "clamp",
    "correction_cap": 2.0,
    "correction_level": "token",
    "loss": "grpo",
    "clip_low": 0.2,
    "clip_high": 0.28,
    "aggregation": "token",
}
