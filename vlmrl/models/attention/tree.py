"""Tree attention: several prompts and their responses in one row, each response seeing [its prompt, itself].

Registered with transformers as `vlmrl_tree`, so the models run unmodified: a forward call that passes
`tree=Tree(...)` gets it, one that passes a `SharedPrefix` decodes, any other call gets plain attention.

On CPU the three kinds of blocks (prompt on itself, responses on their prompt, response on itself) go through
the fused kernel one by one, and their results are merged by their log-sum-exp (the decomposition of
FlashAttention, arXiv 2205.14135, section 3.1, and its backward, which needs only the merged output): no
score of two tokens that may not see each other is computed, and no score is held. On CUDA it is FlexAttention
(arXiv 2412.05496) with the same tree as its block mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from vlmrl.models.attention.block_mask import block_mask
from vlmrl.models.attention.shared_prefix import SharedPrefix

NAME = "vlmrl_tree"

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


@dataclass(frozen=True)
class Branch:
    """A prompt, followed in the row by its responses without a gap: numbers of row tokens."""

    prompt: int
    responses: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Tree:
    """The structure of a packed row of T tokens: its branches one after the other."""

    branches: tuple[Branch, ...]
    device: torch.device | str = "cpu"

    def to(self, device: torch.device) -> Tree:
        return Tree(self.branches, device)

    @cached_property
    def bounds(self) -> list[tuple[int, int, int]]:
        """Of each branch: where its prompt starts, where its responses start, where it ends."""
        found, start = [], 0
        for branch in self.branches:
            split = start + branch.prompt
            found.append((start, split, split + sum(branch.responses)))
            start = found[-1][2]
        return found

    @cached_property
    def own(self) -> list[slice]:
        """Of each response that is not empty: its tokens in the row."""
        found = []
        for (_, split, _), branch in zip(self.bounds, self.branches, strict=True):
            ends = accumulate(branch.responses, initial=split)
            found += [slice(start, end) for start, end in pairwise(ends) if start < end]
        return found

    @cached_property
    def block_mask(self) -> BlockMask:
        """The tree for FlexAttention."""
        return block_mask(*self._sight())

    def _sight(self) -> torch.Tensor:
        """[3, T]: the ranges of keys that each token sees, as `block_mask` takes them."""
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
    tree: Tree | SharedPrefix | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of queries [B, heads, T, D] over keys and values [B, kv heads, T, D]; returns [B, T, heads, D]."""
    if tree is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    # Under autocast the rotary embedding leaves float32.
    query, key = query.to(value.dtype), key.to(value.dtype)
    if isinstance(tree, SharedPrefix):
        return tree.attend(module, query, key, value, scaling), None
    assert query.shape[0] == 1, "a packed row is a batch of one"
    attend = flex_tree if query.is_cuda else fused_tree
    return attend(query, key, value, scaling, tree).transpose(1, 2).contiguous(), None


def flex_tree(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, tree: Tree) -> torch.Tensor:
    """[1, heads, T, D] through FlexAttention, compiled on CUDA."""
    attend = _compiled_flex() if q.is_cuda else flex_attention
    # Rows shorter than a block would otherwise go to the decoding kernel, compiled for them alone.
    options: Any = {"BACKEND": "TRITON"}
    gqa = q.shape[1] != k.shape[1]
    return attend(q, k, v, block_mask=tree.block_mask, scale=scale, enable_gqa=gqa, kernel_options=options)  # pyright: ignore[reportReturnType]


@cache
def _compiled_flex() -> Any:
    """Compiled twice for any number of lengths: for the first, and then with the length as a variable.

    Not `dynamic=True`, which makes the numbers of heads variables too. `fullgraph`, because past the limit of
    recompilations FlexAttention would go on without a kernel and hold all scores.
    """
    # Each type, head size, kind of pass (gradient, none, inference) and mask of one block counts as another.
    torch._dynamo.config.recompile_limit = 64  # pyright: ignore[reportAttributeAccessIssue]
    return torch.compile(flex_attention, fullgraph=True)


