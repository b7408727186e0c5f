"""PCuRL (VL-Cogito, arXiv 2507.22607): online difficulty soft weighting, by stage.

The advantages of a group are multiplied by a function of its pass rate p, with S(p) = sin(pi p):

    stage    p = 0   0 < p <= 1/2   1/2 < p
    easy     0       S(p)           1
    medium   0       S(p)           S(p)
    hard     0.25    1              S(p)

The stages follow one another over the same data, here in thirds of the run (`pcurl_until`): each ends once that share
of the steps is done, for the objective and the sampler `pcurl_stages` alike. The hard stage's weight at p = 0 acts
where the scores of wrong answers differ, as with the paper's length reward, which that stage adds (the verifier
`length`). GRPO's loss with mean over tokens, and a KL of 0.001.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from vlmrl.config.objective import ObjectiveSettings

STAGES = ("easy", "medium", "hard")
ALL_WRONG = 0.25

PRESET: dict[str, Any] = {
    "baseline": "mean",
    "scale": "std",
    "group_weight": "pcurl",
    "pcurl_until": [1 / 3, 2 / 3],
    "pcurl_all_wrong": ALL_WRONG,
    "loss": "grpo",
    "clip_low": 0.2,
    "clip_high": 0.2,
    "aggregation": "token",
    "kl_coef": 0.001,
    "kl": "k3",
}


def stage_weight(rate: np.ndarray, stage: str, all_wrong: float = ALL_WRONG) -> np.ndarray:
    """The weight of pass rates in a stage, in [0, 1]."""
    soft = np.sin(np.pi * rate)
    if stage == "easy":
        return np.where(rate > 0.5, 1.0, soft)
    if stage == "medium":
        return soft
    return np.where(rate > 0.5, soft, np.where(rate == 0, all_wrong, 1.0))


def stage_at(done: float, until: Sequence[float]) -> int:
    """The number of the stage once the share `done` of a run's steps is done. `until`: where easy and medium end."""
    return sum(done >= end for end in until[:2])


def group_weight(pass_rate: float, settings: ObjectiveSettings, progress: float) -> float:
    """The weight at that pass rate in the stage of a run of which the share `progress` is done."""
    stage = STAGES[stage_at(progress, settings.pcurl_until)]
    return float(stage_weight(np.array(pass_rate), stage, settings.pcurl_all_wrong))
