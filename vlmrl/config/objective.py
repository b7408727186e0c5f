"""[objective]: the stages of a loss, and presets that expand to them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from vlmrl import catalog
from vlmrl.config.section import Section, with_plugins


@with_plugins("objectives")
class ObjectiveSettings(Section):
    """[objective]: the stages of the loss, in their order; by default GRPO with DAPO's clip-higher and token mean.

    A stage is named after the file in `vlmrl/objectives/` that has it. docs/objectives.md explains the conventions.
    """

    preset: str | None = Field(
        default=None, description="a published method (`vlmrl list objectives`); settings given beside it win"
    )

    # The group: advantages
    baseline: Literal["mean", "leave_one_out"] = Field(
        default="mean", description="baseline of a group: the mean of its scores, or of the other rollouts' scores"
    )
    scale: Literal["std", "biased_std", "none"] = Field(
        default="std",
        description="divisor of advantages: the group's std (squares over G - 1), biased_std (over G), or none",
    )
    epsilon: float = Field(default=1e-6, ge=1e-30, description="number added to the std")
    correct_at: float = Field(default=1.0, gt=0, le=1, description="score from which a rollout counts as correct")
    group_weight: str = Field(
        default="none", description="factor of a group by its pass rate: none, pcurl, observe_r1 or nft"
    )

    # Rollouts that the policy did not write, and those that are left out
    demonstrations: bool = Field(
        default=False, description="the last of a group's G responses is the sample's demonstration"
    )
    overlong_filter: bool = Field(default=False, description="no loss for rollouts cut at max_new_tokens")

    # Tokens: weights, masks
    token_weight: tuple[str, ...] = Field(
        default=(), description="factors of tokens, multiplied: hicra, duration_aware, rl_plus"
    )
    token_mask: str = Field(default="none", description="tokens with a policy loss: none (no mask) or high_entropy")

    # The loss of a token
    old: Literal["behaviour", "proximal"] = Field(
        default="behaviour", description="old policy of the ratio: the engine's, or the learner's as the step began"
    )
    loss: str = Field(default="grpo", description="loss of a token: grpo, gspo, cispo, sapo, nft or rl_plus")
    clip_low: float = Field(default=0.2, ge=0, le=1, description="lower clip: ratio >= 1 - clip_low; 1: no lower bound")
    clip_high: float = Field(default=0.28, ge=0, description="upper clip: ratio <= 1 + clip_high")
    upper_clip: Literal["one_plus", "absolute"] = Field(
        default="one_plus", description="meaning of clip_high; absolute: ratio <= clip_high itself"
    )
    dual_clip: float = Field(default=0.0, ge=0, description="upper bound of the loss where A < 0: -A dual_clip; 0: off")

    # The mean
    aggregation: Literal["token", "group", "sequence", "sequence_sum", "sum"] = Field(
        default="token",
        description="token: mean over tokens; group, sequence: over groups or rollouts, of their token means; "
        "sequence_sum: over rollouts, of their token sums; sum: over all tokens, without a mean",
    )
    length_divisor: float = Field(default=1.0, ge=1e-6, description="tokens by which sequence_sum and sum are divided")

    # What is added
    kl_coef: float = Field(default=0.0, ge=0, description="weight of KL(policy || reference)")
    kl: Literal["k1", "k2", "k3"] = Field(default="k3", description="estimator of the KL")
    kl_in: Literal["loss", "reward"] = Field(
        default="loss", description="where the KL is added; reward: -kl of a token is a reward of it"
    )
    entropy_coef: float = Field(default=0.0, ge=0, description="weight of a bonus for the policy's entropy")

    @model_validator(mode="before")
    @classmethod
    def _expand_preset(cls, value: Any) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("preset"), str):
            return value
        expanded = dict(value)
        for name, setting in catalog.load("objectives", value["preset"]).PRESET.items():
            beside = value.get(name, {})
            expanded[name] = {**setting, **beside} if isinstance(setting, dict) else value.get(name, setting)
        return expanded

    @field_validator("group_weight", "token_weight", "token_mask", "loss")
    @classmethod
    def _is_a_stage(cls, value: str | tuple[str, ...], info: ValidationInfo) -> str | tuple[str, ...]:
        assert info.field_name
        for name in (value,) if isinstance(value, str) else value:
            if name != "none" or info.field_name not in ("group_weight", "token_mask"):
                catalog.function("objectives", name, info.field_name)
        return value

    @model_validator(mode="after")
    def _agrees(self) -> ObjectiveSettings:
        if self.upper_clip == "absolute" and self.clip_high < 1:
            raise ValueError(
                f'clip_high = {self.clip_high} is below 1, but upper_clip = "absolute" bounds the ratio by it'
            )
        for name in catalog.names("objectives"):
            check = getattr(catalog.load("objectives", name), "check", None)
            if check is not None:
                check(self, self.own(name))
        return self
