"""Block mask: the tree of a packed row for FlexAttention (arXiv 2412.05496), from the ranges of keys its tokens see.

`create_block_mask` holds a [T, T] mask, or compiles one for every new length; this counts pairs in [T, T / BLOCK].
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.attention.flex_attention import BlockMask

BLOCK = 128
"""Queries, and keys, of a block."""


def block_mask(first_T: torch.Tensor, split_T: torch.Tensor, own_T: torch.Tensor) -> BlockMask:
    """A token sees the keys from `first` to before `split`, and from `own` to itself; int32, on the row's device."""

    def sees(batch: Any, head: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        of_prompt = (key >= first_T[query]) & (key < split_T[query])
        return of_prompt | ((key >= own_T[query]) & (key <= query))

    seen_QK, tokens = _seen_pairs(first_T, split_T, own_T), len(own_T)
    blocks = (*_listed((seen_QK > 0) & (seen_QK < BLOCK**2)), *_listed(seen_QK == BLOCK**2))
    return BlockMask.from_kv_blocks(*blocks, BLOCK_SIZE=BLOCK, mask_mod=sees, seq_lengths=(tokens, tokens))


def _seen_pairs(first_T: torch.Tensor, split_T: torch.Tensor, own_T: torch.Tensor) -> torch.Tensor:
    """[Q, K]: how many pairs (query, key it sees) each block has."""
    token_T = torch.arange(len(own_T), dtype=torch.int32, device=own_T.device)
    start_K = token_T[::BLOCK]

    def overlap(from_T: torch.Tensor, to_T: torch.Tensor) -> torch.Tensor:
        stop_TK = torch.minimum(to_T[:, None], start_K + BLOCK)
        return (stop_TK - torch.maximum(from_T[:, None], start_K)).clamp_(min=0)

    seen_TK = overlap(first_T, split_T) + overlap(own_T, token_T + 1)
    padding = -len(token_T) % BLOCK
    return torch.nn.functional.pad(seen_TK, (0, 0, 0, padding)).unflatten(0, (-1, BLOCK)).sum(1)


def _listed(chosen_QK: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As a `BlockMask` has them: the number of chosen blocks in each row, and their places, followed by the others."""
    order_QK = chosen_QK.int().argsort(dim=1, descending=True, stable=True)
    return chosen_QK.sum(1, dtype=torch.int32)[None, None], order_QK.int()[None, None]
