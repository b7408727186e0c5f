"""Tree attention against plain masked attention, in value and gradient; FlexAttention's mask against the same."""

import pytest
import torch
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from vlmrl.models.attention.tree import Branch, Tree, flex_tree, fused_tree

TREES = {
    "one group": [Branch(7, (5, 5, 5))],
    "lengths differ": [Branch(7, (5, 1, 9)), Branch(30, (2, 17)), Branch(1, (3,))],
    "empty responses": [Branch(4, (0, 3, 0)), Branch(6, (0,)), Branch(3, ())],
    "no response": [Branch(9, ()), Branch(2, ())],
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


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (6, 1)], ids=str)
def test_fused_equals_masked_attention_in_value_and_gradient(name, heads) -> None:
    branches = TREES[name]
    mask = dense_mask(branches)
    tensors = inputs(len(mask), *heads, torch.float64)
    weight = torch.randn(1, heads[0], len(mask), 16, dtype=torch.float64)
    results = []
    for out in (fused_tree(*tensors, 0.3, Tree(tuple(branches))), plain(*tensors, 0.3, mask)):
        grads = torch.autograd.grad((out * weight).sum(), tensors)
        results.append((out, *grads))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_gradient_is_that_of_finite_differences() -> None:
    tree = Tree((Branch(3, (2, 1)), Branch(2, (3,))))
    tensors = inputs(11, 2, 1, torch.float64)
    assert torch.autograd.gradcheck(lambda q, k, v: fused_tree(q, k, v, 0.3, tree), tensors)


def test_padding_of_short_responses_stays_finite_at_extreme_scores() -> None:
    branches = [Branch(4, (2, 40))]
    tensors = inputs(46, 4, 2, torch.float32, size=60.0)
    out = fused_tree(*tensors, 1.0, Tree(tuple(branches)))
    grads = torch.autograd.grad(out.sum(), tensors)
    assert all(torch.isfinite(x).all() for x in (out, *grads))
    torch.testing.assert_close(out, plain(*tensors, 1.0, dense_mask(branches)))


LONG = {
    "several blocks": [Branch(300, (40, 129, 7)), Branch(1, (260,)), Branch(130, ())],
    "whole blocks": [Branch(256, (128, 128))],
}


@pytest.mark.parametrize("name", TREES | LONG)
def test_flex_attention_sees_the_same_tree(name) -> None:
    branches = (TREES | LONG)[name]
    tensors = inputs(len(dense_mask(branches)), 4, 2, torch.float32)
    with torch.no_grad():
        flex = flex_tree(*(x.detach() for x in tensors), 0.3, Tree(tuple(branches)))
    torch.testing.assert_close(flex, plain(*tensors, 0.3, dense_mask(branches)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", TREES | LONG)
def test_the_block_mask_is_the_one_torch_makes_of_the_dense_mask(name) -> None:
    branches = (TREES | LONG)[name]
    dense_TT = dense_mask(branches)
    tokens = len(dense_TT)
    ours = Tree(tuple(branches)).block_mask
    theirs = create_block_mask(lambda b, h, q, k: dense_TT[q, k], None, None, tokens, tokens, device="cpu")
    assert ours.seq_lengths == theirs.seq_lengths
    for kind in ("kv", "full_kv", "q", "full_q"):
        count, listed = getattr(theirs, f"{kind}_num_blocks"), getattr(theirs, f"{kind}_indices")
        counted = torch.arange(listed.shape[-1]) < count[..., None]  # what comes after these is never read
        assert torch.equal(getattr(ours, f"{kind}_num_blocks"), count)
        assert torch.equal(getattr(ours, f"{kind}_indices")[counted], listed[counted])


def test_rows_of_any_length_compile_twice() -> None:
    graphs = []

    def count(graph: torch.fx.GraphModule, example: list[torch.Tensor]):
        graphs.append(graph)
        return graph.forward

    attend = torch.compile(flex_attention, fullgraph=True, backend=count)
    with torch.no_grad():
        for branches in ([Branch(200, (9, 90))], *LONG.values(), [Branch(150, (5,)), Branch(140, (1, 2, 3))]):
            tree = Tree(tuple(branches))
            q, k, v = (x.detach() for x in inputs(tree.bounds[-1][2], 4, 2, torch.float32))
            attend(q, k, v, block_mask=tree.block_mask, enable_gqa=True)
    assert len(graphs) == 2
