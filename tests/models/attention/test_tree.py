"""Tree attention against plain masked attention, in value and gradient; FlexAttention's mask against the same."""

import pytest
import torch
from helpers.tree_masks import LONG, TREES, dense_mask, inputs, plain
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from vlmrl.models.attention.tree import Branch, Tree, flex_tree, fused_tree


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


CACHED = {"one response": (7, (5,)), "lengths differ": (30, (4, 1, 17)), "several blocks": (300, (129, 40))}
"""Prompts that have keys only, and the responses to them."""


@pytest.mark.parametrize("name", CACHED)
@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (6, 1)], ids=str)
def test_a_cached_prompt_gets_its_gradient_from_its_responses(name, heads) -> None:
    prompt, responses = CACHED[name]
    branch = Branch(prompt, responses)
    mask = dense_mask([branch])
    q, k, v = inputs(len(mask), *heads, torch.float64)
    weight = torch.randn(1, heads[0], len(mask) - prompt, 16, dtype=torch.float64)
    cached = fused_tree(q[:, :, prompt:], k, v, 0.3, Tree((branch,), cached=prompt))
    whole = plain(q, k, v, 0.3, mask)[:, :, prompt:]
    for ours, theirs in zip(
        (cached, *torch.autograd.grad((cached * weight).sum(), (q, k, v))),
        (whole, *torch.autograd.grad((whole * weight).sum(), (q, k, v))),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CACHED)
def test_flex_attention_sees_a_cached_prompt(name) -> None:
    prompt, responses = CACHED[name]
    branch = Branch(prompt, responses)
    mask = dense_mask([branch])
    q, k, v = (x.detach() for x in inputs(len(mask), 4, 2, torch.float32))
    flex = flex_tree(q[:, :, prompt:], k, v, 0.3, Tree((branch,), cached=prompt))
    torch.testing.assert_close(flex, plain(q, k, v, 0.3, mask)[:, :, prompt:], rtol=0, atol=1e-5)


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
