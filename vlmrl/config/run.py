"""[run] and [eval]: how long a run lasts, what it keeps, when it is evaluated."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vlmrl.config.section import Section

Mode = Literal["sampled", "greedy"]
"""How held-out prompts are answered: at the run's temperature, or greedily."""


class RunSettings(Section):
    """[run]: what it is called, how long it lasts, what it keeps."""

    name: str = Field(
        min_length=1, pattern=r"^[\w\-][\w.\-]*$", description="name of the run, and of its folder inside `folder`"
    )
    folder: str = Field(default="runs", description="folder in which run folders are created")
    seed: int = Field(default=0, ge=0, lt=2**31, description="seed of every random draw of the run")
    steps: int = Field(gt=0, description="steps of the run; each is a rollout and an update")
    max_minutes: float | None = Field(
        default=None,
        gt=0,
        description="minutes after which training ends, with the step then under way; unset: no limit",
    )
    checkpoint_every: int = Field(default=50, gt=0, description="steps between checkpoints; the last step has one too")
    keep_checkpoints: int = Field(
        default=2, gt=0, description="number of the newest checkpoints that are kept; older ones are deleted"
    )
    sinks: tuple[Literal["jsonl", "tensorboard", "console"], ...] = Field(
        default=("jsonl", "tensorboard", "console"), description="where metrics are written"
    )


class EvalSettings(Section):
    """[eval]: held-out evaluation, before, during and after."""

    every: int | None = Field(
        default=None, gt=0, description="steps between evaluations; unset: only before and after training"
    )
    modes: tuple[Mode, ...] = Field(
        default=("sampled", "greedy"), description="how prompts are answered: at the run's temperature, or greedily"
    )
