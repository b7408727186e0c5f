"""[learner] and [agreement]: the optimizer, the size of an update, and the check before it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vlmrl.config.section import Section


class LearnerSettings(Section):
    """[learner]"""

    learning_rate: float = Field(default=1e-6, gt=0)
    warmup_steps: int = Field(default=5, ge=0, description="optimizer steps of linear warm-up")
    schedule: Literal["constant", "linear", "cosine"] = Field(default="constant", description="after the warm-up")
    schedule_updates: int | None = Field(
        default=None, gt=0, description="optimizer steps the schedule spans; unset: those of the run"
    )
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    updates_per_step: int = Field(default=1, gt=0, description="optimizer steps on each batch of rollouts")
    row_tokens: int = Field(
        default=8192, gt=0, description="of a forward pass; gradients accumulate over an update's rows"
    )
    memory_mb: float | None = Field(
        default=None, gt=0, description="bound on an update's activations and gradients; unset: row_tokens alone bounds"
    )
    share_prompt: bool = Field(default=True, description="each prompt once for its group; false is the reference path")


class AgreementSettings(Section):
    """[agreement]: how far logprobs of engine and learner may be apart; unset values depend on `model.compute`.

    Judged over the tokens of each modality, source and sample, before the first optimizer step of every step.
    """

    warn: float | None = Field(
        default=None, gt=0, description="mean |difference|; unset: 1e-4 in float32, 0.03 in bfloat16"
    )
    warn_kl: float | None = Field(
        default=None, gt=0, description="KL(engine || learner); unset: 1e-6 in float32, 2e-3 in bfloat16"
    )
    stop: float | None = Field(default=None, gt=0, description="unset: 1e-3 in float32, 0.1 in bfloat16")
    stop_kl: float | None = Field(default=None, gt=0, description="unset: 1e-5 in float32, 0.02 in bfloat16")
