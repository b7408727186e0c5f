"""Visionary-R1 (arXiv 2505.14677): GRPO whose KL coefficient falls along a cosine, from 0.04 to 0.

beta(e) = beta / 2 (1 + cos(pi e)), e the share of the run that is done. Advantages have epsilon 1e-4, as in TRL.
"""

from __future__ import annotations

from typing import Any

PRESET: dict[str, Any] = {
    "baseline": "mean",
    "scale": "std",
    "epsilon": 1e-4,
    "loss": "grpo",
    "clip_low": 0.2,
    "clip_high": 0.2,
    "aggregation": "sequence",
    "kl_coef": 0.04,
    "kl": "k3",
    "kl_schedule": "cosine",
}
