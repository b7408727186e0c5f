"""Value and gradient of every preset and convention, in float64, against the plain-numpy reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers.objective_cases import make_update, settings_of
from helpers.objective_reference import update_loss

from vlmrl import catalog
from vlmrl.train.objective import Objective

CONVENTIONS: list[tuple[str, dict[str, Any]]] = [
    ("grpo", {"scale": "biased_std", "dual_clip": 1.2}),
    ("grpo", {"kl": "k1"}),
    ("grpo", {"kl": "k2", "visionary_r1": {"kl_schedule": "cosine"}}),
    ("dapo", {"upper_clip": "absolute", "clip_high": 1.1}),
    ("dapo", {"aggregation": "sequence_sum", "length_divisor": 7.0}),
    ("gspo", {"clip_low": 0.1, "clip_high": 0.1}),
    ("cispo", {"clip_low": 0.2, "upper_clip": "one_plus", "clip_high": 0.2}),
    ("pcurl", {"pcurl": {"until": [0.2, 0.5]}}),
    ("pcurl", {"pcurl": {"until": [0.1, 0.2]}}),
    ("nft", {"nft": {"weight": "one", "negative": 0.5}}),
    ("nft", {"nft": {"weight": "odds"}}),
    ("high_entropy", {"high_entropy": {"denominator": "trained"}}),
    ("high_entropy", {"high_entropy": {"scope": "group"}, "entropy_coef": 0.01, "kl_coef": 0.1}),
    ("ma_rlhf", {"ma_rlhf": {"macro": "none"}}),
    ("ma_rlhf", {"ma_rlhf": {"macro": "random"}, "kl_coef": 0.0}),
    ("dapo", {"token_weight": ["duration_aware", "rl_plus"]}),
    ("decoupled_ppo", {"tis": {"cap": 1.0}}),
]


@pytest.mark.parametrize(
    ("preset", "changes"), [(name, {}) for name in catalog.names("objectives")] + CONVENTIONS, ids=str
)
def test_value_and_gradient_are_those_of_the_reference(preset, changes, tmp_path):
    update, settings = make_update(), settings_of(preset, tmp_path, **changes)
    objective = Objective(settings)
    responses, tokens, logprob_L, entropy_L, reference_L = update.tokens(objective)
    assert {(r.rollout.kind) for r in responses} == {"policy", "hint", "demo"}
    loss, _ = objective.loss(tokens, reference_L if settings.kl_coef else None, progress=0.3)
    loss.backward()
    value, by_logprob, by_entropy = update_loss(update, settings, progress=0.3)
    keys = [(r.group, r.index) for r in responses]
    assert keys == list(by_logprob)
    assert loss.item() == pytest.approx(value, rel=1e-9)
    gradient = np.concatenate([by_logprob[k] for k in keys])
    assert np.abs(gradient).max() > 0
    assert logprob_L.grad is not None
    np.testing.assert_allclose(logprob_L.grad.numpy(), gradient, rtol=1e-6, atol=1e-12)
    bonus = np.concatenate([by_entropy[k] for k in keys])
    got = torch.zeros_like(entropy_L) if entropy_L.grad is None else entropy_L.grad
    np.testing.assert_allclose(got.numpy(), bonus, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("preset", ["grpo", "gspo", "sapo", "guide"])
def test_losses_without_a_stopped_gradient_agree_with_finite_differences(preset, tmp_path):
    """Of our own value; the other losses are defined by a gradient that is not their value's."""
    update, settings = make_update(1), settings_of(preset, tmp_path, kl_coef=0.0)
    update.groups = update.groups[:3]
    objective = Objective(settings)
    _, tokens, logprob_L, entropy_L, _ = update.tokens(objective)
    loss, _ = objective.loss(tokens)
    loss.backward()
    assert logprob_L.grad is not None
    for place in range(len(logprob_L)):
        ends = []
        for sign in (1, -1):
            moved = logprob_L.detach().clone()
            moved[place] += sign * 1e-6
            ends.append(objective.loss(objective.tokens(tokens.responses, moved, entropy_L))[0].item())
        assert logprob_L.grad[place].item() == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("kind", ["clamp", "mask"])
def test_the_correction_is_old_over_behaviour(kind, tmp_path):
    """And it changes no denominator."""
    update = make_update(2)
    objective = Objective(settings_of("decoupled_ppo", tmp_path, tis={"correction": kind, "cap": 1.1}))
    plain = Objective(settings_of("decoupled_ppo", tmp_path, tis={"correction": "none"}))
    _, tokens, logprob_L, _, _ = update.tokens(objective)
    objective.loss(tokens)[0].backward()
    _, without, plain_L, _, _ = update.tokens(plain)
    plain.loss(without)[0].backward()
    assert logprob_L.grad is not None
    assert plain_L.grad is not None
    seen = set()
    for r, got, base in zip(tokens.responses, tokens.split(logprob_L.grad), tokens.split(plain_L.grad), strict=True):
        if r.rollout.kind != "policy":
            np.testing.assert_allclose(got.numpy(), base.numpy())
            continue
        log = update.proximal[r.group, r.index] - np.array(r.rollout.logprobs)
        weight = np.minimum(np.exp(log), 1.1) if kind == "clamp" else np.where(np.exp(log) > 1.1, 0, np.exp(log))
        np.testing.assert_allclose(got.numpy(), base.numpy() * weight, rtol=1e-6)
        seen |= set((np.exp(log) > 1.1).tolist())
    assert seen == {True, False}
