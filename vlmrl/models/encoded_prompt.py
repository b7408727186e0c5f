"""A prompt as rollout and learner take it: token ids, positions, pixels; `formatting` makes it of a sample."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import torch

VISION_KEYS = (
    "pixel_values",
    "image_grid_thw",
    "pixel_values_videos",
    "video_grid_thw",
    "second_per_grid_ts",
)


MEDIA = (
    ("image", "pixel_values", "image_grid_thw"),
    ("video", "pixel_values_videos", "video_grid_thw"),
)
"""Each kind of media, in the order of its number in `token_types`, and its two entries in `EncodedPrompt.vision`."""


@dataclass(frozen=True)
class MediaInput:
    """One image or video as the vision tower takes it."""

    kind: str
    pixels: torch.Tensor
    """[N, C]: patches."""
    grid: torch.Tensor
    """[3]: patches in time, height and width."""

    @cached_property
    def digest(self) -> bytes:
        """Identifies it by its content, and so by its file and the settings of the processor."""
        digest = hashlib.blake2b(f"{self.kind}{self.grid.tolist()}{self.pixels.dtype}".encode(), digest_size=16)
        digest.update(self.pixels.contiguous().view(torch.uint8).numpy().data)
        return digest.digest()


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt as the model takes it. P tokens, N patches of C values."""

    sample_id: str
    input_ids: torch.Tensor
    """[P] int64, media placeholders already expanded."""
    token_types: torch.Tensor
    """[P] int64: 0 text, 1 image, 2 video (`mm_token_type_ids`)."""
    positions: torch.Tensor
    """[3, P] int64 multimodal rotary positions."""
    next_position: int
    """The position, on all three axes, of the first response token."""
    vision: dict[str, torch.Tensor] = field(default_factory=dict)
    """Model inputs of the media: `pixel_values` [N, C], `image_grid_thw` [images, 3] and their video twins."""

    def __len__(self) -> int:
        return self.input_ids.shape[0]

    @cached_property
    def modality(self) -> str:
        """`text`, `image`, `images` or `video`: the key under which agreement is reported."""
        if "video_grid_thw" in self.vision:
            return "video"
        images = len(self.vision.get("image_grid_thw", ()))
        return "text" if images == 0 else "image" if images == 1 else "images"

    @cached_property
    def media(self) -> list[MediaInput]:
        """Its images, then its videos."""
        return [
            MediaInput(kind, pixels, grid)
            for kind, values, grids in MEDIA
            if grids in self.vision
            for pixels, grid in zip(
                self.vision[values].split(self.vision[grids].prod(-1).tolist()), self.vision[grids], strict=True
            )
        ]

    @cached_property
    def patches(self) -> int:
        """Number of vision patches, the unit of vision-tower work."""
        return sum(len(self.vision[k]) for k in ("pixel_values", "pixel_values_videos") if k in self.vision)


@dataclass(frozen=True, slots=True)
class PromptSize:
    """What an `EncodedPrompt` will hold."""

    sample_id: str
    tokens: int
    patches: int
    videos: int
    """Each counts as one token and no patch: how many frames it gives is known once it is decoded."""

    def __len__(self) -> int:
        return self.tokens
