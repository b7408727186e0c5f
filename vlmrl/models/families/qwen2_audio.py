"""Qwen2-Audio: hears sounds of up to 30 s, which its encoder takes padded to that length; 25 tokens a second.

arXiv 2407.10759. Positions are those of plain text. A sound of a single token is refused, because transformers 5.19
takes a placeholder that stands alone for one that is not yet expanded, and computes other positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vlmrl.models.family import Family, Kind, frame_mask, in_order, with_lengths

if TYPE_CHECKING:
    from torch import Tensor


def _rows(sizes: Tensor) -> Tensor:
    """A row for each sound, padded to the window."""
    return sizes.new_ones(len(sizes))


def _tokens(sizes: Tensor, config: Any) -> Tensor:
    """Tokens of sounds with these numbers of frames: the encoder halves them twice."""
    return ((sizes - 1) // 2 + 1 - 2) // 2 + 1


def _hidden_states(model: Any, **inputs: Any) -> Tensor:
    inputs.pop("mm_token_type_ids", None)
    inputs["position_ids"] = inputs["position_ids"][0]  # the three rows are the same
    if (lengths := inputs.pop("audio_feature_lengths", None)) is not None:
        inputs["feature_attention_mask"] = frame_mask(lengths, inputs["input_features"].shape[-1])
    return model.model(**inputs).last_hidden_state


FAMILY = Family(
    coords="relative_1000",
    times="none",
    kinds=(Kind("audio", "input_features", "audio_feature_lengths", rows=_rows, tokens=_tokens, fewest=2),),
    auto="AutoModelForMultimodalLM",
    positions=in_order,
    processed=with_lengths,
    hidden_states=_hidden_states,
    towers=("model.audio_tower", "model.multi_modal_projector"),
    whole_window=True,
)
