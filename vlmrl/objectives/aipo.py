"""AIPO (LlamaRL, arXiv 2505.24034): importance weights to the engine's policy, truncated from above alone.

The gradient is sum_t min(pi / mu, rho) A grad log pi, mu the policy of the engine, A = R - mean, rho from 2 to 10: it
is CISPO's loss without a lower bound. Some code has -min(pi / mu, rho) A as the loss itself, whose gradient
vanishes above rho; this one keeps it. The normalisation is not published: mean over tokens.
"""

from __future__ import annotations

from typing import Any

PRESET: dict[str, Any] = {
    "baseline": "mean",
    "scale": "none",
    "old": "behaviour",
    "loss": "cispo",
    "clip_low": 1.0,
    "clip_high": 5.0,
    "upper_clip": "absolute",
    "aggregation": "token",
}
