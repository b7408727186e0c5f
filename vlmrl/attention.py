"""Tree attention: several prompts and their responses in one row, each response seeing [its prompt, itself].

Registered with transformers as `vlmrl_tree`, so the models run unmodified: a forward call that passes
`tree=Tree(...)` gets it, any other call gets plain attention. No masked score is ever computed between
two groups or between two responses; the only waste is padding to the longest prompt and response of a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

NAME = "vlmrl_tree"


@dataclass(frozen=True)
class Tree:
    """Where the tokens of a packed row of T belong. N prompts of at most P tokens, C responses of at most R."""

    prompts_NP: torch.Tensor
    """Row index of each prompt token; padding repeats index 0."""
    responses_CR: torch.Tensor
    """Row index of each response token; padding repeats index 0."""
    owner_C: torch.Tensor
    """Which prompt each response answers."""
    prompt_lengths_N: torch.Tensor
    place_T: torch.Tensor
    """Where each row token stands in [prompts_NP.flat, responses_CR.flat]."""

    def to(self, device: torch.device) -> Tree:
        return Tree(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def tree_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    tree: Tree | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of queries [B, heads, T, D] over keys and values [B, kv heads, T, D]; returns [B, T, heads, D]."""
    repeats = query.shape[1] // key.shape[1]
    if tree is None:
        causal = attention_mask is None and query.shape[2] > 1
        out = _attend(query, _repeat(key, repeats), _repeat(value, repeats), attention_mask, scaling, causal)
        return out.transpose(1, 2).contiguous(), None
    assert query.shape[0] == 1, "a packed row is a batch of one"
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))  # [T, heads, D]
    prompts = _prompts(q, k, v, tree, scaling, repeats)
    responses = _responses(q, k, v, tree, scaling, repeats)
    out_T = torch.cat([prompts.flatten(0, 1), responses.flatten(0, 1)])[tree.place_T]
    return out_T[None], None


def _prompts(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, tree: Tree, scaling: float, repeats: int
) -> torch.Tensor:
    q, k, v = (x[tree.prompts_NP].transpose(1, 2) for x in (q, k, v))  # [N, heads, P, D]
    # Padding stands after the real tokens, so the causal mask keeps it from every real query.
    return _attend(q, _repeat(k, repeats), _repeat(v, repeats), None, scaling, True).transpose(1, 2)


def _responses(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, tree: Tree, scaling: float, repeats: int
) -> torch.Tensor:
    prefix, length = tree.prompts_NP.shape[1], tree.responses_CR.shape[1]
    if length == 0:
        return q.new_zeros((0, 0, *q.shape[1:]))
    seen_CK = torch.cat([tree.prompts_NP[tree.owner_C], tree.responses_CR], dim=1)
    real_CP = torch.arange(prefix, device=q.device) < tree.prompt_lengths_N[tree.owner_C, None]
    causal_RR = torch.ones(length, length, dtype=torch.bool, device=q.device).tril()
    mask = torch.cat([real_CP[:, None].expand(-1, length, -1), causal_RR.expand(len(seen_CK), -1, -1)], dim=2)
    q = q[tree.responses_CR].transpose(1, 2)  # [C, heads, R, D]
    k, v = (_repeat(x[seen_CK].transpose(1, 2), repeats) for x in (k, v))  # [C, heads, P + R, D]
    return _attend(q, k, v, mask[:, None], scaling, False).transpose(1, 2)


def _attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None, scaling: float, causal: bool
) -> torch.Tensor:
    if q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=scaling)
    # On CPU the fused kernel's backward costs several times the two products at these lengths.
    scores = torch.matmul(q, k.transpose(-1, -2)) * scaling
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril(k.shape[2] - q.shape[2])
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min) if mask.dtype == torch.bool else scores + mask
    return torch.matmul(scores.softmax(-1, dtype=torch.float32).to(q.dtype), v)


def _repeat(x: torch.Tensor, repeats: int) -> torch.Tensor:
    """[B, kv heads, T, D] -> [B, heads, T, D]."""
    return x if repeats == 1 else x.repeat_interleave(repeats, dim=1)


AttentionInterface.register(NAME, tree_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
