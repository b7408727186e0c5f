"""[run] and [eval]: how long a run lasts, what it keeps, when it is evaluated."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vlmrl.config.section import Section

Mode = Literal["sampled", "greedy"]
"""How held-out prompts are answered: at the run's temperature, or greedily."""


class RunSettings(Section):
    """[run]: what it is called, how long it lasts, what it keeps."""

    name: str = Field(min_length=1, pattern=r"^[\w.\-]+$", description="the run's folder inside `folder`")
    folder: str = "runs"
    seed: int = Field(default=0, ge=0, lt=2**31)
    steps: int = Field(gt=0, description="rollout-and-update rounds")
    max_minutes: float | None = Field(
        default=None, gt=0, description="end the training after the step that exceeds this"
    )
    checkpoint_every: int = Field(default=50, gt=0, description="steps; the last step is always kept")
    keep_checkpoints: int = Field(default=2, gt=0)
    export: Literal["float32", "bfloat16"] = Field(default="bfloat16", description="type of the final model/ folder")
    rollouts_mb: float = Field(
        default=512.0, gt=0, description="bound on the stored rollouts; the oldest steps go first"
    )
    sinks: tuple[Literal["jsonl", "tensorboard", "console"], ...] = ("jsonl", "tensorboard", "console")


class EvalSettings(Section):
    """[eval]: held-out evaluation, before, during and after."""

    every: int | None = Field(default=None, gt=0, description="steps; unset: before and after only")
    modes: tuple[Mode, ...] = ("sampled", "greedy")
    batch: int = Field(default=256, gt=0, description="prompts at one time")
