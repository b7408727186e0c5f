"""[rollout]: how answers are sampled."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from vlmrl import catalog
from vlmrl.config.section import Section


class HfSettings(Section):
    """[rollout.hf]"""

    batch_responses: int = Field(default=512, gt=0, description="responses decoded at one time")


class VllmSettings(Section):
    """[rollout.vllm]"""

    max_model_len: int = Field(default=4096, gt=0, description="tokens of prompt and response together")
    gpu_memory_utilization: float = Field(
        default=0.4, gt=0, le=1, description="share of the GPU; the learner needs the rest"
    )
    cpu_kv_cache_gb: float = Field(default=1.0, gt=0, description="KV cache where there is no GPU")
    tensor_parallel_size: int = Field(default=1, gt=0)


class ReplaySettings(Section):
    """[rollout.replay]"""

    path: str | None = Field(default=None, description="JSONL of {id, responses}: the canned answers")


class ForceAnswerSettings(Section):
    """[rollout.force_answer]"""

    cue: str = Field(default="</think><answer>", min_length=1, description="what a response without an answer gets")
    max_new_tokens: int = Field(default=64, gt=0, description="of the policy after the cue")


Hint = Annotated[str, Field(pattern=r"\{hint\}", description="added to the last turn of the user, with the hint")]


class GhpoSettings(Section):
    """[rollout.ghpo]: parts of `meta.solution` for prompts that are never answered right."""

    shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        default=(0.25, 0.5, 0.75), min_length=1, description="of the solution's characters, one after the other"
    )
    start_step: int = Field(default=0, ge=0, description="the first step with hints")
    wrong_at: float = Field(default=0.0, ge=0, lt=1, description="a score of at most this is wrong")
    template: Hint = "\n\nThe solution begins as follows. Go on from there:\n{hint}"


class GuideSettings(Section):
    """[rollout.guide]: `meta.hint` for prompts that are never answered right."""

    low: float = Field(default=0.001, ge=0, lt=1, description="a group with a mean score of at most this gets the hint")
    high: float = Field(default=0.999, gt=0, le=1, description="a hinted group with a mean score from this is dropped")
    template: Hint = "\n\nHint: {hint}"


class RolloutSettings(Section):
    """[rollout]: how answers are sampled."""

    engine: str = Field(default="hf", description="hf, vllm or replay")
    prompts: int = Field(default=32, gt=0, description="a step")
    group: int = Field(default=8, gt=1, description="responses to each prompt (G)")
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_new_tokens: int = Field(default=512, gt=0)
    hf: HfSettings = HfSettings()
    vllm: VllmSettings = VllmSettings()
    replay: ReplaySettings = ReplaySettings()
    hooks: tuple[str, ...] = Field(default=(), description="what becomes of answers, in this order: `vlmrl list hooks`")
    force_answer: ForceAnswerSettings = ForceAnswerSettings()
    ghpo: GhpoSettings = GhpoSettings()
    guide: GuideSettings = GuideSettings()

    @field_validator("hooks")
    @classmethod
    def _are_hooks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            catalog.function("hooks", name, "decide", "wrap")
        return value
