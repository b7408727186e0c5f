"""[model]: which model learns, and how it sees."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vlmrl.config.section import Section


class LoraSettings(Section):
    """[model.lora]: adapters through peft; the section switches them on."""

    rank: int = Field(default=16, gt=0, le=4096, description="rank of an adapter's two factors")
    alpha: int = Field(default=32, gt=0, description="an adapter is scaled by alpha / rank")
    targets: str | None = Field(
        default=None,
        description="regular expression over the names of the linear maps that get an adapter; unset: all of the "
        "language layers",
    )


class ModelSettings(Section):
    """[model]"""

    path: str = Field(
        default="tiny",
        description='folder or hub id of a model (`vlmrl list families` shows which); "tiny" is the embedded one',
    )
    freeze_towers: bool = Field(default=False, description="keep the towers of images, video and audio as they are")
    lora: LoraSettings | None = Field(default=None, description="adapters; unset: all weights learn")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: the GPU if there is one")
    compute: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="autocast type; auto is float32 on CPU, bfloat16 on GPU. Weights stay float32"
    )
    gradient_checkpointing: bool = Field(default=False, description="recompute activations in the backward pass")
    max_pixels: int | None = Field(
        default=None, gt=0, description="pixels of an image, at most; unset keeps the processor's limit"
    )
    vision_cache_mb: float = Field(
        default=1024.0, ge=0, description="2^20 bytes of memory for embeddings of images and videos; 0: no cache"
    )
    vision_cache_folder: str | None = Field(
        default=None, description="folder that also keeps the embeddings of a frozen tower; unset: none on disk"
    )
    video_fps: float = Field(default=2.0, ge=0.001, description="frames a second that are taken from a video")
    video_max_frames: int = Field(default=64, gt=1, description="frames of a video, at most")
    video_max_pixels: int | None = Field(
        default=None, gt=0, description="pixels of a frame, at most; unset keeps the default of qwen-vl-utils"
    )
    max_prompt_tokens: int = Field(
        default=8192,
        gt=0,
        description="tokens of a prompt, at most; a longer one is refused, because a cut would break its media",
    )