def fused_tree(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, tree: Tree) -> torch.Tensor:
    """[1, heads, T, D] through the fused CPU kernel."""
    heads, kv_heads = q.shape[1], k.shape[1]
    repeats = heads // kv_heads
    # Query heads that share a key head stand side by side in the batch, where the key is repeated by a stride of 0.
    q = q[0].unflatten(0, (kv_heads, repeats)).transpose(0, 1)
    k, v = k.expand(repeats, -1, -1, -1), v.expand(repeats, -1, -1, -1)
    out: torch.Tensor = _FusedTree.apply(q, k, v, scale, tree)  # pyright: ignore[reportAssignmentType]
    return out.transpose(0, 1).flatten(0, 1)[None]


class _FusedTree(torch.autograd.Function):
    """[repeats, kv heads, T, D]; saves the output and one log-sum-exp a query."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, tree: Tree
    ) -> torch.Tensor:
        out, lse = torch.empty_like(q), None
        for start, split, end in tree.bounds:
            for part, causal in ((slice(start, split), True), (slice(split, end), False)):
                if part.start == part.stop:
                    continue
                seen = slice(start, split)
                out_part, lse_part = _flash(q[:, :, part], k[:, :, seen], v[:, :, seen], 0.0, causal, scale=scale)
                if lse is None:
                    lse = lse_part.new_empty(q.shape[:3])
                out[:, :, part], lse[:, :, part] = out_part, lse_part
        assert lse is not None, "a row has at least one prompt"
        for own in tree.own:
            own_out, own_lse = _flash(q[:, :, own], k[:, :, own], v[:, :, own], 0.0, True, scale=scale)
            seen_lse = lse[:, :, own]
            total = torch.logaddexp(seen_lse, own_lse)
            seen_out = out[:, :, own] * (seen_lse - total).exp()[..., None]
            out[:, :, own] = seen_out + own_out * (own_lse - total).exp()[..., None]
            lse[:, :, own] = total
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.scale, ctx.tree = scale, tree
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, out, lse = ctx.saved_tensors
        scale, tree, grad = ctx.scale, ctx.tree, grads[0]
        dq, dk, dv = torch.empty_like(q), torch.empty_like(q), torch.empty_like(q)
        for own in tree.own:
            of_own = (x[:, :, own] for x in (grad, q, k, v, out, lse))
            parts = _flash_backward(*of_own, 0.0, True, scale=scale)
            for total, part in zip((dq, dk, dv), parts, strict=True):
                total[:, :, own] = part
        for start, split, end in tree.bounds:
            prompt, responses = slice(start, split), slice(split, end)
            keys = k[:, :, prompt], v[:, :, prompt]
            for part, causal in ((prompt, True), (responses, False)):
                if part.start == part.stop:
                    continue
                of_part = (x[:, :, part] for x in (out, lse))
                a, b, c = _flash_backward(grad[:, :, part], q[:, :, part], *keys, *of_part, 0.0, causal, scale=scale)
                if causal:
                    dq[:, :, prompt], dk[:, :, prompt], dv[:, :, prompt] = a, b, c
                else:
                    dq[:, :, part] += a
                    dk[:, :, prompt] += b
                    dv[:, :, prompt] += c
        return dq, dk, dv, None, None


def no_tree(text_config: Any) -> str | None:
    """Why layers of this model cannot take a tree mask; None if they can."""
    window = getattr(text_config, "sliding_window", None)
    for kind in sorted(set(getattr(text_config, "layer_types", None) or ())):
        if kind == "sliding_attention" and window is not None:
            return f"the model has sliding windows of {window} tokens"
        if kind not in ("full_attention", "sliding_attention"):
            return f"the model has layers of {kind}, which takes no tree mask"
    return None


AttentionInterface.register(NAME, tree_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
