"""PCuRL (VL-Cogito, arXiv 2507.22607): online difficulty soft weighting, by stage.

The advantages of a group are multiplied by a function of its pass rate p, with S(p) = sin(pi p):

    easy:    S(p) up to 1/2, then 1        medium:  S(p)        hard:  1 up to 1/2, then S(p); 1/4 at p = 0

At p = 0 easy has 0. The three stages train on the same data one after the other (`pcurl_stage`). The hard stage's
weight at p = 0 acts where the scores of wrong answers differ, as with the paper's length reward. GRPO's loss with mean
over tokens, and a KL of 0.001.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmrl.objective_settings import ObjectiveSettings

PRESET: dict[str, Any] = {
    "baseline": "mean",
    "scale": "std",
    "group_weight": "pcurl",
    "pcurl_stage": "easy",
    "pcurl_all_wrong": 0.25,
    "loss": "grpo",
    "clip_low": 0.2,
    "clip_high": 0.2,
    "aggregation": "token",
    "kl_coef": 0.001,
    "kl": "k3",
}


def group_weight(pass_rate: float, settings: ObjectiveSettings) -> float:
    """The weight of the stage at that pass rate."""
    soft = math.sin(math.pi * pass_rate)
    if pass_rate == 0:
        return settings.pcurl_all_wrong if settings.pcurl_stage == "hard" else 0.0
    if settings.pcurl_stage == "easy":
        return soft if pass_rate <= 0.5 else 1.0
    if settings.pcurl_stage == "medium":
        return soft
    return 1.0 if pass_rate <= 0.5 else soft
