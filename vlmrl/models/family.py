"""Family: what is particular to one `model_type` of transformers. Each file of `models/families` describes one.

    config = load_config("Qwen/Qwen3-VL-4B-Instruct")     the config of the model that is trained
    family = family_of(config.model_type)

Formatter, policy, learner and engines ask the family and know none by name. The defaults are what the Qwen-VL models
have in common. This module and the files load no torch when they are imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from vlmrl import catalog
from vlmrl.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel

    Features = Mapping[str, Tensor]
    """What a model takes besides the tokens, by the names of its arguments."""


# --- what the Qwen-VL models have in common ---------------------------------------------------------------


def patches(sizes: Tensor) -> Tensor:
    """Patches of images or videos [media] with these grids [media, 3]."""
    return sizes.prod(-1)


def merged_patches(sizes: Tensor, config: Any) -> Tensor:
    """Tokens of images or videos [media] with these grids [media, 3]: `spatial_merge_size` squared patches each."""
    return sizes.prod(-1) // config.vision_config.spatial_merge_size**2


def rotary_3d(model: Any, ids_P: Tensor, types_P: Tensor, sizes: Features) -> Tensor:
    """Multimodal rotary positions [3, P] by the model's own `get_rope_index`."""
    return model.model.get_rope_index(ids_P[None], mm_token_type_ids=types_P[None], **sizes)[0][:, 0]


def in_order(model: Any, ids_P: Tensor, types_P: Tensor, sizes: Features) -> Tensor:
    """Positions [3, P] of tokens in their order, whatever they stand for."""
    import torch

    return torch.arange(len(ids_P)).expand(3, -1).contiguous()


def as_processed(types_P: Tensor, features: Features) -> tuple[Tensor, Features]:
    """Token types [P] and features as the processor gives them."""
    return types_P, features


def last_hidden_states(model: Any, **inputs: Any) -> Tensor:
    """Last hidden states [B, T, H] of the model below its language head."""
    return model.model(**inputs).last_hidden_state


# --- what the models that hear have in common -------------------------------------------------------------


def frames(sizes: Tensor) -> Tensor:
    """Rows of sounds [media] with these numbers of frames."""
    return sizes


def flat_sounds(batch: dict[str, Any]) -> dict[str, Any]:
    """The output of a processor with the frames of all sounds, one after the other, without padding.

    `input_features` [sounds, bins, frames] becomes [frames, bins]; see also `with_lengths`.
    """
    import torch

    if "feature_attention_mask" not in batch:
        return batch
    mask = torch.as_tensor(batch["feature_attention_mask"]).bool()
    return with_lengths(batch) | {"input_features": torch.as_tensor(batch["input_features"]).transpose(1, 2)[mask]}


def with_lengths(batch: dict[str, Any]) -> dict[str, Any]:
    """The output of a processor with the frames of each sound: `audio_feature_lengths` [sounds]."""
    import torch

    if "feature_attention_mask" not in batch:
        return batch
    return batch | {"audio_feature_lengths": torch.as_tensor(batch["feature_attention_mask"]).sum(-1)}


def frame_mask(lengths: Tensor, longest: int) -> Tensor:
    """The mask [sounds, longest] that marks the frames of each sound."""
    import torch

    return (torch.arange(longest, device=lengths.device) < lengths[:, None]).long()


def rotary_of_thinker(model: Any, ids_P: Tensor, types_P: Tensor, sizes: Features) -> Tensor:
    """Multimodal rotary positions [3, P] by the thinker's own `get_rope_index`.

    They are fractions where a video has an odd number of frames a second, and integers otherwise.
    """
    import torch

    if "image_grid_thw" not in sizes and "video_grid_thw" not in sizes:
        return in_order(model, ids_P, types_P, sizes)
    opens = ids_P[:-1] == model.config.vision_start_token_id
    positions, _ = model.get_rope_index(
        ids_P[None],
        sizes.get("image_grid_thw"),
        sizes.get("video_grid_thw"),
        attention_mask=torch.ones_like(ids_P)[None],
        use_audio_in_video=bool((ids_P[1:][opens] == model.config.audio_start_token_id).any()),
        audio_seqlens=sizes.get("audio_feature_lengths"),
        second_per_grids=sizes.get("video_second_per_grid"),
    )
    whole = positions.round().long()
    return (whole if torch.equal(whole.to(positions.dtype), positions) else positions)[:, 0]


def hidden_states_of_thinker(model: Any, **inputs: Any) -> Tensor:
    """Last hidden states [B, T, H] of a thinker, whose class with the language head also merges the media.

    `input_features` [frames, bins] and `audio_feature_lengths` are those of `flat_sounds`.
    """
    from torch.nn.utils.rnn import pad_sequence

    inputs.pop("mm_token_type_ids", None)
    if (lengths := inputs.pop("audio_feature_lengths", None)) is not None:
        sounds = inputs["input_features"].split(lengths.tolist())
        inputs["input_features"] = pad_sequence(sounds, batch_first=True).transpose(1, 2)
        inputs["feature_attention_mask"] = frame_mask(lengths, int(lengths.max()))
    model.lm_head.forward = _unchanged  # the logits of all tokens would not fit into memory
    try:
        return model(**inputs).logits
    finally:
        del model.lm_head.forward


