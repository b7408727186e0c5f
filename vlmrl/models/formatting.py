"""Formatting: Sample -> EncodedPrompt, the ONE preprocessing result that rollout and learner both consume.

    formatter = Formatter.load("Qwen/Qwen2.5-VL-3B-Instruct", settings)
    prompts = formatter.encode(samples)
    size = formatter.size(sample)                   the length of the prompt, from the headers of media and text alone

The processor of the model family turns messages and media into token ids and pixel values, and `get_rope_index` of
the family computes the positions. So this module has no model-specific arithmetic.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from vlmrl import catalog
from vlmrl.config.model import ModelSettings
from vlmrl.data.frames import Frames, Size, check_frames
from vlmrl.data.media import image_size, load_image
from vlmrl.errors import UserError
from vlmrl.models.chat_template import check_prompt, content_parts, generation_prompt
from vlmrl.models.encoded_prompt import MEDIA, VISION_KEYS, EncodedPrompt, PromptSize
from vlmrl.models.family_config import load_config, rope_index
from vlmrl.models.video import Metadata, read_video, video_grid
from vlmrl.rewards.frames import shown_size
from vlmrl.sample import Media, Sample

if TYPE_CHECKING:
    from PIL.Image import Image
    from transformers import PreTrainedConfig, ProcessorMixin

_T = TypeVar("_T")
Grid = tuple[int, int, int]
DEFAULTS = ModelSettings()


class Formatter:
    """Turns samples into prompts with the processor of one model.

    Images are resized to the limits. A prompt that is still too long raises `UserError`; it is never cut.
    """

    def __init__(self, processor: ProcessorMixin, config: PreTrainedConfig, settings: ModelSettings = DEFAULTS) -> None:
        self.processor: Any = processor
        self.config: Any = config
        self.settings = settings
        self._rope = rope_index(config)
        self._ending = generation_prompt(processor)
        self._merge = self.processor.image_processor.merge_size**2
        self._patch: int = self.config.vision_config.patch_size
        size = self.processor.image_processor.size
        self.processor.image_processor.size = {
            "shortest_edge": size["shortest_edge"],
            "longest_edge": settings.max_pixels or size["longest_edge"],
        }

    @classmethod
    def load(cls, path: str, settings: ModelSettings = DEFAULTS) -> Formatter:
        """The formatter of a local folder or a hub id; `UserError` if it is not a Qwen-VL model."""
        from transformers import AutoProcessor

        config = load_config(path)
        try:
            processor = AutoProcessor.from_pretrained(path)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"model.path {path!r}: its processor cannot be loaded ({reason})") from None
        return cls(processor, config, settings)

    @property
    def tokenizer(self) -> Any:
        return self.processor.tokenizer

    @cached_property
    def placeholder_ids(self) -> list[int]:
        """Ids that stand for media or delimit them: engines never sample them, the learner gives them probability 0."""
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
        # The tokenizer may have more of them than the config names.
        pattern = re.compile(r"<\|(image|video|audio|vision)_?\w*\|>")
        ids |= {i for token, i in self.tokenizer.get_added_vocab().items() if pattern.fullmatch(token)}
        return sorted(i for i in ids if i is not None)

    @cached_property
    def stop_ids(self) -> list[int]:
        """Ids that end a turn."""
        tokens = (self.tokenizer.eos_token, "<|im_end|>", "<|endoftext|>")
        vocabulary = self.tokenizer.get_vocab()
        return sorted({vocabulary[token] for token in tokens if token in vocabulary})

    @cached_property
    def frames(self) -> Frames:
        """The coordinates in which this model reads and writes places."""
        return Frames(catalog.load("families", self.config.model_type).COORDS, self._shown)

    def shown(self, prompt: EncodedPrompt) -> list[Size]:
        """The sizes (width, height) in which the images of a prompt, or its videos without any, reach the model."""
        patch, grids = self._patch, prompt.vision.get("image_grid_thw", prompt.vision.get("video_grid_thw"))
        return [(columns * patch, rows * patch) for _, rows, columns in ([] if grids is None else grids.tolist())]

    def _shown(self, sample: Sample) -> list[Size]:
        """The same before the prompt is encoded, from the headers of images and videos."""
        images, patch = [self._shown_image(media) for media in sample.media.images], self._patch
        grids = [self._video_grid(media)[0] for media in (() if images else sample.media.videos)]
        return images or [(columns * patch, rows * patch) for _, rows, columns in grids]

    def _shown_image(self, media: Media) -> Size:
        size = image_size(media)
        self._patches(media, size)  # refuses what the processor does
        return shown_size(self.processor.image_processor, size)

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of a response, without special tokens."""
        return self.tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def encode_response(self, text: str) -> list[int]:
        """Token ids of a response, with the end-of-turn token."""
        return [*self.tokenizer(text, add_special_tokens=False).input_ids, self.tokenizer.eos_token_id]

    def encode_demonstration(
        self, sample: Sample, transform: Callable[[str], str] = str, prompt: EncodedPrompt | None = None
    ) -> list[int]:
        """Token ids of the sample's demonstration, its places in the model's coordinates.

        `UserError` if it has none, or one that holds media placeholders.
        """
        if sample.demonstration is None:
            raise UserError(
                f"sample {sample.id!r}: no demonstration to learn; end its messages with the assistant's turn"
            )
        ids = self.encode_response(transform(self.demonstration(sample, prompt)))
        if media := set(ids) & set(self.placeholder_ids):
            token = self.tokenizer.convert_ids_to_tokens(min(media))
            raise UserError(
                f"sample {sample.id!r}: its demonstration holds {token!r}, which stands for media and can never be "
                "generated; remove it or drop the row"
            )
        return ids

    def demonstration(self, sample: Sample, prompt: EncodedPrompt | None = None) -> str:
        """The sample's demonstration, its places in the model's coordinates; `prompt` saves decoding a video again."""
        return self._named(sample, lambda: self.frames.demonstration(sample, self.shown(prompt) if prompt else None))

    def check_frames(self, sample: Sample) -> None:
        """`UserError` unless the true places survive the way into the model's coordinates."""
        self._named(sample, lambda: check_frames(sample, self.frames))

    def encode(self, samples: Sequence[Sample]) -> list[EncodedPrompt]:
        """Prompts in the order of the samples, preprocessed as one batch. `UserError` names an invalid sample."""
        samples = [self._named(sample, lambda sample=sample: self.frames.filled(sample)) for sample in samples]
        texts = [self._chat(sample) for sample in samples]
        images = [image for sample in samples for image in self._read(sample, "images", self._image)]
        videos = [video for sample in samples for video in self._read(sample, "videos", self._video)]
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

    def size(self, sample: Sample) -> PromptSize:
        """Size of the sample's prompt, without decoding its media.

        It raises what `encode` raises, but for media that are damaged behind their headers.
        """
        sample = self._named(sample, lambda: self.frames.filled(sample))
        text, images = self._chat(sample), self._read(sample, "images", self._patches)
        videos = self._read(sample, "videos", self._video_grid)
        text, features = self._with_videos(text, videos)
        ids = self.tokenizer(text).input_ids
        tokens = len(ids) + features + sum(n // self._merge - 1 for n in images)
        self._check_length(sample, tokens)
        media = (self.config.image_token_id, self.config.video_token_id)
        self._check_text(sample, [i for i in ids if i not in media])
        return PromptSize(sample.id, tokens, sum(images) + sum(math.prod(grid) for grid, _ in videos))

    def _with_videos(self, text: str, videos: Sequence[tuple[Grid, Metadata]]) -> tuple[str, int]:
        """The text as the processor expands it for videos, each run of placeholders as one; how many are left out."""
        from transformers.video_utils import VideoMetadata

        token, left_out = self.processor.video_token, 0
        before, *parts = text.split(token)
        for (grid, metadata), after in zip(videos, parts, strict=True):
            inputs = {"video_grid_thw": torch.tensor([grid]), "video_metadata": [VideoMetadata(**metadata)]}
            expanded = self.processor.replace_video_token(inputs, 0)
            short = re.sub(rf"(?:{re.escape(token)})+", token, expanded)
            left_out += expanded.count(token) - short.count(token)
            before += short + after
        return before, left_out

    def _chat(self, sample: Sample) -> str:
        if sample.media.audios:
            raise UserError(f"sample {sample.id!r}: has audio, but {self.config.model_type} takes none; drop the row")
        messages = [{"role": m.role, "content": content_parts(m)} for m in sample.prompt]
        text = self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        self._check_placeholders(sample, text)
        return text

    def _read(self, sample: Sample, kind: str, read: Callable[[Media], _T]) -> list[_T]:
        """`read` of each medium of this kind; a `UserError` gets the sample's id."""
        results = []
        for index, media in enumerate(getattr(sample.media, kind)):
            try:
                results.append(read(media))
            except UserError as error:
                raise error.at(f"sample {sample.id!r}: media.{kind}.{index}") from None
        return results

    def _named(self, sample: Sample, result: Callable[[], _T]) -> _T:
        """The result; a `UserError` gets the sample's id."""
        try:
            return result()
        except UserError as error:
            raise error.at(f"sample {sample.id!r}") from None

    def _image(self, media: Media) -> Image:
        image = load_image(media)
        self._patches(media, image.size)
        return image

    def _patches(self, media: Media, size: tuple[int, int] | None = None) -> int:
        """Patches of the resized image. `size` is (width, height); None: read from the image header."""
        width, height = size or image_size(media)
        try:
            return self.processor.image_processor.get_number_of_image_patches(height, width, {})
        except ValueError as error:  # raised for an image more than 200 times as long as wide
            raise UserError(
                f"{media.name}: {width} x {height} pixels ({error}); crop the image or drop the row"
            ) from None

    def _video(self, media: Media) -> tuple[torch.Tensor, Metadata]:
        return read_video(media, self.settings, self.processor.video_processor.size["shortest_edge"], self._patch)

    def _video_grid(self, media: Media) -> tuple[Grid, Metadata]:
        """Patches of the video in time, height and width, from its header, and what the processor needs to know."""
        processor = self.processor.video_processor
        grid, metadata = video_grid(media, self.settings, processor.size["shortest_edge"], self._patch)
        frames, rows, columns = grid
        return (-(-frames // processor.temporal_patch_size), rows, columns), metadata

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
        self._check_length(sample, len(ids))
        input_ids, token_types = torch.tensor(ids), torch.tensor(types)
        self._check_features(sample, input_ids, vision)
        self._check_text(sample, input_ids[token_types == 0])
        if vision:
            grids = {k: v for k, v in vision.items() if not k.startswith("pixel_values")}
            positions = self._rope(input_ids[None], mm_token_type_ids=token_types[None], **grids)[0][:, 0]
        else:
            positions = torch.arange(len(ids)).expand(3, -1).contiguous()
        return EncodedPrompt(sample.id, input_ids, token_types, positions, int(positions.max()) + 1, vision)

    def _check_length(self, sample: Sample, tokens: int) -> None:
        if tokens > self.settings.max_prompt_tokens:
            raise UserError(
                f"sample {sample.id!r}: its prompt has {tokens} tokens, over model.max_prompt_tokens = "
                f"{self.settings.max_prompt_tokens}; lower model.max_pixels or drop the row"
            )

    def _check_placeholders(self, sample: Sample, text: str) -> None:
        """Each image and video needs one placeholder, or the processor would use the media of another sample."""
        for kind, _, _ in MEDIA:
            media = getattr(sample.media, f"{kind}s")
            marks = text.count(getattr(self.processor, f"{kind}_token"))
            if marks == len(media):
                continue
            features = [1] * len(media)  # a video counts as 1, because it is not decoded here
            if kind == "image":
                features = [patches // self._merge for patches in self._read(sample, "images", self._patches)]
            raise _mismatch(sample, kind, sum(features[:marks]) + max(0, marks - len(media)), sum(features))

    def _check_text(self, sample: Sample, ids: Sequence[int] | torch.Tensor) -> None:
        """`ids` are the prompt's token ids without those of its media."""
        check_prompt(sample, self.tokenizer.decode(ids, clean_up_tokenization_spaces=False), self._ending)

    def _check_features(self, sample: Sample, input_ids: torch.Tensor, vision: dict[str, torch.Tensor]) -> None:
        """The numbers of placeholders and of features must be equal, or training would be silently wrong."""
        merge = self.config.vision_config.spatial_merge_size**2
        for kind, _, grid in MEDIA:
            tokens = int((input_ids == getattr(self.config, f"{kind}_token_id")).sum())
            features = int(vision[grid].prod(-1).sum()) // merge if grid in vision else 0
            if tokens != features:
                raise _mismatch(sample, kind, tokens, features)


def _mismatch(sample: Sample, kind: str, tokens: int, features: int) -> UserError:
    return UserError(
        f"sample {sample.id!r}: {tokens} {kind}_tokens in the prompt, {features} features; "
        "the text holds a placeholder token of its own, the chat template drops media, or the processor "
        "does not fit the model"
    )


def _take(batch: Any, key: str, count: int, cursors: dict[str, int]) -> torch.Tensor:
    start = cursors[key]
    cursors[key] += count
    return torch.as_tensor(batch[key][start : start + count])
