"""EncodedPrompt: the token ids, positions and media that rollout and learner both consume; `formatting` makes it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch

from vlmrl.models.family import IMAGE, VIDEO, Kind


@dataclass(frozen=True)
class MediaInput:
    """One image, video or sound as input of its tower."""

    kind: str
    pixels: torch.Tensor
    """Patches [N, C], or the features of a sound: frames [N, C], or [1, C, N] with padding."""
    grid: torch.Tensor
    """Numbers of patches in time, height and width [3]; the number of frames of a sound []."""

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
    """Types [P] int64: 0 text, 1 image, 2 video, 3 audio (`mm_token_type_ids`)."""
    positions: torch.Tensor
    """Multimodal rotary positions [3, P] int64."""
    next_position: int
    """The position, on all three axes, of the first response token."""
    features: dict[str, torch.Tensor] = field(default_factory=dict)
    """Model inputs of the media: `pixel_values` [N, C], `image_grid_thw` [images, 3] and those of other kinds."""
    kinds: tuple[Kind, ...] = (IMAGE, VIDEO)
    """The kinds of media that the features may hold."""
    modality: str = "text"
    """`text`, `image`, `images`, `video` or `audio`: agreement is reported by modality."""
    shown: tuple[tuple[int, int], ...] = ()
    """Sizes (width, height) in which the images, or the videos if there is no image, reach the model."""

    def __len__(self) -> int:
        return self.input_ids.shape[0]

    @cached_property
    def media(self) -> list[MediaInput]:
        """The media, kind by kind."""
        return [
            MediaInput(kind.name, values, size)
            for kind in self.kinds
            if (sizes := self.features.get(kind.sizes)) is not None
            for values, size in zip(self.features[kind.values].split(kind.rows(sizes).tolist()), sizes, strict=True)
        ]

    @cached_property
    def patches(self) -> int:
        """Number of vision patches, the unit of work of the vision tower."""
        return sum(len(self.features[kind.values]) for kind in (IMAGE, VIDEO) if kind.values in self.features)

    @cached_property
    def sound_values(self) -> int:
        """Number of values of the features of sounds, the unit of work of the audio tower."""
        return sum(media.pixels.numel() for media in self.media if media.kind == "audio")


def joined_features(prompts: Sequence[EncodedPrompt]) -> dict[str, torch.Tensor]:
    """The features of several prompts, in their order, as one forward call takes them."""
    names = dict.fromkeys(name for prompt in prompts for name in prompt.features)
    return {name: torch.cat([p.features[name] for p in prompts if name in p.features]) for name in names}


@dataclass(frozen=True, slots=True)
class PromptSize:
    """The size that an `EncodedPrompt` will have."""

    sample_id: str
    tokens: int
    patches: int
    sound_values: int

    def __len__(self) -> int:
        return self.tokens
