"""Tree attention: several prompts and their responses in one row. A response sees its own prompt and itself.

It is registered with transformers as `vlmrl_tree`, so the models run unmodified. A forward call with `tree=Tree(...)`
uses it, a call with another `Attends` (a decoding, a pass of a fork) has attention of its own, and any other call gets
plain attention.

On CPU the three kinds of blocks (prompt on itself, responses on their prompt, response on itself) go through the fused
kernel one by one. Their results are merged by their log-sum-exp: the decomposition of FlashAttention (arXiv 2205.14135,
section 3.1), whose backward pass needs only the merged output. No score of two tokens that may not see each other is
computed, and no score is stored. On CUDA it is FlexAttention (arXiv 2412.05496) with the tree as its block mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate, pairwise
from typing import Any, Protocol

import torch
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from vlmrl.models.attention.block_mask import block_mask

NAME = "vlmrl_tree"


_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class Attends(Protocol):
    """The argument `tree` of a forward call."""

    def attend(
        self, module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """Attention of a layer's queries [B, heads, T, D] over keys and values [B, kv heads, T, D]: [B, T, heads, D].

        `module.layer_idx` is the number of the layer.
        """
        ...


@dataclass(frozen=True)
class Branch:
    """Lengths, in tokens of the row, of a prompt and of its responses, which follow it without a gap."""

    prompt: int
    responses: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Tree:
    """The structure of a packed row of T tokens: its branches in their order."""

    branches: tuple[Branch, ...]
    device: torch.device | str = "cpu"
    cached: int = 0
    """Leading tokens that are keys only, because another pass has computed them: none, or the prompt of one branch."""

    def to(self, device: torch.device) -> Tree:
        return Tree(self.branches, device, self.cached)

    def attend(
        self, module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """As `Attends.attend`, for a batch of one row."""
        assert query.shape[0] == 1, "a packed row is a batch of one"
        function = flex_tree if query.is_cuda else fused_tree
        return function(query, key, value, scaling, self).transpose(1, 2).contiguous()

    def queries(self, tokens: slice) -> slice:
        """The place of these tokens among the queries."""
        return slice(max(0, tokens.start - self.cached), max(0, tokens.stop - self.cached))

    @cached_property
    def bounds(self) -> list[tuple[int, int, int]]:
        """(start of the prompt, start of the responses, end) of each branch."""
        bounds, start = [], 0
        for branch in self.branches:
            split = start + branch.prompt
            bounds.append((start, split, split + sum(branch.responses)))
            start = bounds[-1][2]
        return bounds

    @cached_property
    def responses(self) -> list[slice]:
        """The tokens in the row of each response that is not empty."""
        slices = []
        for (_, split, _), branch in zip(self.bounds, self.branches, strict=True):
            ends = accumulate(branch.responses, initial=split)
            slices += [slice(start, end) for start, end in pairwise(ends) if start < end]
        return slices

    @cached_property
    def block_mask(self) -> BlockMask:
        """The tree for FlexAttention."""
        ranges = self._key_ranges()
        return block_mask(*ranges[:, self.cached :], keys=ranges.shape[1])

    def _key_ranges(self) -> torch.Tensor:
        """The bounds [3, keys] of the keys that each token sees, as `block_mask` takes them."""
        # Columns: first, split, own, number of tokens with these bounds. A prompt sees itself only.
        rows = []
        for (start, split, _), branch in zip(self.bounds, self.branches, strict=True):
            rows.append((start, start, start, branch.prompt))
            own = split
            for length in branch.responses:
                rows.append((start, split, own, length))
                own += length
        table = torch.tensor(rows, dtype=torch.int32)
        return table[:, :3].repeat_interleave(table[:, 3], dim=0).T.contiguous().to(self.device)


def tree_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    tree: Attends | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of queries [B, heads, T, D] over keys and values [B, kv heads, T, D]; returns [B, T, heads, D]."""
    if tree is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    # Under autocast the rotary embedding returns float32.
    query, key = query.to(value.dtype), key.to(value.dtype)
    return tree.attend(module, query, key, value, scaling), None


def flex_tree(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, tree: Tree) -> torch.Tensor:
    """Tree attention [1, heads, T, D] by FlexAttention, compiled on CUDA."""
    attend = _compiled_flex() if q.is_cuda else flex_attention
    # By default, rows shorter than a block use the decoding kernel, which is compiled for them separately.
    options: Any = {"BACKEND": "TRITON"}
    gqa = q.shape[1] != k.shape[1]
    return attend(q, k, v, block_mask=tree.block_mask, scale=scale, enable_gqa=gqa, kernel_options=options)  # pyright: ignore[reportReturnType]


