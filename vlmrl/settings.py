"""Settings: the sections of a run file, each a validated model with its defaults. `vlmrl.config` reads the files."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Section(BaseModel):
    """What all sections share: an unknown key is refused, a value never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


class LoraSettings(Section):
    """[model.lora]: adapters through peft; the section switches them on."""

    rank: int = Field(default=16, gt=0)
    alpha: int = Field(default=32, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: str = Field(
        default=r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)",
        description="regular expression over module names",
    )


class ModelSettings(Section):
    """[model]"""

    path: str = Field(default="tiny", description='folder or hub id of a Qwen-VL model; "tiny" is the embedded one')
    freeze_vision: bool = Field(default=False, description="keep the vision tower and its merger as they are")
    lora: LoraSettings | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    compute: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="autocast type; auto is float32 on CPU, bfloat16 on GPU. Weights stay float32"
    )
    gradient_checkpointing: bool = Field(default=False, description="recompute activations in the backward pass")
    min_pixels: int | None = Field(default=None, gt=0, description="of an image; unset keeps the processor's limit")
    max_pixels: int | None = Field(default=None, gt=0, description="of an image; unset keeps the processor's limit")
    video_fps: float = Field(default=2.0, gt=0)
    video_max_frames: int = Field(default=64, gt=1)
    video_max_pixels: int | None = Field(default=None, gt=0, description="of one frame")
    max_prompt_tokens: int = Field(
        default=8192, gt=0, description="a longer prompt is refused: cutting breaks its media"
    )


class Source(Section):
    """One entry of data.train or data.heldout: a file of samples, or a recipe that builds them."""

    path: str | None = None
    recipe: str | None = None
    n: int = Field(default=1000, gt=0, description="samples of each of the recipe's sources")
    sources: tuple[str, ...] | None = Field(default=None, description="of the recipe; all if unset")
    split: Literal["train", "heldout"] = "train"
    seed: int = 0
    difficulty: int = Field(default=1, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_one(self) -> Source:
        if (self.path is None) == (self.recipe is None):
            raise ValueError("needs either path or recipe")
        return self


class DataSettings(Section):
    """[data]: lists of files ("train.jsonl") or recipes ({recipe = "synthetic", n = 1000})."""

    train: tuple[Source, ...] = Field(min_length=1)
    heldout: tuple[Source, ...] = ()


class SamplerSettings(Section):
    """[sampler]: which prompts come next."""

    name: str = "uniform"


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


class RewardSettings(Section):
    """[reward]: where answers are judged, and schedules: these belong to the run, so that held-out scores keep
    one meaning."""

    workers: int | None = Field(
        default=None, ge=0, description="processes that judge; 0: the trainer itself; unset: one core is left over"
    )
    deadline: float = Field(default=5.0, gt=0, description="seconds for one response; then it is unscored")
    memory_mb: int = Field(default=1024, ge=64, description="for one response, above what a process holds")
    servers: tuple[str, ...] = Field(default=(), description="URLs of `vlmrl serve`: judge there instead")
    verifiers_path: str | None = Field(default=None, description="your own verifiers: a folder of files, or one")
    schedules: dict[str, dict[str, list[tuple[float, int | float]]]] = Field(
        default={},
        description="verifier -> parameter -> [[progress, value], ...]; in force after that share of the steps",
    )

    @field_validator("schedules")
    @classmethod
    def _is_sorted(cls, value: dict[str, Any]) -> dict[str, Any]:
        for verifier, parameters in value.items():
            for name, steps in parameters.items():
                progress = [p for p, _ in steps]
                if not steps or progress != sorted(progress) or not all(0 <= p <= 1 for p in progress):
                    raise ValueError(f"{verifier}.{name}: {steps} needs progress from 0 to 1, ascending")
        return value


class ObjectiveSettings(Section):
    """[objective]: GRPO, by default with DAPO's clip-higher and token-level mean."""

    clip_low: float = Field(default=0.2, ge=0, lt=1, description="ratio >= 1 - clip_low")
    clip_high: float = Field(default=0.28, ge=0, description="ratio <= 1 + clip_high")
    scale: Literal["std", "none"] = Field(default="std", description="divide advantages by the group's unbiased std")
    epsilon: float = Field(default=1e-6, gt=0, description="added to the std")
    aggregation: Literal["token", "sequence"] = Field(
        default="token", description="mean over all tokens of the update, or over rollouts of their token means"
    )
    kl_coef: float = Field(default=0.0, ge=0, description="weight of the k3 estimate of KL(policy || reference)")


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
    share_prompt: bool = Field(default=True, description="each prompt once for its group; false is the reference path")


class EvalSettings(Section):
    """[eval]: held-out evaluation, before, during and after."""

    every: int | None = Field(default=None, gt=0, description="steps; unset: before and after only")
    modes: tuple[Literal["sampled", "greedy"], ...] = ("sampled", "greedy")
    batch: int = Field(default=256, gt=0, description="prompts at one time")


class SftSettings(Section):
    """[sft]: the section switches a run from reinforcement to supervised learning of the demonstrations."""

    source_weights: dict[str, float] = Field(
        default={}, description="of a source's answers in the loss; 1 if not named"
    )
    patch_classes: int = Field(default=0, ge=0, description="number of classes in meta.objects; 0: no patch-level loss")
    patch_weight: float = Field(default=1.0, ge=0)
