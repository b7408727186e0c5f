"""Block mask: the tree of a packed row for FlexAttention (arXiv 2412.05496), from the ranges of keys its tokens see.

`create_block_mask` builds a [T, T] mask, or compiles one for every new length. Counting the visible pairs of each block
takes only [T, T / BLOCK].
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.attention.flex_attention import BlockMask

BLOCK = 128
"""Queries in a block, and keys in a block."""


def block_mask(first_T: torch.Tensor, split_T: torch.Tensor, own_T: torch.Tensor, keys: int) -> BlockMask:
    """The mask in which token t sees the keys [first, split) of its prompt and the keys [own, t] of its response.

    The T queries are the last tokens of the `keys`. The bounds are int32 and on the device of the row.
    """
    cached = keys - len(own_T)

    def sees(batch: Any, head: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        in_prompt = (key >= first_T[query]) & (key < split_T[query])
        return in_prompt | ((key >= own_T[query]) & (key <= query + cached))

    seen_QK = _seen_pairs(first_T, split_T, own_T, keys)
    # FlexAttention calls `sees` inside partial blocks only; it computes full blocks without a mask and skips the rest.
    partial, full = _block_list((seen_QK > 0) & (seen_QK < BLOCK**2)), _block_list(seen_QK == BLOCK**2)
    return BlockMask.from_kv_blocks(*partial, *full, BLOCK_SIZE=BLOCK, mask_mod=sees, seq_lengths=(len(own_T), keys))


def _seen_pairs(first_T: torch.Tensor, split_T: torch.Tensor, own_T: torch.Tensor, keys: int) -> torch.Tensor:
    """Number of pairs (query, key that it sees) in each block [Q, K]."""
    # 1. For each token, the overlap of its two ranges with every block of keys: no [T, T] mask exists at any time.
    token_T = torch.arange(keys - len(own_T), keys, dtype=torch.int32, device=own_T.device)
    start_K = torch.arange(0, keys, BLOCK, dtype=torch.int32, device=own_T.device)

    def overlap(from_T: torch.Tensor, to_T: torch.Tensor) -> torch.Tensor:
        stop_TK = torch.minimum(to_T[:, None], start_K + BLOCK)
        return (stop_TK - torch.maximum(from_T[:, None], start_K)).clamp_(min=0)

    seen_TK = overlap(first_T, split_T) + overlap(own_T, token_T + 1)
    # 2. The sum over the queries of a block; the last block is padded with queries that see nothing.
    padding = -len(token_T) % BLOCK
    return torch.nn.functional.pad(seen_TK, (0, 0, 0, padding)).unflatten(0, (-1, BLOCK)).sum(1)


def _block_list(chosen_QK: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Input of a `BlockMask`: the number of chosen blocks in each row, and the indices of all blocks, chosen first."""
    order_QK = chosen_QK.int().argsort(dim=1, descending=True, stable=True)
    return chosen_QK.sum(1, dtype=torch.int32)[None, None], order_QK.int()[None, None]
