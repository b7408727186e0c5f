"""Settings: the sections of a run file, each a validated model with its defaults. `vlmrl.config.run_file` reads the files."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from vlmrl.rollout import hook


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
    dropout: float = Field(default=0.0, ge=0, lt=1, description="of the cold start; engines sample without it")
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
    vision_cache_mb: float = Field(
        default=1024.0, ge=0, description="memory for embeddings of images and videos that are computed once; 0: none"
    )
    vision_cache_folder: str | None = Field(default=None, description="keep embeddings of a frozen tower on disk too")
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
    seed: int = Field(default=0, ge=0)
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
            hook.load(name, "decide", "wrap")
        return value


class MatchedSchedule(Section):
    """A value that follows the policy: what a share of a source's latest answers reach."""

    part: str = Field(description="of the verifier's verdicts, such as the iou of dynamic_iou")
    reached_by: float = Field(default=0.5, gt=0, lt=1, description="share of the latest answers, by source")
    least: float = Field(default=0.0, description="the value is never below, and this until there are answers")
    most: float = Field(default=1.0, description="the value is never above")

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least = {self.least:g} is above most = {self.most:g}")
        return self


def _form(schedule: Any) -> str:
    return "matched" if isinstance(schedule, dict | MatchedSchedule) else "steps"


Schedule = Annotated[
    Annotated[list[tuple[float, float]], Tag("steps")] | Annotated[MatchedSchedule, Tag("matched")],
    Discriminator(_form),
]
"""[[progress, value], ...], or matched to the policy's success."""


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
    schedules: dict[str, dict[str, Schedule]] = Field(
        default={},
        description="verifier -> parameter -> [[progress, value], ...], each in force after that share of the steps; "
        "or { part, reached_by, least, most }, matched to what the policy's answers reach",
    )

    @field_validator("schedules")
    @classmethod
    def _is_sorted(cls, value: dict[str, Any]) -> dict[str, Any]:
        for verifier, parameters in value.items():
            for name, steps in parameters.items():
                if isinstance(steps, MatchedSchedule):
                    continue
                progress = [p for p, _ in steps]
                if not steps or progress != sorted(progress) or not all(0 <= p <= 1 for p in progress):
                    raise ValueError(f"{verifier}.{name}: {steps} needs progress from 0 to 1, ascending")
        return value


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


class EvalSettings(Section):
    """[eval]: held-out evaluation, before, during and after."""

    every: int | None = Field(default=None, gt=0, description="steps; unset: before and after only")
    modes: tuple[Literal["sampled", "greedy"], ...] = ("sampled", "greedy")
    batch: int = Field(default=256, gt=0, description="prompts at one time")


class TransformSettings(Section):
    """One entry of sft.transforms."""

    name: str = Field(description="thought_dropout")
    p: float = Field(default=0.5, ge=0, le=1, description="chance of a demonstration, each time that it is learnt")

    @field_validator("name")
    @classmethod
    def _is_a_transform(cls, value: str) -> str:
        hook.load(value, "demonstration")
        return value


class SftSettings(Section):
    """[sft]: the section switches a run from reinforcement to supervised learning of the demonstrations."""

    source_weights: dict[str, float] = Field(
        default={}, description="of a source's answers in the loss; 1 if not named"
    )
    patch_classes: int = Field(default=0, ge=0, description="number of classes in meta.objects; 0: no patch-level loss")
    patch_weight: float = Field(default=1.0, ge=0)
    transforms: tuple[TransformSettings, ...] = Field(default=(), description="of the demonstrations, in this order")
