"""What an objective must survive: huge ratios, rounding, empty responses, ties, masks that leave nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers.objective_cases import group, make_update, rollout, settings_of

from vlmrl import catalog
from vlmrl.config.objective import ObjectiveSettings
from vlmrl.objectives import Response, Tokens
from vlmrl.objectives.guide import Settings as GuideSettings
from vlmrl.objectives.guide import hint_gamma
from vlmrl.train.divergence import ESTIMATES
from vlmrl.train.objective import Objective, advantages

PRESETS = catalog.names("objectives")


def masked(objective: Objective, groups: list[Any], logprobs: list[float], entropies: list[float] | None = None):
    """The tokens of an update in float32, and the leaf that holds their logprobs."""
    responses = objective.responses(groups)
    logprob_L = torch.tensor(logprobs, requires_grad=True)
    tokens = objective.tokens(responses, logprob_L, torch.tensor(entropies or [1.0] * len(logprobs)))
    objective.set_masks(responses, tokens if objective.needs_scoring_pass(responses) else None)
    return tokens, logprob_L


def slopes(objective: Objective, tokens: Tokens, logprob_L: torch.Tensor, reference_L: torch.Tensor | None = None):
    loss, _ = objective.loss(tokens, reference_L)
    loss.backward()
    assert logprob_L.grad is not None
    return loss.item(), logprob_L.grad.tolist()


# --- numbers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_no_ratio_overflows(preset, tmp_path):
    """Tokens that became e^199 times as likely, or as unlikely, right and wrong, sampled with and without a hint."""
    objective = Objective(settings_of(preset, tmp_path))
    ends = [rollout("a", [-200.0]), rollout("b", [-1.0])]
    hints = [rollout("a", [-200.0], kind="hint"), rollout("b", [-1.0], kind="hint")]
    groups = [group(rollouts, scores) for rollouts in (ends, hints) for scores in ([1.0, 0.0], [0.0, 1.0])]
    tokens, logprob_L = masked(objective, groups, [-1.0, -200.0] * 4)
    for response in tokens.responses:  # as in a later update, if the preset's ratio is to the learner's own policy
        response.old_T = response.behaviour_T
    tokens = objective.tokens(tokens.responses, logprob_L, tokens.entropy_L)
    loss, gradient = slopes(objective, tokens, logprob_L, torch.tensor([-200.0, -1.0] * 4))
    assert all(map(math.isfinite, (loss, *gradient)))


def test_the_estimates_of_a_large_kl_are_finite():
    policy = torch.tensor([-1.0, -200.0], requires_grad=True)
    for estimate in ESTIMATES.values():
        value = estimate(policy, torch.tensor([-200.0, -1.0]))
        (slope,) = torch.autograd.grad(value.sum(), policy)
        assert value.isfinite().all()
        assert slope.isfinite().all()


@pytest.mark.parametrize("preset", PRESETS)
def test_float32_gives_the_gradient_of_float64(preset, tmp_path):
    update, objective = make_update(4), Objective(settings_of(preset, tmp_path))
    responses, tokens, logprob_L, entropy_L, reference_L = update.tokens(objective)
    reference = reference_L if objective.settings.kl_coef else None
    objective.loss(tokens, reference)[0].backward()
    single_L = logprob_L.detach().float().requires_grad_()
    tokens = objective.tokens(responses, single_L, entropy_L.detach().float())
    objective.loss(tokens, None if reference is None else reference.float())[0].backward()
    assert logprob_L.grad is not None
    assert single_L.grad is not None
    np.testing.assert_allclose(single_L.grad.numpy(), logprob_L.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_the_bound_of_nft_is_exact_far_above_it():
    """p 0.98 and r e^8: (1 - p r) / (1 - p) is -146,018, bounded by 1, whose logarithm is 0; slope p r / (1 - p)."""
    objective = Objective(ObjectiveSettings(preset="nft", nft={"weight": "one"}, length_divisor=1.0))
    rollouts = [rollout("x", [-9.0]) for _ in range(64)]
    tokens, logprob_L = masked(objective, [group(rollouts, [1.0] * 63 + [0.0])], [-9.0] * 63 + [-1.0])
    loss, gradient = slopes(objective, tokens, logprob_L)
    assert loss == 0
    assert gradient[-1] == pytest.approx(0.98 * math.exp(8) / 0.02, rel=1e-5)


@pytest.mark.parametrize("score", [0.1, 0.7, 1 / 3])
def test_equal_scores_have_no_advantage_however_their_mean_is_rounded(score):
    settings = ObjectiveSettings(epsilon=1e-20)
    for count in range(1, 20):
        assert advantages([score] * count, settings) == [0.0] * count


@pytest.mark.parametrize("baseline", ["mean", "leave_one_out"])
@pytest.mark.parametrize("scale", ["std", "none"])
def test_a_group_of_one_has_no_advantage(baseline, scale):
    settings = ObjectiveSettings(baseline=baseline, scale=scale)
    assert advantages([1.0], settings) == advantages([0.3], settings) == [0.0]
    assert advantages([None, 1.0, None], settings) == [None, 0.0, None]


# --- responses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_an_empty_response_counts_in_the_baseline_alone(preset, tmp_path):
    objective = Objective(settings_of(preset, tmp_path))
    rollouts = [rollout("", []), rollout("ab", [-1.0, -1.0]), rollout("c", [-1.0])]
    tokens, logprob_L = masked(objective, [group(rollouts, [0.5, 1.0, 0.0])], [-1.0] * 3)
    assert [r.index for r in tokens.responses] == [1, 2]
    assert [r.advantage for r in tokens.responses] == advantages([0.5, 1.0, 0.0], objective.settings)[1:]
    loss, gradient = slopes(objective, tokens, logprob_L, torch.full((3,), -1.2))
    assert all(map(math.isfinite, (loss, *gradient)))


def test_an_empty_update_needs_no_scoring_pass():
    objective = Objective(ObjectiveSettings(preset="high_entropy", overlong_filter=True))
    cut = [rollout("ab", [-1.0, -1.0], finish="length") for _ in range(2)]
    responses = objective.responses([group(cut, [1.0, 0.0])])
    assert responses == []
    assert not objective.needs_scoring_pass(responses)


def test_the_quantile_of_more_tokens_than_torch_can_sort():
    """16.8 million hinted tokens: half with a ratio of 1, half with one of e."""
    size = 2**24 + 2
    (response,) = Objective(ObjectiveSettings()).responses([group([rollout("h", [-1.0], kind="hint")], [1.0])])
    zero_L = torch.zeros(1).expand(size)
    logprob_L = torch.zeros(size)
    logprob_L[::2] = 1.0
    trained_L, response_L = torch.ones(1, dtype=torch.bool).expand(size), torch.zeros(1, dtype=torch.long).expand(size)
    tokens = Tokens([response], response_L, logprob_L, zero_L, zero_L, zero_L, trained_L, zero_L, zero_L, chr)
    assert hint_gamma(tokens, GuideSettings(quantile=0.4)) == 1
    assert hint_gamma(tokens, GuideSettings(quantile=0.6)) == pytest.approx(math.e)


# --- masks ----------------------------------------------------------------------------------------------------


def kept(responses: list[Response]) -> list[list[bool]]:
    return [r.kept_T.tolist() for r in responses]


@pytest.mark.parametrize(("scope", "count"), [("update", 3), ("group", 4)])
def test_ties_keep_no_more_than_the_share(scope, count, tmp_path):
    """ceil(0.2 * 12), or 2 ceil(0.2 * 6), of tokens that are all as uncertain."""
    objective = Objective(settings_of("high_entropy", tmp_path, high_entropy={"scope": scope}))
    rollouts = [rollout("abcd", [-1.0] * 4), rollout("ef", [-1.0] * 2)]
    others = [rollout("ghi", [-1.0] * 3), rollout("jkl", [-1.0] * 3)]
    tokens, _ = masked(objective, [group(rollouts, [1, 0]), group(others, [1, 0])], [-1.0] * 12)
    assert sum(map(sum, kept(list(tokens.responses)))) == count


def test_a_response_without_a_kept_token_has_no_loss_and_no_weight(tmp_path):
    """The mean over rollouts goes on counting it."""
    objective = Objective(settings_of("high_entropy", tmp_path, aggregation="sequence", scale="none"))
    rollouts = [rollout("abc", [-1.0] * 3), rollout("de", [-1.0] * 2)]
    tokens, logprob_L = masked(objective, [group(rollouts, [1.0, 0.0])], [-1.0] * 5, [9.0, 1.0, 1.0, 1.0, 1.0])
    assert kept(list(tokens.responses)) == [[True, False, False], [False, False]]
    assert [r.policy_weight for r in tokens.responses] == [0.5, 0.0]
    assert slopes(objective, tokens, logprob_L)[1] == pytest.approx([-0.25, 0, 0, 0, 0])


# --- a method without what it adds ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "neutral", "without"),
    [
        ("high_entropy", {"high_entropy": {"share": 1.0}}, {"token_mask": "none"}),
        ("hicra", {"hicra": {"alpha": 0.0}}, {"token_weight": ()}),
        ("rl_plus", {"rl_plus": {"exploration_power": 0.0}}, {"token_weight": ()}),
        (
            "ma_rlhf",
            {"ma_rlhf": {"gae_lambda": 1.0}, "kl_coef": 0.0},
            {"ma_rlhf": {"macro": "none", "gae_lambda": 1.0}, "kl_coef": 0.0},
        ),
        ("ma_rlhf", {"ma_rlhf": {"length": 1}}, {"ma_rlhf": {"macro": "none"}}),
        ("decoupled_ppo", {"tis": {"cap": 1e9}}, {"tis": {"correction": "mask", "cap": 1e9}}),
        ("visionary_r1", {"visionary_r1": {"kl_schedule": "constant"}}, {"preset": "grpo", "epsilon": 1e-4}),
        ("one_shot_rlvr", {"kl_coef": 0.0, "entropy_coef": 0.0}, {"preset": "dapo", "overlong_filter": False}),
    ],
    ids=str,
)
def test_a_method_without_its_addition_is_its_base(preset, neutral, without, tmp_path):
    update, results = make_update(5), []
    for changes in ({"preset": preset, **neutral}, {"preset": preset, **without}):
        objective = Objective(settings_of(changes.pop("preset"), tmp_path, **{"clip_high": 0.2, **changes}))
        _, tokens, logprob_L, _, reference_L = update.tokens(objective)
        loss, gradient = slopes(objective, tokens, logprob_L, reference_L if objective.settings.kl_coef else None)
        results.append((loss, *gradient))
    assert results[0] == pytest.approx(results[1], rel=1e-9)
    assert any(results[0])


def test_nft_without_its_wrong_rollouts_is_fine_tuning_on_the_right_ones():
    """Negative weight 0: the gradient of the log-likelihood of right responses by their prompt's weight."""
    objective = Objective(ObjectiveSettings(preset="nft", nft={"negative": 0.0}, length_divisor=1.0))
    rollouts = [rollout(text, [-1.0]) for text in "abcd"]
    tokens, logprob_L = masked(objective, [group(rollouts, [1.0, 0.0, 0.0, 0.0])], [-0.5, -2.0, -1.0, -3.0])
    assert slopes(objective, tokens, logprob_L)[1] == pytest.approx([-0.75, 0, 0, 0])


def test_loop_clips_to_the_inverse_of_its_upper_bound():
    settings = ObjectiveSettings(preset="loop")
    assert 1 - settings.clip_low == pytest.approx(1 / (1 + settings.clip_high))
