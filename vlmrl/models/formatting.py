"""Formatting: Sample -> EncodedPrompt, the ONE preprocessing result that rollout and learner both consume.

    formatter = Formatter.load("Qwen/Qwen2.5-VL-3B-Instruct", settings)
    prompts = formatter.encode(samples)
    size = formatter.size(sample)                   the length of the prompt, from the headers of media and text alone

The processor of the model turns messages and media into token ids and features. What is particular to a family, such
as its positions, is in `vlmrl.models.family`, so this module knows no family by name.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from transformers.video_utils import VideoMetadata

from vlmrl.config.model import ModelSettings
from vlmrl.data.frames import Frames, Size, check_frames
from vlmrl.data.media import image_size, load_image
from vlmrl.errors import UserError
from vlmrl.models.chat_template import check_prompt, content_parts, generation_prompt
from vlmrl.models.encoded_prompt import EncodedPrompt, PromptSize
from vlmrl.models.family import IMAGE, VIDEO, Kind, family_of, load_config, without_weights
from vlmrl.models.sounds import Sounds
from vlmrl.models.video import Metadata, read_video, video_grid
from vlmrl.rewards.frames import shown_size
from vlmrl.sample import MARKS, Media, Sample

if TYPE_CHECKING:
    from PIL.Image import Image
    from transformers import PreTrainedConfig, ProcessorMixin

_T = TypeVar("_T")
Grid = tuple[int, int, int]
DEFAULTS = ModelSettings()

_PLACEHOLDER = re.compile(r"<\|((begin|end)_of_)?(image|video|audio|vision)_?\w*\|>", re.IGNORECASE)
_PLACEHOLDER_NAME = re.compile(r"(image|video|audio|vision)(_\w+)?_token_id")
"""Tokens that stand for media or delimit them, as tokenizers and configs name them."""


class Formatter:
    """Turns samples into prompts with the processor of one model.

    Images are resized to the limits. A prompt that is still too long raises `UserError`; it is never cut.
    """

    def __init__(self, processor: ProcessorMixin, config: PreTrainedConfig, settings: ModelSettings = DEFAULTS) -> None:
        self.processor: Any = processor
        self.config: Any = config
        self.family = family_of(config.model_type)
        self.settings = settings
        self._ending = generation_prompt(processor)
        if IMAGE in self.family.kinds:
            self._merge = self.processor.image_processor.merge_size**2
            self._patch: int = self.config.vision_config.patch_size
            size = self.processor.image_processor.size
            self.processor.image_processor.size = {
                "shortest_edge": size["shortest_edge"],
                "longest_edge": (settings.max_pixels or 0) * self.family.image_frames or size["longest_edge"],
            }

    @classmethod
    def load(cls, path: str, settings: ModelSettings = DEFAULTS) -> Formatter:
        """The formatter of a local folder or a hub id; `UserError` if its family is not supported."""
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
        ids = {value for name, value in vars(self.config).items() if _PLACEHOLDER_NAME.fullmatch(name)}
        # The tokenizer may have more of them than the config names.
        ids |= {i for token, i in self.tokenizer.get_added_vocab().items() if _PLACEHOLDER.fullmatch(token)}
        return sorted(i for i in ids if i is not None)

    @cached_property
    def stop_ids(self) -> list[int]:
        """Ids that end a turn."""
        tokens = (self.tokenizer.eos_token, *self.family.stop_tokens)
        vocabulary = self.tokenizer.get_vocab()
        return sorted({vocabulary[token] for token in tokens if token in vocabulary})

    @cached_property
    def frames(self) -> Frames:
        """The coordinates in which this model reads and writes places."""
        return Frames(self.family.coords, self._shown)

    @cached_property
    def sounds(self) -> Sounds:
        """The reader of this model's sounds."""
        return Sounds(self.processor, self.config)

    @cached_property
    def _model(self) -> Any:
        """The model without weights, which computes positions."""
        return without_weights(self.config, self.family)

    def _shown(self, sample: Sample) -> list[Size]:
        """`EncodedPrompt.shown` before the prompt is encoded, from the headers of images and videos."""
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
        return self._named(sample, lambda: self.frames.demonstration(sample, prompt.shown if prompt else None))

    def check_frames(self, sample: Sample) -> None:
        """`UserError` unless the true places survive the way into the model's coordinates."""
        self._named(sample, lambda: check_frames(sample, self.frames))

    def encode(self, samples: Sequence[Sample]) -> list[EncodedPrompt]:
        """Prompts in the order of the samples, preprocessed as one batch. `UserError` names an invalid sample."""
        samples = [self._named(sample, lambda sample=sample: self.frames.filled(sample)) for sample in samples]
        # Whether the sound of videos is heard is said of a whole call.
        heard = [n for n, sample in enumerate(samples) if sample.media.use_audio_in_video]
        batches = [[n for n in range(len(samples)) if n not in heard], *([n] for n in heard)]
        prompts = {
            n: prompt
            for batch in batches
            if batch
            for n, prompt in zip(batch, self._encode([samples[n] for n in batch]), strict=True)
        }
        return [prompts[n] for n in range(len(samples))]

    def _encode(self, samples: Sequence[Sample]) -> list[EncodedPrompt]:
        texts = [self._chat(sample) for sample in samples]
        images = [image for sample in samples for image in self._read(sample, "images", self._image)]
        videos = [video for sample in samples for video in self._read(sample, "videos", self._video)]
        sounds = [sound for sample in samples for sound in self.sounds.of(sample)]
        media: dict[str, Any] = {"images": images} if images else {}
        if sounds:
            media |= self.sounds.arguments(sounds)
        seconds = []
        if videos:
            frames, metadata = zip(*videos, strict=True)
            rates = [VideoMetadata(**about).sampled_fps for about in metadata]
            seconds = [self.processor.video_processor.temporal_patch_size / rate for rate in rates]
            media |= {
                "videos": list(frames),
                "videos_kwargs": {
                    "video_metadata": list(metadata),
                    "do_sample_frames": False,
                    "do_resize": False,
                    **_heard(samples[0], rates),
                },
            }
        batch = self.family.processed(dict(self.processor(text=texts, **media)))
        if "video_second_per_grid" in batch:  # the processor takes one rate of frames for all videos
            batch["video_second_per_grid"] = seconds
        return self._split(samples, batch)

    def size(self, sample: Sample) -> PromptSize:
        """Size of the sample's prompt, without decoding its media.

        It raises what `encode` raises, but for media that are damaged behind their headers.
        """
        sample = self._named(sample, lambda: self.frames.filled(sample))
        text, images = self._chat(sample), self._read(sample, "images", self._patches)
        videos = self._read(sample, "videos", self._video_grid)
        text, left_out = self._with_videos(text, videos)
        ids = self.tokenizer(text).input_ids
        sound_tokens, sound_values = self.sounds.size(sample)
        tokens = len(ids) + left_out + sum(n // self._merge - 1 for n in images) + sound_tokens
        self._check_length(sample, tokens)
        media = {self.tokenizer.convert_tokens_to_ids(self._placeholder(kind)) for kind in self.family.kinds}
        self._check_text(sample, [i for i in ids if i not in media])
        patches = sum(images) + sum(math.prod(grid) for grid, _ in videos)
        return PromptSize(sample.id, tokens, patches, sound_values)

    def _with_videos(self, text: str, videos: Sequence[tuple[Grid, Metadata]]) -> tuple[str, int]:
        """The text as the processor expands it for videos, each run of placeholders as one; how many are left out."""
        if not videos:
            return text, 0
        from transformers.video_utils import VideoMetadata

        # The placeholder of a family's frames may be that of its images.
        run = re.compile("|".join(rf"({re.escape(self._placeholder(kind))})+" for kind in (IMAGE, VIDEO)))
        token, left_out = self._placeholder(VIDEO), 0
        before, *parts = text.split(token)
        for (grid, metadata), after in zip(videos, parts, strict=True):
            expanded = token * (math.prod(grid) // self._merge)
            if self.family.times == "text":
                inputs = {"video_grid_thw": torch.tensor([grid]), "video_metadata": [VideoMetadata(**metadata)]}
                expanded = self.processor.replace_video_token(inputs, 0)
            left_out += sum(len(found[0]) // len(found[found.lastindex or 0]) - 1 for found in run.finditer(expanded))
            before += run.sub(lambda found: found[found.lastindex or 0], expanded) + after
        return before, left_out

    def _chat(self, sample: Sample) -> str:
        for kinds in MARKS:
            if getattr(sample.media, kinds) and kinds.removesuffix("s") not in self.family.modalities:
                kind, model = kinds.removesuffix("s"), self.config.model_type
                raise UserError(f"sample {sample.id!r}: has {kind}, but {model} takes none; drop the row")
        if sample.media.use_audio_in_video and {"video", "audio"} - {*self.family.modalities}:
            model = self.config.model_type
            raise UserError(f"sample {sample.id!r}: {model} does not hear videos; remove media.use_audio_in_video")
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
        """The prompts of a batch, each with the features of its media."""
        cursors: Counter[str] = Counter()
        prompts = []
        for row, sample in enumerate(samples):
            features: dict[str, torch.Tensor] = {}
            for kind in self.family.kinds:
                if count := _count(sample, kind):
                    features[kind.sizes] = _take(batch, kind.sizes, count, cursors)
                    features[kind.values] = _take(
                        batch, kind.values, int(kind.rows(features[kind.sizes]).sum()), cursors
                    )
                    features |= {name: _take(batch, name, count, cursors) for name in kind.others}
            input_ids = torch.tensor(batch["input_ids"][row])
            types = batch.get("mm_token_type_ids")
            token_types = self._token_types(input_ids) if types is None else torch.tensor(types[row])
            prompts.append(self._prompt(sample, input_ids, token_types, features))
        return prompts

    def _token_types(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Token types [P] where the processor gives none."""
        types = torch.zeros_like(input_ids)
        for kind in self.family.kinds:
            types[input_ids == self.tokenizer.convert_tokens_to_ids(self._placeholder(kind))] = kind.token_type
        return types

    def _prompt(
        self,
        sample: Sample,
        input_ids: torch.Tensor,
        token_types: torch.Tensor,
        features: dict[str, torch.Tensor],
    ) -> EncodedPrompt:
        self._check_length(sample, len(input_ids))
        self._check_features(sample, token_types, features)
        self._check_text(sample, input_ids[token_types == 0])
        positions = torch.arange(len(input_ids)).expand(3, -1).contiguous()
        if features:
            values = {kind.values for kind in self.family.kinds}
            sizes = {name: value for name, value in features.items() if name not in values}
            positions = self.family.positions(self._model, input_ids, token_types, sizes)
        shown = self._sizes(features)
        token_types, taken = self.family.media_inputs(token_types, features)
        return EncodedPrompt(
            sample_id=sample.id,
            input_ids=input_ids,
            token_types=token_types,
            positions=positions,
            next_position=int(positions.max()) + 1,
            features=dict(taken),
            kinds=self.family.kinds,
            modality=_modality(sample),
            shown=shown,
        )

    def _sizes(self, features: dict[str, torch.Tensor]) -> tuple[Size, ...]:
        """Sizes of the resized images, or of the frames of the videos if there is no image."""
        grids = features.get(IMAGE.sizes, features.get(VIDEO.sizes))
        if grids is None:
            return ()
        patch = self.config.vision_config.patch_size
        return tuple((columns * patch, rows * patch) for _, rows, columns in grids.tolist())

    def _check_length(self, sample: Sample, tokens: int) -> None:
        if tokens > self.settings.max_prompt_tokens:
            raise UserError(
                f"sample {sample.id!r}: its prompt has {tokens} tokens, over model.max_prompt_tokens = "
                f"{self.settings.max_prompt_tokens}; lower model.max_pixels or drop the row"
            )

    def _check_placeholders(self, sample: Sample, text: str) -> None:
        """Each medium needs one placeholder, or the processor would use the media of another sample."""
        for kind in self.family.kinds:
            media = getattr(sample.media, f"{kind.name}s")
            marks = text.count(self._placeholder(kind))
            if marks == len(media):
                continue
            features = [1] * len(media)  # a video counts as 1, because it is not decoded here
            if kind.name == "image":
                features = [patches // self._merge for patches in self._read(sample, "images", self._patches)]
            raise _mismatch(sample, kind.name, sum(features[:marks]) + max(0, marks - len(media)), sum(features))

    def _placeholder(self, kind: Kind) -> str:
        """The token that stands for such a medium in a prompt before its features are counted."""
        return getattr(self.processor, f"{kind.name}_token")

    def _check_text(self, sample: Sample, ids: Sequence[int] | torch.Tensor) -> None:
        """`ids` are the prompt's token ids without those of its media."""
        check_prompt(sample, self.tokenizer.decode(ids, clean_up_tokenization_spaces=False), self._ending)

    def _check_features(self, sample: Sample, token_types: torch.Tensor, features: dict[str, torch.Tensor]) -> None:
        """The numbers of placeholders and of features must be equal, or training would be silently wrong."""
        for kind in self.family.kinds:
            tokens = int((token_types == kind.token_type).sum())
            sizes = features.get(kind.sizes)
            wanted = 0 if sizes is None else int(kind.tokens(sizes, self.config).sum())
            if tokens != wanted:
                raise _mismatch(sample, kind.name, tokens, wanted)


def _count(sample: Sample, kind: Kind) -> int:
    """Media of this kind, with the sounds of videos."""
    heard = sample.media.use_audio_in_video and kind.name == "audio"
    return len(getattr(sample.media, f"{kind.name}s")) + heard * len(sample.media.videos)


def _heard(sample: Sample, rates: Sequence[float]) -> dict[str, Any]:
    """Arguments for videos whose sound is heard: frames and sound are joined by one rate of frames."""
    if not sample.media.use_audio_in_video:
        return {}
    if len(set(rates)) > 1:
        raise UserError(
            f"sample {sample.id!r}: its videos are shown with {' and '.join(f'{rate:g}' for rate in rates)} frames a "
            "second, and with use_audio_in_video they need one rate; give each a row of its own"
        )
    return {"use_audio_in_video": True, "fps": rates[0]}


def _mismatch(sample: Sample, kind: str, tokens: int, features: int) -> UserError:
    return UserError(
        f"sample {sample.id!r}: {tokens} {kind}_tokens in the prompt, {features} features; "
        "the text holds a placeholder token of its own, the chat template drops media, or the processor "
        "does not fit the model"
    )


def _modality(sample: Sample) -> str:
    if sample.media.videos:
        return "video"
    if sample.media.audios:
        return "audio"
    return {0: "text", 1: "image"}.get(len(sample.media.images), "images")


def _take(batch: Any, key: str, count: int, cursors: Counter[str]) -> torch.Tensor:
    start = cursors[key]
    cursors[key] += count
    return torch.as_tensor(batch[key][start : start + count])
