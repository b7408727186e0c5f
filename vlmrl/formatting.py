"""Formatting: Sample -> EncodedPrompt, the ONE preprocessing result that rollout and learner both consume.

    formatter = Formatter.load("Qwen/Qwen2.5-VL-3B-Instruct", limits)
    prompts = formatter.encode(samples)

The model family's own processor turns messages and media into token ids and pixel values, and the family's
own `get_rope_index` gives the positions, so no model-specific arithmetic lives here.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from vlmrl.chat_template import check_prompt, content_parts, generation_prompt
from vlmrl.errors import UserError
from vlmrl.media import load_image
from vlmrl.sample import Media, Sample
from vlmrl.settings import ModelSettings

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, ProcessorMixin

FAMILIES = {
    "qwen2_vl": "relative_1000",
    "qwen2_5_vl": "pixels",
    "qwen3_vl": "relative_1000",
    "qwen3_vl_moe": "relative_1000",
}
"""Supported `model_type`s, and the coordinates each writes boxes in: of the resized image, or per mille of it."""

DEFAULTS = ModelSettings()

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


class Formatter:
    """Turns samples into prompts with the processor of one model.

    Images are resized to the limits; a prompt that is still too long is refused, never cut.
    """

    def __init__(self, processor: ProcessorMixin, config: PreTrainedConfig, limits: ModelSettings = DEFAULTS) -> None:
        self.processor: Any = processor
        self.config: Any = config
        self.limits = limits
        self._rope = _rope_index(config)
        self._ending = generation_prompt(processor)
        size = self.processor.image_processor.size
        self.processor.image_processor.size = {
            "shortest_edge": limits.min_pixels or size["shortest_edge"],
            "longest_edge": limits.max_pixels or size["longest_edge"],
        }

    @classmethod
    def load(cls, path: str, limits: ModelSettings = DEFAULTS) -> Formatter:
        """From a local folder or a hub id; `UserError` if it is not a Qwen-VL model."""
        from transformers import AutoProcessor

        config = load_config(path)
        try:
            processor = AutoProcessor.from_pretrained(path)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"model.path {path!r}: its processor cannot be loaded ({reason})") from None
        return cls(processor, config, limits)

    @property
    def tokenizer(self) -> Any:
        return self.processor.tokenizer

    @cached_property
    def placeholder_ids(self) -> list[int]:
        """Ids that stand for media or delimit them: no engine may sample them, the learner gives them no mass."""
        names = (
            "image",
            "video",
            "audio",
            "vision_start",
            "vision_end",
            "vision",
            "audio_start",
            "audio_end",
        )
        ids = {getattr(self.config, f"{name}_token_id", None) for name in names}
        # The tokenizer may know more of them than the config does.
        pattern = re.compile(r"<\|(image|video|audio|vision)_?\w*\|>")
        ids |= {i for token, i in self.tokenizer.get_added_vocab().items() if pattern.fullmatch(token)}
        return sorted(i for i in ids if i is not None)

    @cached_property
    def stop_ids(self) -> list[int]:
        """Ids that end a turn."""
        tokens = (self.tokenizer.eos_token, "<|im_end|>", "<|endoftext|>")
        known = self.tokenizer.get_vocab()
        return sorted({known[token] for token in tokens if token in known})

    @property
    def answer_coords(self) -> str:
        """The coordinates this family writes boxes in."""
        return FAMILIES[self.config.model_type]

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of a response, without special tokens."""
        return self.tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def encode_response(self, text: str) -> list[int]:
        """Token ids of a demonstration, ended as the model ends its turn."""
        return [*self.tokenizer(text, add_special_tokens=False).input_ids, self.tokenizer.eos_token_id]

    def encode(self, samples: Sequence[Sample]) -> list[EncodedPrompt]:
        """Prompts in the order of the samples, preprocessed as one batch. `UserError` names a sample it refuses."""
        texts = [self._chat(sample) for sample in samples]
        images = [load_image(media) for sample in samples for media in sample.media.images]
        videos = [self._video(media) for sample in samples for media in sample.media.videos]
        media: dict[str, Any] = {"images": images or None}
        if videos:
            frames, metadata = zip(*videos, strict=True)
            media |= {
                "videos": list(frames),
                "videos_kwargs": {
                    "video_metadata": list(metadata),
                    "do_sample_frames": False,
                    "do_resize": False,
                },
            }
        batch = self.processor(text=texts, **media)
        return self._split(samples, batch)

    def _chat(self, sample: Sample) -> str:
        if sample.media.audios:
            raise UserError(f"sample {sample.id!r}: has audio, but {self.config.model_type} takes none; drop the row")
        messages = [{"role": m.role, "content": content_parts(m)} for m in sample.prompt]
        return self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def _video(self, media: Media) -> tuple[torch.Tensor, dict[str, Any]]:
        """Frames [F, 3, H, W] sampled at `video_fps` and resized, with the metadata that gives their times."""
        # Of the readers that qwen-vl-utils tries, decord alone is a declared dependency of this project.
        os.environ.setdefault("FORCE_QWENVL_VIDEO_READER", "decord")
        from qwen_vl_utils import fetch_video

        limits = self.limits
        request: dict[str, Any] = {"fps": limits.video_fps, "max_frames": limits.video_max_frames}
        if limits.video_max_pixels:
            request["max_pixels"] = limits.video_max_pixels
        size = self.processor.video_processor.size
        request["min_pixels"] = min(size["shortest_edge"], request.get("max_pixels", size["shortest_edge"]))
        with _as_file(media) as path:
            try:
                patch = self.config.vision_config.patch_size
                fetched: Any = fetch_video(
                    {"video": path, **request}, image_patch_size=patch, return_video_metadata=True
                )
                return fetched
            except Exception as error:  # the reader raises bare exceptions of its own C++ library
                raise UserError(f"{media.name}: cannot read the video ({error}); replace it or drop the row") from None

    def _split(self, samples: Sequence[Sample], batch: Any) -> list[EncodedPrompt]:
        cursors: dict[str, int] = dict.fromkeys(VISION_KEYS, 0)
        prompts = []
        for row, sample in enumerate(samples):
            vision: dict[str, torch.Tensor] = {}
            for pixels, grid, count in (
                ("pixel_values", "image_grid_thw", len(sample.media.images)),
                ("pixel_values_videos", "video_grid_thw", len(sample.media.videos)),
            ):
                if not count:
                    continue
                vision[grid] = _take(batch, grid, count, cursors)
                vision[pixels] = _take(batch, pixels, int(vision[grid].prod(-1).sum()), cursors)
                if grid == "video_grid_thw" and "second_per_grid_ts" in batch:
                    vision["second_per_grid_ts"] = _take(batch, "second_per_grid_ts", count, cursors)
            prompts.append(self._prompt(sample, batch["input_ids"][row], batch["mm_token_type_ids"][row], vision))
        return prompts

    def _prompt(
        self, sample: Sample, ids: list[int], types: list[int], vision: dict[str, torch.Tensor]
    ) -> EncodedPrompt:
        if len(ids) > self.limits.max_prompt_tokens:
            raise UserError(
                f"sample {sample.id!r}: its prompt has {len(ids)} tokens, over model.max_prompt_tokens = "
                f"{self.limits.max_prompt_tokens}; lower model.max_pixels or drop the row"
            )
        input_ids, token_types = torch.tensor(ids), torch.tensor(types)
        self._check_features(sample, input_ids, vision)
        text = self.tokenizer.decode(input_ids[token_types == 0], clean_up_tokenization_spaces=False)
        check_prompt(sample, text, self._ending)
        if vision:
            grids = {k: v for k, v in vision.items() if not k.startswith("pixel_values")}
            positions = self._rope(input_ids[None], mm_token_type_ids=token_types[None], **grids)[0][:, 0]
        else:
            positions = torch.arange(len(ids)).expand(3, -1).contiguous()
        return EncodedPrompt(sample.id, input_ids, token_types, positions, int(positions.max()) + 1, vision)

    def _check_features(self, sample: Sample, input_ids: torch.Tensor, vision: dict[str, torch.Tensor]) -> None:
        """Placeholders in the text and features of the tower must match, or training would be silently wrong."""
        merge = self.config.vision_config.spatial_merge_size**2
        for grid, token in (("image_grid_thw", "image_token_id"), ("video_grid_thw", "video_token_id")):
            tokens = int((input_ids == getattr(self.config, token)).sum())
            features = int(vision[grid].prod(-1).sum()) // merge if grid in vision else 0
            if tokens != features:
                raise UserError(
                    f"sample {sample.id!r}: {tokens} {token.removesuffix('_id')}s in the prompt, {features} features; "
                    "the text holds a placeholder token of its own, the chat template drops media, or the processor "
                    "does not fit the model"
                )


