"""Segments: attention of a vision tower, where a patch sees its own window or frame.

    use_batched_segments(model)        the towers of Qwen2-VL, Qwen2.5-VL and Qwen3-VL

With "sdpa" transformers calls the kernel once for each segment. A tower with windows of 64 patches makes 64 calls in
every layer for an image of 1024 tokens, and on a GPU the calls cost more than the attention. Here the segments of one
length are a batch: an image has four lengths at most (whole windows, right edge, bottom edge, corner).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "vlmrl_flash_segments"
"""transformers hands over all segments at once to an implementation with "flash" in its name."""


class Batches(NamedTuple):
    """The segments of a pass, sorted by length."""

    shapes: list[tuple[int, int]]
    """Number and length of the segments of each batch."""
    order_N: torch.Tensor | None
    """Patches in the order of the batches; None where that is their own."""
    back_N: torch.Tensor | None
    """Its inverse."""


def use_batched_segments(model: Any) -> None:
    """Makes the tower of this transformers model attend by batches of segments."""
    # Not by `set_attn_implementation`, which would look for a flash attention package.
    model.config.vision_config._attn_implementation = NAME


def segment_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    scaling: float,
    *,
    cu_seq_lens_q: torch.Tensor,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of N patches [1, heads, N, D] in segments that end at `cu_seq_lens_q`; returns [1, N, heads, D]."""
    shapes, order_N, back_N = batches(cu_seq_lens_q)
    tensors = [x[0].transpose(0, 1) for x in (query, key, value)]
    if order_N is not None:
        tensors = [x[order_N] for x in tensors]
    parts = zip(*(x.split([count * length for count, length in shapes]) for x in tensors), strict=True)
    out = [_attend(part, shape, scaling) for part, shape in zip(parts, shapes, strict=True)]
    out_NHD = torch.cat(out) if len(out) > 1 else out[0]
    return (out_NHD if back_N is None else out_NHD[back_N])[None], None


def _attend(part: tuple[torch.Tensor, ...], shape: tuple[int, int], scaling: float) -> torch.Tensor:
    q, k, v = (x.unflatten(0, shape).transpose(1, 2) for x in part)
    return scaled_dot_product_attention(q, k, v, scale=scaling).transpose(1, 2).flatten(0, 1)


@lru_cache(maxsize=4)  # of a pass: one for the windows, one for the frames, in all of its layers
def batches(ends: torch.Tensor) -> Batches:
    """Of segments that end at `ends` [segments + 1], on the device of the patches."""
    lengths = ends.diff().cpu()
    by_length = lengths.argsort(stable=True)
    found, counts = lengths[by_length].unique_consecutive(return_counts=True)
    shapes = list(zip(counts.tolist(), found.tolist(), strict=True))
    if len(shapes) == 1:
        return Batches(shapes, None, None)
    owner_N = torch.repeat_interleave(lengths)
    order_N = by_length.argsort()[owner_N].argsort(stable=True)
    return Batches(shapes, order_N.to(ends.device), order_N.argsort().to(ends.device))


AttentionInterface.register(NAME, segment_attention)
