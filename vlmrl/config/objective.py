"""Settings of [objective]: the stages of a loss, and presets that expand to them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from vlmrl import catalog
from vlmrl.config.section import Section

Share = Annotated[float, Field(ge=0, le=1)]


class ObjectiveSettings(Section):
    """[objective]: the stages of the loss, in their order; by default GRPO with DAPO's clip-higher and token mean.

    A stage is named after the file in `vlmrl/objectives/` that has it. docs/objectives.md explains the conventions.
    """

    preset: str | None = Field(
        default=None, description="a published method (`vlmrl list objectives`); a setting given beside it wins"
    )

    # The group: advantages
    baseline: Literal["mean", "leave_one_out"] = Field(default="mean", description="of the group's scores")
    scale: Literal["std", "none"] = Field(default="std", description="divide advantages by the group's std")
    unbiased_std: bool = Field(default=True, description="divide its squares by G - 1; false: by G")
    epsilon: float = Field(default=1e-6, gt=0, description="added to the std")
    correct_at: float = Field(default=1.0, gt=0, le=1, description="score from which a rollout counts as correct")
    group_weight: str = Field(default="none", description="none, pcurl, observe_r1 or nft: factor by pass rate")
    pcurl_until: tuple[Share, Share] = Field(
        default=(1 / 3, 2 / 3),
        description="share of the steps after which easy and medium end; [0, 1]: medium alone",
    )
    pcurl_all_wrong: float = Field(default=0.25, ge=0, description="weight of a group without a correct rollout, hard")
    observe_sigma: float = Field(default=1.8, gt=0, description="weight at a pass rate of one half")
    nft_weight: Literal["one", "fail_rate", "odds"] = Field(
        default="fail_rate", description="1, 1 - p or sqrt((1 - p) / p) at pass rate p"
    )

    # Rollouts that the policy did not write, and those that are left out
    demonstrations: bool = Field(
        default=False, description="the last of a group's G responses is the sample's demonstration"
    )
    overlong_filter: bool = Field(default=False, description="no loss for rollouts cut at max_new_tokens")
    min_advantage: float = Field(default=0.0, ge=0, description="no loss for rollouts below it in absolute value")

    # Tokens: credit, weights, masks
    macro: Literal["none", "ngram", "random", "perplexity"] = Field(
        default="none", description="macro actions, over which gae_lambda discounts; none: tokens"
    )
    macro_length: int = Field(default=5, gt=0, description="tokens of an n-gram macro action")
    gae_lambda: float = Field(default=1.0, ge=0, le=1, description="factor of the advantage for each later action")
    token_weight: tuple[str, ...] = Field(default=(), description="hicra, duration_aware, rl_plus; multiplied")
    hicra_alpha: float = Field(default=0.2, ge=0, description="planning tokens: A + alpha |A|")
    planning_ngrams: str | None = Field(default=None, description="text file of planning n-grams, one a line")
    exploration_power: float = Field(default=0.5, ge=0, description="demo tokens: (1 - pi) to this power")
    token_mask: str = Field(default="none", description="none or high_entropy")
    top_entropy: float = Field(default=0.2, gt=0, le=1, description="share of tokens that high_entropy keeps")
    entropy_scope: Literal["update", "group"] = Field(default="update", description="the tokens it is a share of")

    # The loss of a token
    old: Literal["behaviour", "proximal"] = Field(
        default="behaviour", description="old policy of the ratio: the engine's, or the learner's as the step began"
    )
    correction: Literal["none", "clamp", "mask"] = Field(
        default="none", description="weight proximal / behaviour; above the cap it is the cap (clamp) or 0 (mask)"
    )
    correction_cap: float = Field(default=2.0, gt=0)
    correction_level: Literal["token", "sequence", "geometric"] = Field(
        default="token", description="ratio of a token, product over the response, geometric mean over it"
    )
    loss: str = Field(default="grpo", description="grpo, gspo, cispo, sapo, nft or rl_plus")
    clip_low: float = Field(default=0.2, ge=0, le=1, description="ratio >= 1 - clip_low; 1: no lower bound")
    clip_high: float = Field(default=0.28, ge=0, description="ratio <= 1 + clip_high")
    upper_clip: Literal["one_plus", "absolute"] = Field(
        default="one_plus", description="absolute: ratio <= clip_high itself"
    )
    dual_clip: float = Field(default=0.0, ge=0, description="loss <= -A dual_clip where A < 0; 0: off")
    sapo_temperature_positive: float = Field(default=1.0, gt=0, description="where A > 0")
    sapo_temperature_negative: float = Field(default=1.05, gt=0, description="where A <= 0")
    nft_negative: float = Field(default=1.0, ge=0, description="weight of NFT's loss of wrong rollouts")
    hint_loss: str = Field(default="guide", description="guide: of rollouts that saw a hint")
    hint_quantile: float = Field(default=0.9, ge=0, le=1, description="of the hinted ratios: gamma in r / (r + gamma)")
    demo_loss: str = Field(default="rl_plus", description="rl_plus: of demonstrations")

    # The mean
    aggregation: Literal["token", "sequence", "sequence_sum", "sum"] = Field(
        default="token",
        description="mean over tokens, over rollouts of their token means, over rollouts of their token sums; sum",
    )
    length_divisor: float = Field(default=1.0, gt=0, description="of the two sums, in tokens")
    denominator: Literal["kept", "trained"] = Field(
        default="kept", description="tokens in it: with a policy loss, or also those that token_mask silences"
    )
    denominator_scope: Literal["update", "group"] = Field(
        default="update", description="group: the mean over groups of their means"
    )

    # What is added
    kl_coef: float = Field(default=0.0, ge=0, description="weight of KL(policy || reference)")
    kl: Literal["k1", "k2", "k3"] = Field(default="k3", description="its estimate")
    kl_in: Literal["loss", "reward"] = Field(default="loss", description="reward: -kl of a token is its reward")
    kl_schedule: Literal["constant", "cosine"] = Field(default="constant", description="cosine: to 0 over the run")
    entropy_coef: float = Field(default=0.0, ge=0, description="weight of the policy's entropy, a bonus")

    @model_validator(mode="before")
    @classmethod
    def _expand_preset(cls, value: Any) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("preset"), str):
            return value
        return {**catalog.load("objectives", value["preset"]).PRESET, **value}

    @field_validator("group_weight", "token_weight", "token_mask", "loss", "hint_loss", "demo_loss")
    @classmethod
    def _is_a_stage(cls, value: str | tuple[str, ...], info: ValidationInfo) -> str | tuple[str, ...]:
        assert info.field_name
        for name in (value,) if isinstance(value, str) else value:
            if name != "none" or info.field_name not in ("group_weight", "token_mask"):
                catalog.function("objectives", name, info.field_name)
        return value

    @field_validator("planning_ngrams")
    @classmethod
    def _is_a_file(cls, value: str | None) -> str | None:
        if value is not None and not Path(value).is_file():
            raise ValueError(f"{value!r} is no file; name a text file with one n-gram a line")
        return value

    @model_validator(mode="after")
    def _agrees(self) -> ObjectiveSettings:
        if self.correction != "none" and self.old != "proximal":
            raise ValueError(f'correction = "{self.correction}" weighs old / behaviour; it needs old = "proximal"')
        if self.upper_clip == "absolute" and self.clip_high < 1:
            raise ValueError(
                f'clip_high = {self.clip_high} is below 1, but upper_clip = "absolute" bounds the ratio by it'
            )
        if self.pcurl_until[0] > self.pcurl_until[1]:
            raise ValueError(f"pcurl_until = {list(self.pcurl_until)} descends; easy ends before medium does")
        if "hicra" in self.token_weight and self.planning_ngrams is None:
            raise ValueError('token_weight "hicra" needs planning_ngrams, a text file with one n-gram a line')
        return self
