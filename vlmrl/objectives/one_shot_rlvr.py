"""1-shot RLVR (arXiv 2504.20571): GRPO with an entropy bonus, which alone improves a policy that has one example.

loss = GRPO + 0.001 k3 - 0.001 H, mean over tokens, clip 0.2. Which example: that of the largest variance of its
accuracy over an earlier run, a sampler's matter.
"""

from __future__ import annotations

from typing import Any

PRESET: dict[str, Any] = {
    "baseline": "mean",
    "scale": "std",
    "loss": "grpo",
    "clip_low": 0.2,
    "clip_high": 0.2,
    "aggregation": "token",
    "kl_coef": 0.001,
    "kl": "k3",
    "entropy_coef": 0.001,
}
