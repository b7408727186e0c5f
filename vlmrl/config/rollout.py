"""[rollout]: how answers are sampled."""

from __future__ import annotations

from pydantic import Field, field_validator

from vlmrl import catalog
from vlmrl.config.section import Section, with_plugins


class HfSettings(Section):
    """[rollout.hf]"""

    batch_responses: int = Field(default=512, gt=0, description="responses decoded at one time")


class VllmSettings(Section):
    """[rollout.vllm]"""

    max_model_len: int = Field(default=4096, gt=0, description="tokens of prompt and response together")
    gpu_memory_utilization: float = Field(
        default=0.4, gt=0, le=1, description="share of the GPU's memory for vLLM; the learner needs the rest"
    )


class ReplaySettings(Section):
    """[rollout.replay]"""

    path: str | None = Field(default=None, description="JSONL file of recorded answers, rows {id, responses}")


@with_plugins("hooks")
class RolloutSettings(Section):
    """[rollout]: how answers are sampled."""

    engine: str = Field(default="hf", description="engine that answers prompts: hf, vllm or replay")
    prompts: int = Field(default=32, gt=0, le=65536, description="prompts of a step")
    group: int = Field(default=8, gt=1, le=4096, description="responses to each prompt (G)")
    temperature: float = Field(default=1.0, ge=0.001, le=1000, description="temperature of the sampling distribution")
    top_p: float = Field(default=1.0, gt=0, le=1, description="nucleus sampling; 1: the whole distribution")
    max_new_tokens: int = Field(default=512, gt=0, description="tokens of a response, at most")
    hf: HfSettings = HfSettings()
    vllm: VllmSettings = VllmSettings()
    replay: ReplaySettings = ReplaySettings()
    hooks: tuple[str, ...] = Field(
        default=(), description="hooks that are applied to answers, in this order: `vlmrl list hooks`"
    )

    @field_validator("hooks")
    @classmethod
    def _are_hooks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            catalog.function("hooks", name, "decide", "wrap")
        return value
