"""EncodedPrompt: the token ids, positions and pixels that rollout and learner both consume; `formatting` makes it."""

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
"""Each kind of media, in the order of its number in `token_types`, with its two keys of `EncodedPrompt.vision`."""


@dataclass(frozen=True)
class MediaInput:
    """One image or video as input of the vision tower."""

    kind: str
    pixels: torch.Tensor
    """Patches [N, C]."""
    grid: torch.Tensor
    """Numbers of patches in time, height and width [3]."""

    @cached_property
    def digest(self) -> bytes:
        """Hash of the content, which depends on the file and on the settings of the processor."""
        digest = hashlib.blake2b(f"{self.kind}{self.grid.tolist()}{self.pixels.dtype}".encode(), digest_size=32)
        digest.update(self.pixels.contiguous().view(torch.uint8).numpy().data)
        return digest.digest()


@dataclass(frozen=True)
class EncodedPrompt:
    """The model's input for one prompt: P tokens, N patches of C values."""

    sample_id: str
    input_ids: torch.Tensor
    """Token ids [P] int64; media placeholders are expanded."""
    token_types: torch.Tensor
    """Types [P] int64: 0 text, 1 image, 2 video (`mm_token_type_ids`)."""
    positions: torch.Tensor
    """Multimodal rotary positions [3, P] int64."""
    next_position: int
    """The position, on all three axes, of the first response token."""
    vision: dict[str, torch.Tensor] = field(default_factory=dict)
    """Model inputs of the media: `pixel_values` [N, C], `image_grid_thw` [images, 3] and those of videos."""

    def __len__(self) -> int:
        return self.input_ids.shape[0]

    @cached_property
    def modality(self) -> str:
        """`text`, `image`, `images` or `video`: agreement is reported by modality."""
        if "video_grid_thw" in self.vision:
            return "video"
        images = len(self.vision.get("image_grid_thw", ()))
        return "text" if images == 0 else "image" if images == 1 else "images"

    @cached_property
    def media(self) -> list[MediaInput]:
        """The images, then the videos."""
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
        """Number of vision patches, the unit of work of the vision tower."""
        return sum(len(self.vision[k]) for k in ("pixel_values", "pixel_values_videos") if k in self.vision)


@dataclass(frozen=True, slots=True)
class PromptSize:
    """The size that an `EncodedPrompt` will have."""

    sample_id: str
    tokens: int
    patches: int

    def __len__(self) -> int:
        return self.tokens
