"""Qwen2.5-Omni, its thinker: text, images, videos and sounds; writes boxes in pixels of the resized image.

arXiv 2503.20215. Positions count 25 for each second of sound and video. If the model hears the sound of a video, its
tokens stand between those of the frames, two seconds by two seconds.
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
    return ((sizes - 1) // 2 + 1 - 2) // 2 + 1


FAMILY = Family(
    coords="pixels",
    times="positions",
    kinds=(
        IMAGE,
        replace(VIDEO, others=("video_second_per_grid",)),
        Kind("audio", "input_features", "audio_feature_lengths", rows=frames, tokens=_tokens),
    ),
    nested="thinker_config",
    positions=rotary_of_thinker,
    processed=flat_sounds,
    hidden_states=hidden_states_of_thinker,
    towers=("visual", "audio_tower"),
    language="model",
)
