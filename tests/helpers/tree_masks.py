"""Trees of prompts and responses, and plain masked attention over them."""

import torch

from vlmrl.models.attention.tree import Branch

TREES = {
    "one group": [Branch(7, (5, 5, 5))],
    "lengths differ": [Branch(7, (5, 1, 9)), Branch(30, (2, 17)), Branch(1, (3,))],
    "empty responses": [Branch(4, (0, 3, 0)), Branch(6, (0,)), Branch(3, ())],
    "no response": [Branch(9, ()), Branch(2, ())],
}


LONG = {
    "several blocks": [Branch(300, (40, 129, 7)), Branch(1, (260,)), Branch(130, ())],
    "whole blocks": [Branch(256, (128, 128))],
}


def dense_mask(branches: list[Branch]) -> torch.Tensor:
    """Who sees whom, token by token, from the definition."""
    who = []
    for number, branch in enumerate(branches):
        who += [(number, None)] * branch.prompt
        who += [(number, i) for i, length in enumerate(branch.responses) for _ in range(length)]
    sees = [
        [k <= q and who[k][0] == who[q][0] and who[k][1] in (None, who[q][1]) for k in range(len(who))]
        for q in range(len(who))
    ]
    return torch.tensor(sees)


def inputs(
    tokens: int, heads: int, kv_heads: int, dtype: torch.dtype, size: float = 1.0, width: int = 16
) -> list[torch.Tensor]:
    torch.manual_seed(0)
    shapes = [(1, heads, tokens, width), (1, kv_heads, tokens, width), (1, kv_heads, tokens, width)]
    return [(size * torch.randn(shape, dtype=dtype)).requires_grad_() for shape in shapes]


def plain(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, mask: torch.Tensor) -> torch.Tensor:
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    return ((q @ k.transpose(-1, -2)) * scale).masked_fill(~mask, float("-inf")).softmax(-1) @ v
