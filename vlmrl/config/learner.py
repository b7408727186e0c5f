"""[learner] and [agreement]: the optimizer, the size of an update, and the check before it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vlmrl.config.section import Section

Decay = Annotated[float, Field(ge=0, lt=1)]


class LearnerSettings(Section):
    """[learner]"""

    learning_rate: float = Field(default=1e-6, gt=0, le=1, description="learning rate after the warm-up")
    warmup_steps: int = Field(default=5, ge=0, description="optimizer steps of linear warm-up")
    schedule: Literal["constant", "linear", "cosine"] = Field(
        default="constant", description="schedule of the learning rate after the warm-up"
    )
    schedule_updates: int | None = Field(
        default=None, gt=0, description="optimizer steps that the schedule spans; unset: those of the run"
    )
    betas: tuple[Decay, Decay] = Field(default=(0.9, 0.95), description="decay of AdamW's two moving averages")
    weight_decay: float = Field(default=0.0, ge=0, description="weight decay of AdamW")
    max_grad_norm: float = Field(
        default=1.0, gt=0, description="largest norm of a gradient; a larger one is scaled down to it"
    )
    updates_per_step: int = Field(default=1, gt=0, description="optimizer steps on each batch of rollouts")
    row_tokens: int = Field(
        default=8192, gt=0, description="tokens of a forward pass, at most; gradients accumulate over an update's rows"
    )
    memory_mb: float | None = Field(
        default=None,
        gt=0,
        description="2^20 bytes of an update's activations and gradients, at most; unset: only row_tokens limits it",
    )


class AgreementSettings(Section):
    """[agreement]: how far logprobs of engine and learner may be apart; docs/agreement.md has the thresholds."""

    tolerance: float = Field(
        default=1.0, gt=0, description="factor on the thresholds above which a run warns and stops"
    )
