"""Segments: attention of a tower, where a patch sees its own window or frame, and a moment of sound its own window.

    use_batched_segments(model)        the vision towers of all families, the audio towers of the Omni thinkers

With "sdpa", transformers calls the kernel once for each segment. A tower with windows of 64 patches makes 64 calls in
every layer for an image of 1024 tokens, and on a GPU the calls cost more than the attention. Here the segments of equal
length form a batch. An image has at most four lengths: whole windows, right edge, bottom edge, corner.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "vlmrl_flash_segments"
"""It holds "flash" because transformers passes all segments at once only to implementations named so."""


class Batches(NamedTuple):
    """The segments of one pass, grouped by length."""

    shapes: list[tuple[int, int]]
    """(number of segments, their length) of each batch."""
    order_N: torch.Tensor | None
    """Indices that sort the patches by batch; None if they are in that order already."""
    inverse_N: torch.Tensor | None
    """Indices that restore the order of the patches."""


def use_batched_segments(model: Any) -> None:
    """Sets the attention of this transformers model's towers to `segment_attention`, where they have segments."""
    for name in ("vision_config", "audio_config"):
        part: Any = getattr(model.config, name, None)
        if hasattr(part, "patch_size") or hasattr(part, "n_window"):
            # `set_attn_implementation` would require a flash attention package for this name.
            part._attn_implementation = NAME


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
    """Attention of N patches [1, heads, N, D] within segments; returns [1, N, heads, D].

    `cu_seq_lens_q` [segments + 1] holds the bounds of the segments.
    """
    # 1. Sort the patches so that the segments of one length are contiguous.
    shapes, order_N, inverse_N = segment_batches(cu_seq_lens_q)
    tensors = [x[0].transpose(0, 1) for x in (query, key, value)]
    if order_N is not None:
        tensors = [x[order_N] for x in tensors]
    # 2. One kernel call for each length.
    parts = zip(*(x.split([count * length for count, length in shapes]) for x in tensors), strict=True)
    out = [_attend(part, shape, scaling) for part, shape in zip(parts, shapes, strict=True)]
    # 3. Concatenate and restore the order of the patches.
    out_NHD = torch.cat(out) if len(out) > 1 else out[0]
    return (out_NHD if inverse_N is None else out_NHD[inverse_N])[None], None


def _attend(part: tuple[torch.Tensor, ...], shape: tuple[int, int], scaling: float) -> torch.Tensor:
    q, k, v = (x.unflatten(0, shape).transpose(1, 2) for x in part)
    return scaled_dot_product_attention(q, k, v, scale=scaling).transpose(1, 2).flatten(0, 1)


# The layers of a pass share two tensors of bounds, one of the windows and one of the frames, so each is computed once.
@lru_cache(maxsize=4)
def segment_batches(bounds: torch.Tensor) -> Batches:
    """Batches of the segments between `bounds` [segments + 1], on the device of the bounds."""
    lengths = bounds.diff().cpu()
    by_length = lengths.argsort(stable=True)
    distinct, counts = lengths[by_length].unique_consecutive(return_counts=True)
    shapes = list(zip(counts.tolist(), distinct.tolist(), strict=True))
    if len(shapes) == 1:
        return Batches(shapes, None, None)
    segment_N = torch.repeat_interleave(lengths)
    # `by_length.argsort()` is the rank of each segment; a stable sort keeps the patches of a segment in order.
    order_N = by_length.argsort()[segment_N].argsort(stable=True)
    return Batches(shapes, order_N.to(bounds.device), order_N.argsort().to(bounds.device))


AttentionInterface.register(NAME, segment_attention)
