"""Qwen3-Omni, its thinker: text, images, videos and sounds, a mixture of experts; boxes in thousandths of the image.

arXiv 2509.17765. A second of sound is 13 tokens, and positions count 13 for each second of sound and video. If the
model hears the sound of a video, its tokens stand between those of the frames by their times. The vision tower is that
of Qwen3-VL, with deepstack features.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vlmrl.models.family import (
    IMAGE,
    VIDEO,
    Family,
    Kind,
    flat_sounds,
    frames,
    hidden_states_of_thinker,
    rotary_of_thinker,
)

if TYPE_CHECKING:
    from torch import Tensor


def _tokens(sizes: Tensor, config: Any) -> Tensor:
    """13 tokens for each window of 100 frames; what is left is halved three times."""
    window = 2 * config.audio_config.n_window
    left = sizes % window
    for _ in range(3):
        left = (left - 1) // 2 + 1
    return left + sizes // window * 13


def _hidden_states(model: Any, **inputs: Any) -> Tensor:
    """The encoder of transformers 5.19 pads windows to the longest of a call, and its convolutions see the padding.

    So the last token of a sound shorter than a window would depend on the sounds beside it. A silent window after the
    last sound, whose embedding has no place in the prompts, makes the padding the same in every call.
    """
    import torch

    lengths, window = inputs.get("audio_feature_lengths"), 2 * model.config.audio_config.n_window
    if lengths is not None and int(lengths.max()) < window:
        features = inputs["input_features"]
        inputs["input_features"] = torch.cat([features, features.new_zeros(window, features.shape[1])])
        inputs["audio_feature_lengths"] = torch.cat([lengths, lengths.new_tensor([window])])
    return hidden_states_of_thinker(model, **inputs)


FAMILY = Family(
    coords="relative_1000",
    times="positions",
    kinds=(
        IMAGE,
        replace(VIDEO, others=("video_second_per_grid",)),
        Kind("audio", "input_features", "audio_feature_lengths", rows=frames, tokens=_tokens),
    ),
    nested="thinker_config",
    positions=rotary_of_thinker,
    processed=flat_sounds,
    hidden_states=_hidden_states,
    towers=("visual", "audio_tower"),
    language="model",
)
