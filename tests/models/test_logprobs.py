"""Chunked logprobs: right in value and gradient, whatever the chunk."""

from __future__ import annotations

import pytest
import torch
from helpers.packed_rows import make_items

from vlmrl.config.model import ModelSettings
from vlmrl.models import logprobs
from vlmrl.models.packing import pack
from vlmrl.models.policy import Policy


@pytest.mark.parametrize("chunk", [2, 100])
def test_value_and_gradient_in_float64(monkeypatch, chunk):
    monkeypatch.setattr(logprobs, "CHUNK", chunk)
    torch.manual_seed(0)
    hidden = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
    target, banned = torch.tensor([0, 1, 2, 3, 6]), torch.tensor([4, 5])

    def both(h: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return logprobs.token_scores(h, w, target, banned, 0.7)

    assert torch.autograd.gradcheck(both, (hidden, weight))
    allowed = ((hidden @ weight.T) / 0.7)[:, [0, 1, 2, 3, 6]].log_softmax(-1)
    logprob, entropy = both(hidden, weight)
    torch.testing.assert_close(logprob, allowed.diagonal())
    torch.testing.assert_close(entropy, -(allowed.exp() * allowed).sum(-1))


def test_in_bfloat16_operands_are_rounded_and_logits_are_not():
    """Exact products of rounded operands: what is left is the rounding of float32, far below bfloat16's of 4e-3."""
    torch.manual_seed(0)
    hidden, weight = torch.randn(5, 64), torch.randn(97, 64)
    target, banned = torch.tensor([0, 1, 2, 3, 96]), torch.tensor([4, 5])
    found = logprobs.token_scores(hidden, weight, target, banned, compute=torch.bfloat16)
    exact = logprobs.token_scores(hidden.bfloat16().double(), weight.bfloat16().double(), target, banned)
    for ours, theirs in zip(found, exact, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=1e-4)


def test_banned_ids_have_no_mass():
    banned_BV = logprobs.log_distribution(torch.zeros(2, 6), torch.tensor([1, 3]), 1.0)
    assert torch.isinf(banned_BV[:, [1, 3]]).all()
    assert torch.allclose(banned_BV.exp().sum(-1), torch.ones(2))


def test_entropy_of_a_uniform_distribution(model_folder, mixed_samples):
    policy = Policy.load(ModelSettings(path=str(model_folder("qwen2_5_vl")), device="cpu"))
    with torch.no_grad():
        policy.core.lm_head.weight.zero_()
    (row,) = pack(make_items(policy, mixed_samples[:1]), 10_000)
    scores = logprobs.score_row(policy, row)
    allowed = policy.core.config.text_config.vocab_size - len(policy.formatter.placeholder_ids)
    expected = torch.tensor(float(allowed)).log()
    assert torch.allclose(scores.entropy_L, expected.expand_as(scores.entropy_L))
    assert torch.allclose(scores.logprob_L, -expected.expand_as(scores.logprob_L))


def test_the_chunk_size_changes_nothing(model_folder, mixed_samples, monkeypatch):
    policy = Policy.load(ModelSettings(path=str(model_folder("qwen2_5_vl")), device="cpu"))
    (row,) = pack(make_items(policy, mixed_samples), 10_000)
    found = []
    for chunk in (3, 10_000):
        monkeypatch.setattr(logprobs, "CHUNK", chunk)
        scores = logprobs.score_row(policy, row)
        scores.logprob_L.sum().backward()
        gradient = policy.core.lm_head.weight.grad.clone()
        policy.model.zero_grad()
        found.append((scores.logprob_L.detach(), scores.entropy_L, gradient))
    for few, many in zip(*found, strict=True):
        assert torch.allclose(few, many, atol=1e-4, rtol=1e-4)