def _unchanged(hidden: Tensor) -> Tensor:
    return hidden


# --- the description --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """How a model takes one kind of media."""

    name: Literal["image", "video", "audio"]
    values: str
    """Name of the feature that a tower reads; each medium has some of its rows."""
    sizes: str
    """Name of the feature with the size of each medium, one row each."""
    others: tuple[str, ...] = ()
    """Names of further features with one row for each medium."""
    rows: Callable[[Tensor], Tensor] = patches
    """Sizes -> rows of `values` that each medium has."""
    tokens: Callable[[Tensor, Any], Tensor] = merged_patches
    """Sizes and config -> tokens of the prompt that each medium has."""
    fewest: int = 1
    """Tokens that a medium has, at least; the encoder does not take a shorter one."""

    @property
    def token_type(self) -> int:
        """Its number in `mm_token_type_ids`, where 0 is text."""
        return ("image", "video", "audio").index(self.name) + 1


IMAGE = Kind("image", "pixel_values", "image_grid_thw")
VIDEO = Kind("video", "pixel_values_videos", "video_grid_thw")


@dataclass(frozen=True)
class Family:
    """One model type. A file of `models/families` states what differs from the defaults."""

    coords: str
    """The coordinates in which the model writes boxes (`vlmrl.reading.frames.COORDS`)."""
    times: Literal["none", "positions", "text"]
    """How the model knows the times of a video: only the order of frames, by rotary positions, or as text."""
    kinds: tuple[Kind, ...] = (IMAGE, VIDEO)
    """Media that the model takes."""
    auto: str = "AutoModelForImageTextToText"
    """Class of transformers that loads the model."""
    nested: str | None = None
    """Name of the config of the model within that of the checkpoint; None: the checkpoint is the model."""
    positions: Callable[[Any, Tensor, Tensor, Features], Tensor] = rotary_3d
    """Model without weights, ids [P], token types [P], features without values -> positions [3, P]."""
    processed: Callable[[dict[str, Any]], dict[str, Any]] = dict
    """Output of the processor -> the same, with rows of the features for each medium as its kind says."""
    media_inputs: Callable[[Tensor, Features], tuple[Tensor, Features]] = as_processed
    """Token types [P] and features of a prompt, from the processor -> both as the model takes them."""
    hidden_states: Callable[..., Tensor] = last_hidden_states
    """Model and its inputs -> last hidden states [B, T, H]."""
    towers: tuple[str, ...] = ("model.visual",)
    """Names of the modules that turn media into embeddings; the vision tower, if there is one, is the first."""
    language: str = "model.language_model"
    """Name of the module with the language layers."""
    stop_tokens: tuple[str, ...] = ("<|im_end|>", "<|endoftext|>")
    """Tokens that end a turn, besides the tokenizer's `eos_token`."""
    whole_window: bool = False
    """Whether the audio encoder takes sounds in the length of the processor's window alone, which cuts longer ones."""
    image_frames: int = 1
    """Number of frames that an image counts as in the processor's limits of pixels."""
    recurrent: tuple[str, ...] = ()
    """Types of layers that carry a state from token to token, so that responses cannot share a row."""

    @property
    def modalities(self) -> tuple[str, ...]:
        return ("text", *(kind.name for kind in self.kinds))


# --- families of models -----------------------------------------------------------------------------------


@cache
def family_of(model_type: str) -> Family:
    """The family of a model type: that of a checkpoint, or of the model nested in it. `UserError` if there is none."""
    for name in catalog.names("families"):
        family: Family = catalog.load("families", name).FAMILY
        nested = f"{name}_{family.nested.removesuffix('_config')}" if family.nested else name
        if model_type in (name, nested):
            return family
    raise UserError(f"is a {model_type!r} model; supported: {', '.join(catalog.names('families'))}")


def load_config(path: str) -> PreTrainedConfig:
    """The config of the model at a path; `UserError` if there is none or it is of no known family."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(path)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"model.path {path!r}: cannot be loaded ({reason}); give a folder or hub id of a supported model "
            "(`vlmrl list families`)"
        ) from None
    try:
        family = family_of(config.model_type)
    except UserError as error:
        raise error.at(f"model.path {path!r}") from None
    return getattr(config, family.nested or "", config)


def language_layers(model: Any) -> Any:
    """The language layers of a transformers model; its own `get_decoder` gives the audio tower of some."""
    return model.get_submodule(f"{family_of(model.config.model_type).language}.layers")


def without_weights(config: Any, family: Family) -> PreTrainedModel:
    """The model with one layer in each part and no weights, for what it computes from its config alone."""
    import torch
    import transformers

    config = deepcopy(config)
    for part in (getattr(config, name) for name in config.sub_configs):
        for layers in ("num_hidden_layers", "depth", "encoder_layers"):
            if hasattr(part, layers):
                setattr(part, layers, 1)
        if getattr(part, "layer_types", None):
            part.layer_types = part.layer_types[:1]
    with torch.device("meta"):
        return getattr(transformers, family.auto).from_config(config)
