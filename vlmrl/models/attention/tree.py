"""Tree attention: several prompts and their responses in one row. A response sees its own prompt and itself.

It is registered with transformers as `vlmrl_tree`, so the models run unmodified. A forward call with `tree=Tree(...)`
uses it, a call with a `SharedPrefix` decodes, and any other call gets plain attention.

On CPU the three kinds of blocks (prompt on itself, responses on their prompt, response on itself) go through the fused
kernel one by one. Their results are merged by their log-sum-exp: the decomposition of FlashAttention (arXiv 2205.14135,
section 3.1), whose backward pass needs only the merged output. No score of two tokens that may not see each other is
computed, and no score is stored. On CUDA it is FlexAttention (arXiv 2412.05496) with the tree as its block mask.
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
    """Lengths, in tokens of the row, of a prompt and of its responses, which follow it without a gap."""

    prompt: int
    responses: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Tree:
    """The structure of a packed row of T tokens: its branches in their order."""

    branches: tuple[Branch, ...]
    device: torch.device | str = "cpu"

    def to(self, device: torch.device) -> Tree:
        return Tree(self.branches, device)

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
        return block_mask(*self._key_ranges())

    def _key_ranges(self) -> torch.Tensor:
        """The bounds [3, T] of the keys that each token sees, as `block_mask` takes them."""
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
    tree: Tree | SharedPrefix | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of queries [B, heads, T, D] over keys and values [B, kv heads, T, D]; returns [B, T, heads, D]."""
    if tree is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    # Under autocast the rotary embedding returns float32.
    query, key = query.to(value.dtype), key.to(value.dtype)
    if isinstance(tree, SharedPrefix):
        return tree.attend(module, query, key, value, scaling), None
    assert query.shape[0] == 1, "a packed row is a batch of one"
    attend = flex_tree if query.is_cuda else fused_tree
    return attend(query, key, value, scaling, tree).transpose(1, 2).contiguous(), None


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
    """Tree attention [1, heads, T, D] by the fused CPU kernel."""
    heads, kv_heads = q.shape[1], k.shape[1]
    repeats = heads // kv_heads
    # The kernel does not support grouped heads. Query heads that share a key head become a batch, along which the key
    # has stride 0 and is not copied.
    q = q[0].unflatten(0, (kv_heads, repeats)).transpose(0, 1)
    k, v = k.expand(repeats, -1, -1, -1), v.expand(repeats, -1, -1, -1)
    out: torch.Tensor = _FusedTree.apply(q, k, v, scale, tree)  # pyright: ignore[reportAssignmentType]
    return out.transpose(0, 1).flatten(0, 1)[None]


class _FusedTree(torch.autograd.Function):
    """Tree attention of [repeats, kv heads, T, D]. It saves the output and one log-sum-exp for each query."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, tree: Tree
    ) -> torch.Tensor:
        out, lse = torch.empty_like(q), None
        # 1. All tokens on the prompt of their branch: the prompt causally, its responses on the whole prompt at once.
        for start, split, end in tree.bounds:
            for part, causal in ((slice(start, split), True), (slice(split, end), False)):
                if part.start == part.stop:
                    continue
                prompt = slice(start, split)
                out_part, lse_part = _flash(q[:, :, part], k[:, :, prompt], v[:, :, prompt], 0.0, causal, scale=scale)
                if lse is None:
                    lse = lse_part.new_empty(q.shape[:3])
                out[:, :, part], lse[:, :, part] = out_part, lse_part
        assert lse is not None, "a row has at least one prompt"
        # 2. Each response on itself, merged with its part on the prompt: each part is weighted by exp(lse - total).
        for own in tree.responses:
            own_out, own_lse = _flash(q[:, :, own], k[:, :, own], v[:, :, own], 0.0, True, scale=scale)
            prompt_lse = lse[:, :, own]
            total = torch.logaddexp(prompt_lse, own_lse)
            prompt_out = out[:, :, own] * (prompt_lse - total).exp()[..., None]
            out[:, :, own] = prompt_out + own_out * (own_lse - total).exp()[..., None]
            lse[:, :, own] = total
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.scale, ctx.tree = scale, tree
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, out, lse = ctx.saved_tensors
        scale, tree, grad = ctx.scale, ctx.tree, grads[0]
        # Keys repeated by stride 0 still need a gradient for each repeat, so dk and dv have the shape of q.
        dq, dk, dv = torch.empty_like(q), torch.empty_like(q), torch.empty_like(q)
        # 1. Each response on itself. The kernel gets the merged output and log-sum-exp, so its probabilities are those
        # of the whole softmax and the gradients of the parts add up. These tokens are written here for the first time.
        for own in tree.responses:
            inputs = (x[:, :, own] for x in (grad, q, k, v, out, lse))
            parts = _flash_backward(*inputs, 0.0, True, scale=scale)
            for total, part in zip((dq, dk, dv), parts, strict=True):
                total[:, :, own] = part
        # 2. All tokens on their prompt: the prompt itself writes its gradients, its responses add theirs.
        for start, split, end in tree.bounds:
            prompt, responses = slice(start, split), slice(split, end)
            keys = k[:, :, prompt], v[:, :, prompt]
            for part, causal in ((prompt, True), (responses, False)):
                if part.start == part.stop:
                    continue
                outputs = (x[:, :, part] for x in (out, lse))
                a, b, c = _flash_backward(grad[:, :, part], q[:, :, part], *keys, *outputs, 0.0, causal, scale=scale)
                if causal:
                    dq[:, :, prompt], dk[:, :, prompt], dv[:, :, prompt] = a, b, c
                else:
                    dq[:, :, part] += a
                    dk[:, :, prompt] += b
                    dv[:, :, prompt] += c
        return dq, dk, dv, None, None


def tree_unsupported(text_config: Any) -> str | None:
    """The reason why layers of this model cannot take a tree mask; None if they can."""
    window = getattr(text_config, "sliding_window", None)
    for kind in sorted(set(getattr(text_config, "layer_types", None) or ())):
        if kind == "sliding_attention" and window is not None:
            return f"the model has sliding windows of {window} tokens"
        if kind not in ("full_attention", "sliding_attention"):
            return f"the model has layers of {kind}, which takes no tree mask"
    return None


AttentionInterface.register(NAME, tree_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
