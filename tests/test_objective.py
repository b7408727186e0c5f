"""GRPO and DAPO by hand-computed and published numbers."""

from __future__ import annotations

import math

import pytest
import torch

from vlmrl.objectives import grpo
from vlmrl.settings import ObjectiveSettings

DEFAULT = ObjectiveSettings()


def test_advantages_are_standardised_with_the_unbiased_deviation():
    got = grpo.advantages([1.0, 0.0, 0.0, 0.0], DEFAULT)
    # mean 1/4, unbiased std 1/2
    assert got == pytest.approx([1.5, -0.5, -0.5, -0.5], abs=1e-5)


def test_dr_grpo_leaves_the_deviation_out():
    # Identity of the NFT paper's note: at pass rate p, Dr.GRPO's advantages are 1 - p and -p.
    got = grpo.advantages([1.0, 0.0, 0.0, 0.0], ObjectiveSettings(scale="none"))
    assert got == pytest.approx([0.75, -0.25, -0.25, -0.25])


def test_unscored_rollouts_have_no_part_in_the_baseline():
    got = grpo.advantages([1.0, None, 0.0], ObjectiveSettings(scale="none"))
    assert got == [0.5, None, -0.5]
    assert grpo.advantages([None, None], DEFAULT) == [None, None]
    assert grpo.advantages([None, 0.7], DEFAULT) == [None, 0.0]


def test_a_group_without_spread_has_no_advantage():
    assert grpo.advantages([1.0] * 8, DEFAULT) == [0.0] * 8


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped", "slope"),
    [
        (1.0, 1.0, -1.0, False, -1.0),
        (1.27, 1.0, -1.27, False, -1.27),
        (1.5, 1.0, -1.28, True, 0.0),  # clip-higher: 1 + 0.28
        (0.5, 1.0, -0.5, False, -0.5),  # a good token that became rare keeps its gradient
        (0.5, -1.0, 0.8, True, 0.0),  # 1 - 0.2
        (1.5, -1.0, 1.5, False, 1.5),
    ],
)
def test_clipped_surrogate(ratio: float, advantage: float, loss: float, clipped: bool, slope: float):
    logprob = torch.tensor([math.log(ratio) - 1.0], dtype=torch.float64, requires_grad=True)
    old = torch.tensor([-1.0], dtype=torch.float64)
    got = grpo.token_loss(logprob, old, torch.tensor([advantage], dtype=torch.float64), DEFAULT)
    got.loss_L.sum().backward()
    assert got.loss_L.item() == pytest.approx(loss)
    assert bool(got.clipped_L) == clipped
    assert logprob.grad is not None
    assert logprob.grad.item() == pytest.approx(slope)


def test_k3_is_zero_at_equality_and_never_negative():
    a = torch.linspace(-3, 0, 7)
    assert torch.equal(grpo.k3(a, a), torch.zeros(7))
    assert (grpo.k3(a, a.flip(0)) >= 0).all()
    # d = ln 2: 2 - ln 2 - 1
    assert grpo.k3(torch.zeros(1), torch.full((1,), math.log(2.0))).item() == pytest.approx(1 - math.log(2), abs=1e-6)


def test_kl_adds_its_weighted_estimate():
    logprob, reference = torch.zeros(1), torch.full((1,), math.log(2.0))
    settings = ObjectiveSettings(kl_coef=0.1)
    got = grpo.token_loss(logprob, logprob, torch.ones(1), settings, reference)
    assert got.loss_L.item() == pytest.approx(-1 + 0.1 * (1 - math.log(2)), abs=1e-6)


def test_token_mean_and_sequence_mean():
    lengths = [2, 6]
    assert grpo.token_weights(lengths, DEFAULT) == [1 / 8, 1 / 8]
    by_sequence = grpo.token_weights(lengths, ObjectiveSettings(aggregation="sequence"))
    assert by_sequence == [1 / 4, 1 / 12]
    for weights in (grpo.token_weights(lengths, DEFAULT), by_sequence):
        assert sum(w * n for w, n in zip(weights, lengths, strict=True)) == pytest.approx(1.0)
