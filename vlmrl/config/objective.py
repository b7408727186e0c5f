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
        default=None, description="a published method (`vlmrl list objectives`); a setting given beside it wins"
    )

    # The group: advantages
    baseline: Literal["mean", "leave_one_out"] = Field(default="mean", description="of the group's scores")
    scale: Literal["std", "biased_std", "none"] = Field(
        default="std", description="divide advantages by the group's std, its squares over G - 1, or over G if biased"
    )
    epsilon: float = Field(default=1e-6, gt=0, description="added to the std")
    correct_at: float = Field(default=1.0, gt=0, le=1, description="score from which a rollout counts as correct")
    group_weight: str = Field(default="none", description="none, pcurl, observe_r1 or nft: factor by pass rate")

    # Rollouts that the policy did not write, and those that are left out
    demonstrations: bool = Field(
        default=False, description="the last of a group's G responses is the sample's demonstration"
    )
    overlong_filter: bool = Field(default=False, description="no loss for rollouts cut at max_new_tokens")

    # Tokens: weights, masks
    token_weight: tuple[str, ...] = Field(default=(), description="hicra, duration_aware, rl_plus; multiplied")
    token_mask: str = Field(default="none", description="none or high_entropy: the tokens with a policy loss")

    # The loss of a token
    old: Literal["behaviour", "proximal"] = Field(
        default="behaviour", description="old policy of the ratio: the engine's, or the learner's as the step began"
    )
    loss: str = Field(default="grpo", description="grpo, gspo, cispo, sapo, nft or rl_plus")
    clip_low: float = Field(default=0.2, ge=0, le=1, description="ratio >= 1 - clip_low; 1: no lower bound")
    clip_high: float = Field(default=0.28, ge=0, description="ratio <= 1 + clip_high")
    upper_clip: Literal["one_plus", "absolute"] = Field(
        default="one_plus", description="absolute: ratio <= clip_high itself"
    )
    dual_clip: float = Field(default=0.0, ge=0, description="loss <= -A dual_clip where A < 0; 0: off")

    # The mean
    aggregation: Literal["token", "group", "sequence", "sequence_sum", "sum"] = Field(
        default="token",
        description="mean over tokens, over groups of their token means, over rollouts of their token means, over "
        "rollouts of their token sums; sum",
    )
    length_divisor: float = Field(default=1.0, gt=0, description="of the two sums, in tokens")

    # What is added
    kl_coef: float = Field(default=0.0, ge=0, description="weight of KL(policy || reference)")
    kl: Literal["k1", "k2", "k3"] = Field(default="k3", description="the estimate of the KL")
    kl_in: Literal["loss", "reward"] = Field(default="loss", description="reward: -kl of a token is its reward")
    entropy_coef: float = Field(default=0.0, ge=0, description="weight of the policy's entropy, a bonus")

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
