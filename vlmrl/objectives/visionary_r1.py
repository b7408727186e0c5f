"""Visionary-R1 (arXiv 2505.14677): GRPO whose KL coefficient falls along a cosine, from 0.04 to 0.

beta(e) = beta / 2 (1 + cos(pi e)), e the share of the run that is done. Advantages have epsilon 1e-4, as in TRL.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field

from vlmrl.config.section import Section

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
    "visionary_r1": {"kl_schedule": "cosine"},
}


class Settings(Section):
    """[objective.visionary_r1]: the KL coefficient over the run."""

    kl_schedule: Literal["constant", "cosine"] = Field(
        default="constant", description="schedule of kl_coef; cosine: it falls to 0 over the run"
    )


def coefficient(kl_coef: float, progress: float, own: Settings) -> float:
    """The KL coefficient once the share `progress` of the run is done."""
    return kl_coef / 2 * (1 + math.cos(math.pi * progress)) if own.kl_schedule == "cosine" else kl_coef
