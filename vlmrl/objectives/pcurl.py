"""PCuRL (VL-Cogito, arXiv 2507.22607): online difficulty soft weighting, by stage.

The advantages of a group are multiplied by a function of its pass rate p, with S(p) = sin(pi p):

    stage    p = 0   0 < p <= 1/2   1/2 < p
    easy     0       S(p)           1
    medium   0       S(p)           S(p)
    hard     0.25    1              S(p)

The stages follow one another over the same data, here in thirds of the run (`until`): each ends once that share of
the steps is done, for the objective and the sampler `pcurl_stages` alike. The hard stage's weight at p = 0 acts
where the scores of wrong answers differ, as with the paper's length reward, which that stage adds (the verifier
`length`). GRPO's loss with mean over tokens, and a KL of 0.001.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, field_validator

from vlmrl.config.section import Section

if TYPE_CHECKING:
    from vlmrl.config.objective import ObjectiveSettings

STAGES = ("easy", "medium", "hard")
ALL_WRONG = 0.25

PRESET: dict[str, Any] = {
    "baseline": "mean",
    "scale": "std",
    "group_weight": "pcurl",
    "loss": "grpo",
    "clip_low": 0.2,
    "clip_high": 0.2,
    "aggregation": "token",
    "kl_coef": 0.001,
    "kl": "k3",
}


Share = Annotated[float, Field(ge=0, le=1)]


class Settings(Section):
    """[objective.pcurl]: the stages of the run."""

    until: tuple[Share, Share] = Field(
        default=(1 / 3, 2 / 3),
        description="shares of the steps at which the easy and medium stage end; [0, 1]: medium alone",
    )
    all_wrong: float = Field(
        default=ALL_WRONG, ge=0, description="weight of a group without a correct rollout in the hard stage"
    )

    @field_validator("until")
    @classmethod
    def _ascends(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError(f"{list(value)} descends; easy ends before medium does")
        return value


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


def group_weight(pass_rate: float, progress: float, settings: ObjectiveSettings, own: Settings) -> float:
    """The weight at that pass rate in the stage of a run of which the share `progress` is done."""
    stage = STAGES[stage_at(progress, own.until)]
    return float(stage_weight(np.array(pass_rate), stage, own.all_wrong))
