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
    folder: str = Field(default="runs", description="where run folders are made")
    seed: int = Field(default=0, ge=0, lt=2**31, description="of every random draw of the run")
    steps: int = Field(gt=0, description="rollout-and-update rounds")
    max_minutes: float | None = Field(
        default=None, gt=0, description="training ends after the step that exceeds this; unset: no limit"
    )
    checkpoint_every: int = Field(default=50, gt=0, description="steps between checkpoints; the last step has one too")
    keep_checkpoints: int = Field(default=2, gt=0, description="the newest ones; older ones are deleted")
    sinks: tuple[Literal["jsonl", "tensorboard", "console"], ...] = Field(
        default=("jsonl", "tensorboard", "console"), description="where metrics go"
    )


class EvalSettings(Section):
    """[eval]: held-out evaluation, before, during and after."""

    every: int | None = Field(default=None, gt=0, description="steps between evaluations; unset: before and after only")
    modes: tuple[Mode, ...] = Field(
        default=("sampled", "greedy"), description="how prompts are answered: at the run's temperature, or greedily"
    )