@cache
def _compiled_flex() -> Any:
    """FlexAttention, compiled twice whatever the lengths: for the first one, then with the length as a variable.

    `dynamic=True` would make the numbers of heads variables too. `fullgraph` raises past the limit of recompilations,
    where FlexAttention would otherwise run without a kernel and store all scores.
    """
    # Each type, head size, kind of pass (gradient, none, inference) and mask of one block is compiled separately.
    torch._dynamo.config.recompile_limit = 64  # pyright: ignore[reportAttributeAccessIssue]
    return torch.compile(flex_attention, fullgraph=True)


def fused_tree(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, tree: Tree) -> torch.Tensor:
    """Tree attention [1, heads, T, D] by the fused CPU kernel; there may be more keys than queries (`Tree.cached`)."""
    heads, kv_heads = q.shape[1], k.shape[1]
    repeats = heads // kv_heads
    # The kernel does not support grouped heads. Query heads that share a key head become a batch, along which the key
    # has stride 0 and is not copied.
    q = q[0].unflatten(0, (kv_heads, repeats)).transpose(0, 1)
    k, v = k.expand(repeats, -1, -1, -1), v.expand(repeats, -1, -1, -1)
    out: torch.Tensor = _FusedTree.apply(q, k, v, scale, tree)  # pyright: ignore[reportAssignmentType]
    return out.transpose(0, 1).flatten(0, 1)[None]


class _FusedTree(torch.autograd.Function):
    """Tree attention of [repeats, kv heads, T, D]. It saves the output and one log-sum-exp for each query.

    `slice`s below are places among the keys; `tree.queries` has their places among the queries.
    """

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, tree: Tree
    ) -> torch.Tensor:
        out, lse = torch.empty_like(q), None
        # 1. All tokens on the prompt of their branch: the prompt causally, its responses on the whole prompt at once.
        for start, split, end in tree.bounds:
            for part, causal in ((slice(start, split), True), (slice(split, end), False)):
                rows, prompt = tree.queries(part), slice(start, split)
                if rows.start == rows.stop:
                    continue
                out_part, lse_part = _flash(q[:, :, rows], k[:, :, prompt], v[:, :, prompt], 0.0, causal, scale=scale)
                if lse is None:
                    lse = lse_part.new_empty(q.shape[:3])
                out[:, :, rows], lse[:, :, rows] = out_part, lse_part
        assert lse is not None, "a row has at least one prompt"
        # 2. Each response on itself, merged with its part on the prompt: each part is weighted by exp(lse - total).
        for own in tree.responses:
            rows = tree.queries(own)
            own_out, own_lse = _flash(q[:, :, rows], k[:, :, own], v[:, :, own], 0.0, True, scale=scale)
            prompt_lse = lse[:, :, rows]
            total = torch.logaddexp(prompt_lse, own_lse)
            prompt_out = out[:, :, rows] * (prompt_lse - total).exp()[..., None]
            out[:, :, rows] = prompt_out + own_out * (own_lse - total).exp()[..., None]
            lse[:, :, rows] = total
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.scale, ctx.tree = scale, tree
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, out, lse = ctx.saved_tensors
        scale, tree, grad = ctx.scale, ctx.tree, grads[0]
        # Keys repeated by stride 0 still need a gradient for each repeat, so dk and dv have as many heads as q. A
        # cached prompt has no queries of its own, which would write its gradients first.
        dq = torch.empty_like(q)
        dk, dv = (q.new_zeros(k.shape) if tree.cached else torch.empty_like(q) for _ in range(2))
        # 1. Each response on itself. The kernel gets the merged output and log-sum-exp, so its probabilities are those
        # of the whole softmax and the gradients of the parts add up. These tokens are written here for the first time.
        for own in tree.responses:
            rows = tree.queries(own)
            gradient, queries, outputs, sums = (x[:, :, rows] for x in (grad, q, out, lse))
            a, b, c = _flash_backward(
                gradient, queries, k[:, :, own], v[:, :, own], outputs, sums, 0.0, True, scale=scale
            )
            dq[:, :, rows], dk[:, :, own], dv[:, :, own] = a, b, c
        # 2. All tokens on their prompt: the prompt itself writes its gradients, its responses add theirs.
        for start, split, end in tree.bounds:
            prompt = slice(start, split)
            for part, causal in ((prompt, True), (slice(split, end), False)):
                rows = tree.queries(part)
                if rows.start == rows.stop:
                    continue
                gradient, queries, outputs, sums = (x[:, :, rows] for x in (grad, q, out, lse))
                keys = k[:, :, prompt], v[:, :, prompt]
                a, b, c = _flash_backward(gradient, queries, *keys, outputs, sums, 0.0, causal, scale=scale)
                if causal:
                    dq[:, :, rows], dk[:, :, prompt], dv[:, :, prompt] = a, b, c
                else:
                    dq[:, :, rows] += a
                    dk[:, :, prompt] += b
                    dv[:, :, prompt] += c
        return dq, dk, dv, None, None


AttentionInterface.register(NAME, tree_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