def load_config(path: str) -> PreTrainedConfig:
    """The model's config; `UserError` if there is none or it is of another family."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(path)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"model.path {path!r}: cannot be loaded ({reason}); give a folder or hub id of a Qwen-VL model"
        ) from None
    if config.model_type not in FAMILIES:
        raise UserError(
            f"model.path {path!r}: is a {config.model_type!r} model, not a Qwen-VL one; "
            f"supported: {', '.join(FAMILIES)}"
        )
    return config


def _rope_index(config: Any) -> Any:
    """The family's own `get_rope_index`, bound to a weightless one-layer skeleton of the model."""
    from copy import deepcopy

    from transformers import AutoModelForImageTextToText

    config = deepcopy(config)
    config.text_config.num_hidden_layers = config.vision_config.depth = 1
    if getattr(config.text_config, "layer_types", None):
        config.text_config.layer_types = config.text_config.layer_types[:1]
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(config).model.get_rope_index


def _take(batch: Any, key: str, count: int, cursors: dict[str, int]) -> torch.Tensor:
    start = cursors[key]
    cursors[key] += count
    return torch.as_tensor(batch[key][start : start + count])


@contextmanager
def _as_file(media: Media) -> Any:
    """A path to the media: video readers take no bytes."""
    if media.path is not None:
        yield media.path
        return
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(media.read())
        file.flush()
        yield file.name
