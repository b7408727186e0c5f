"""Each published method by its own numbers, and the identities between methods."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers.objective_cases import group, make_update, rollout, settings_of

from vlmrl.config.objective import ObjectiveSettings
from vlmrl.objectives import Tokens
from vlmrl.objectives.hicra import planning, planning_pattern
from vlmrl.objectives.ma_rlhf import Settings as MacroSettings
from vlmrl.objectives.ma_rlhf import credit, macro_lengths
from vlmrl.objectives.nft import group_weight as nft_weight
from vlmrl.objectives.observe_r1 import group_weight as observe_weight
from vlmrl.objectives.pcurl import group_weight as pcurl_weight
from vlmrl.train.objective import Objective


def gradient(objective: Objective, responses, logprobs, entropies=None) -> tuple[Tokens, torch.Tensor]:
    """d loss / d logprob [L] of responses in float64."""
    logprob_L = torch.tensor(logprobs, dtype=torch.float64, requires_grad=True)
    entropy_L = torch.tensor(entropies or [1.0] * len(logprobs), dtype=torch.float64)
    tokens = objective.tokens(responses, logprob_L, entropy_L)
    objective.set_masks(responses, tokens if objective.needs_scoring_pass(responses) else None)
    objective.loss(tokens)[0].backward()
    assert logprob_L.grad is not None
    return tokens, logprob_L.grad


def on_policy(settings: ObjectiveSettings, scores, length: int = 1) -> list[float]:
    """The effective advantage of each rollout at ratio 1: minus the gradient, without the weight of a token."""
    objective = Objective(settings)
    responses = objective.responses([group([rollout("x" * length, [-1.0] * length) for _ in scores], scores)])
    _, slope_L = gradient(objective, responses, [-1.0] * length * len(scores))
    return [-part.sum().item() / responses[0].policy_weight for part in slope_L.split(length)]


# --- group weights --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("progress", "weights"),
    [
        ((0.0, 9 / 30), [0, 0.3827, 0.7071, 1, 1, 1, 1]),
        ((10 / 30, 19 / 30), [0, 0.3827, 0.7071, 1, 0.7071, 0.3827, 0]),
        ((20 / 30, 29 / 30), [0.25, 1, 1, 1, 0.7071, 0.3827, 0]),
    ],
)
def test_the_weights_of_vl_cogito_by_stage(progress, weights):
    """The stages take a third of the run each: ten of 30 steps."""
    settings = ObjectiveSettings(preset="pcurl")
    for done in progress:
        got = [pcurl_weight(p, done, settings, settings.own("pcurl")) for p in (0, 0.125, 0.25, 0.5, 0.75, 0.875, 1)]
        assert got == pytest.approx(weights, abs=1e-4)


def test_a_stage_of_vl_cogito_by_itself():
    for until, weight in (((1, 1), 1.0), ((0, 1), 0.7071), ((0, 0), 0.7071)):
        settings = ObjectiveSettings(preset="pcurl", pcurl={"until": until})
        got = [pcurl_weight(0.75, done, settings, settings.own("pcurl")) for done in (0.0, 0.5, 0.99)]
        assert got == pytest.approx([weight] * 3, abs=1e-4)
    assert pcurl_weight(0.0, 0.0, settings, settings.own("pcurl")) == 0.25


def test_observe_r1_prefers_the_middle():
    settings = ObjectiveSettings(preset="observe_r1")
    got = [observe_weight(d, 0.0, settings, settings.own("observe_r1")) for d in (0, 0.125, 0.25, 0.5, 0.75, 1)]
    assert got == pytest.approx([0, 0.7875, 1.35, 1.8, 1.35, 0])


def test_the_weight_of_observe_r1_leaves_the_kl_alone():
    """As in its code: the weighted advantage is the reward of the last token, and then each token's KL goes from it."""
    objective = Objective(ObjectiveSettings(preset="observe_r1"))
    responses = objective.responses([group([rollout("ab", [-1.0, -1.0])] * 2, [1.0, 1.0])])
    objective.set_masks(responses, None)
    logprob_L = torch.full((4,), -1.0, dtype=torch.float64, requires_grad=True)
    reference_L = torch.tensor([-1.5, -1.2, -1.5, -1.2], dtype=torch.float64)
    objective.loss(objective.tokens(responses, logprob_L, torch.ones(4)), reference_L)[0].backward()
    # k1 is 0.5 and then 0.2; a token answers for its own and what follows
    assert logprob_L.grad is not None
    assert (logprob_L.grad * 4).tolist() == pytest.approx([0.01 * 0.7, 0.01 * 0.2] * 2)


def test_the_weights_of_prompts_of_nft(tmp_path):
    for name, weight in (("one", 1.0), ("fail_rate", 0.75), ("odds", math.sqrt(3))):
        settings = settings_of("nft", tmp_path, nft={"weight": name})
        assert nft_weight(0.25, 0.0, settings, settings.own("nft")) == pytest.approx(weight)
        assert [nft_weight(p, 0.0, settings, settings.own("nft")) for p in (0.0, 1.0)] == [0, 0]


def test_the_weight_multiplies_the_advantage_and_a_soft_score_may_count_as_correct():
    scores = [0.9, 0.6, 0.2, 0.1]
    plain = on_policy(ObjectiveSettings(), scores)
    weighted = on_policy(ObjectiveSettings(group_weight="observe_r1", correct_at=0.5), scores)
    assert weighted == pytest.approx([1.8 * a for a in plain])
    assert on_policy(ObjectiveSettings(group_weight="observe_r1"), scores) == [0] * 4


# --- NFT ------------------------------------------------------------------------------------------------------

QUARTER = [1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("weight", "twin", "expected"),
    [
        ("fail_rate", ObjectiveSettings(scale="none"), (0.75, -0.25)),
        ("odds", ObjectiveSettings(scale="biased_std", epsilon=1e-12), (1.7320508, -0.5773503)),
    ],
)
def test_nft_at_ratio_one_is_dr_grpo_or_grpo(weight, twin, expected):
    for scores in (QUARTER, [1.0, 1.0, 1.0, 0.0, 1.0], [1.0, 0.0]):
        got = on_policy(ObjectiveSettings(preset="nft", nft={"weight": weight}), scores)
        assert got == pytest.approx(on_policy(twin, scores))
    got = on_policy(ObjectiveSettings(preset="nft", nft={"weight": weight}), QUARTER)
    assert got == pytest.approx([expected[0], *[expected[1]] * 3])


def test_nft_bounds_the_value_and_lets_the_gradient_through():
    objective = Objective(ObjectiveSettings(preset="nft", nft={"weight": "one"}, length_divisor=1.0))
    responses = objective.responses([group([rollout("r", [-1.0]), rollout("w", [-1.0])], [1.0, 0.0])])
    for ratio in (0.5, 1.0, 1.5, 3.0):
        tokens, slope_L = gradient(objective, responses, [-1.0, -1.0 + math.log(ratio)])
        implicit = max(2 - ratio, 1.0)  # (1 - r / 2) / (1 / 2)
        assert objective.loss(tokens)[0].item() == pytest.approx(-math.log(implicit))
        assert slope_L.tolist() == pytest.approx([-1.0, ratio / implicit])


# --- losses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["gspo", "cispo", "aipo", "sapo", "rl_plus", "grpo", "decoupled_ppo", "tis"])
def test_at_ratio_one_every_surrogate_is_reinforce(preset):
    settings = ObjectiveSettings(preset=preset, kl_coef=0.0, entropy_coef=0.0, aggregation="token")
    plain = ObjectiveSettings(scale=settings.scale)
    assert on_policy(settings, QUARTER, 3) == pytest.approx(on_policy(plain, QUARTER, 3))


def test_gspo_at_length_one_is_grpo():
    same = {"clip_low": 0.1, "clip_high": 0.1, "aggregation": "sequence"}
    results = []
    for name in ("gspo", "grpo"):
        objective = Objective(ObjectiveSettings(loss=name, **same))
        responses = objective.responses([group([rollout("x", [-1.0]) for _ in range(6)], [1, 1, 1, 0, 0, 0])])
        tokens, slope_L = gradient(objective, responses, [-0.8, -1.05, -1.2] * 2)
        results.append((objective.loss(tokens)[0].item(), *slope_L.tolist()))
    assert results[0] == pytest.approx(results[1])
    assert 0 < results[0].count(0.0) < 6


def test_gspo_gives_all_tokens_the_ratio_of_their_response():
    """log ratios 0.2 and -0.1: s = exp(0.05), inside a clip of 0.1 though one token is not."""
    objective = Objective(ObjectiveSettings(preset="gspo", clip_low=0.1, clip_high=0.1, scale="none"))
    responses = objective.responses([group([rollout("ab", [-1, -1]), rollout("c", [-1])], [1.0, 0.0])])
    _, slope_L = gradient(objective, responses, [-0.8, -1.1, -1.0])
    s = math.exp(0.05)
    assert slope_L.tolist() == pytest.approx([-s * 0.5 / 4, -s * 0.5 / 4, 0.5 / 2])


@pytest.mark.parametrize("preset", ["cispo", "aipo"])
def test_truncated_weights_keep_the_gradient_of_clipped_tokens(preset):
    """The mask of CISPO's unified view is never 0, nor is AIPO's min(r, rho): weight min(r, 5) at ratios 0.1, 1, 10."""
    objective = Objective(ObjectiveSettings(preset=preset, scale="none"))
    responses = objective.responses([group([rollout("abc", [-5, -5, -5]), rollout("d", [-1])], [1.0, 0.0])])
    tokens, slope_L = gradient(objective, responses, [-5 + math.log(r) for r in (0.1, 1, 10)] + [-1.0])
    assert slope_L.tolist() == pytest.approx([-0.5 * w / 4 for w in (0.1, 1, 5)] + [0.5 / 4])
    assert objective.loss(tokens)[1].tolist() == [False, False, True, False]


def test_sapo_gates():
    """f(r) = 4 / tau sigmoid(tau (r - 1)): 4 / tau / 2 at r = 1, with slope 1 in r; saturating on both sides."""
    objective = Objective(ObjectiveSettings(preset="sapo", scale="none"))
    responses = objective.responses([group([rollout("a", [-9.0]), rollout("b", [-9.0])], [1.0, 0.0])])
    tokens, slope_L = gradient(objective, responses, [-9.0, -9.0])
    assert objective.loss(tokens)[0].item() == pytest.approx((-2 + 2 / 1.05) * 0.5 / 2)
    assert slope_L.tolist() == pytest.approx([-0.25, 0.25])
    _, far_L = gradient(objective, responses, [-9 + math.log(20), -9 + math.log(20)])
    assert 0 < far_L.abs().max() < 1e-5


def test_decoupled_ppo_is_the_published_product():
    """(pi_prox / pi_beh) min(u A, clip(u) A): behaviour .2, proximal .3, policy .33 and .6; A = 1/2."""
    for policy, slope in ((0.33, -1.5 * 1.1 / 2), (0.6, 0.0)):
        objective = Objective(ObjectiveSettings(preset="decoupled_ppo", scale="none"))
        responses = objective.responses([group([rollout("a", [math.log(0.2)]), rollout("b", [-1])], [1.0, 0.0])])
        assert [r.old_T for r in responses] == [None, None]
        responses[0].old_T, responses[1].old_T = torch.tensor([math.log(0.3)]), torch.tensor([-1.0])
        _, slope_L = gradient(objective, responses, [math.log(policy), -1.0])
        assert slope_L[0].item() * 2 == pytest.approx(slope, rel=1e-5)


def test_decoupled_ppo_without_staleness_is_ppo():
    scores = [1.0, 0.0, 0.5]
    plain = ObjectiveSettings(clip_high=0.2)
    assert on_policy(ObjectiveSettings(preset="decoupled_ppo"), scores, 2) == pytest.approx(on_policy(plain, scores, 2))


@pytest.mark.parametrize(
    ("old", "policy", "ratio", "exploration"),
    [(0.01, 0.01, 0.0388, 0.995), (0.5, 0.5, 0.8, 0.7071), (0.9, 0.9, 0.973, 0.3162), (0.01, 0.05, 0.1942, 0.9747)],
)
def test_the_weights_of_demonstrations_of_rl_plus(old, policy, ratio, exploration):
    objective = Objective(ObjectiveSettings(preset="rl_plus", entropy_coef=0.0, length_divisor=1.0))
    groups = [group([rollout("demo", (), kind="demo"), rollout("p", [-1.0])], [1.0, 0.0])]
    responses = objective.responses(groups)
    responses[0].old_T = torch.full((4,), math.log(old))
    tokens, slope_L = gradient(objective, responses, [math.log(policy)] * 4 + [-1.0])
    # A = 1/2; the loss of four tokens, and 1/2 of the policy's own token at ratio 1
    assert objective.loss(tokens)[0].item() == pytest.approx(-4 * 0.5 * ratio * exploration + 0.5, rel=1e-3)
    assert slope_L[0].item() == pytest.approx(-0.5 * ratio * exploration, rel=1e-3)


def test_guide_shapes_the_ratio_of_hinted_rollouts():
    """r / (r + gamma), gamma the 0.9-quantile of the hinted tokens that are trained on, and of them alone."""
    objective = Objective(ObjectiveSettings(preset="guide", scale="none", correct_at=0.5))
    hinted = rollout("hints", [-1.0] * 5, kind="hint", trained=(True, True, True, False, True))
    groups = [group([hinted, rollout("h", [-1.0], kind="hint")], [1.0, 0.0]), group([rollout("p", [-1])] * 2, [1, 0])]
    ratios = [0.1, 0.2, 0.4, 50.0, 0.5, 0.3, 1.0, 1.0]
    responses = objective.responses(groups)
    _, slope_L = gradient(objective, responses, [-1 + math.log(r) for r in ratios])
    gamma = np.quantile([0.1, 0.2, 0.4, 0.5, 0.3], 0.9)
    assert responses[0].hint_gamma == pytest.approx(gamma)
    shaped = [r * gamma / (r + gamma) ** 2 for r in ratios[:3]]
    assert slope_L[:4].tolist() == pytest.approx([-0.5 * s / 7 for s in shaped] + [0])
    assert slope_L[-2:].tolist() == pytest.approx([-0.5 / 7, 0.5 / 7])


# --- tokens ---------------------------------------------------------------------------------------------------


def test_the_top_fifth_by_entropy(tmp_path):
    """11 tokens: ceil(2.2) = 3 are kept, and the denominator counts them, or all."""
    entropies = [0.1, 0.9, 0.2, 0.3, 0.8, 0.1, 0.1, 0.7, 0.1, 0.1, 0.2]
    for denominator, count in (("kept", 3), ("trained", 11)):
        objective = Objective(
            settings_of("high_entropy", tmp_path, scale="none", high_entropy={"denominator": denominator})
        )
        responses = objective.responses([group([rollout("abcdef", [-1] * 6), rollout("ghijk", [-1] * 5)], [1, 0])])
        _, slope_L = gradient(objective, responses, [-1.0] * 11, entropies)
        expected = [0, -0.5, 0, 0, -0.5, 0, 0, 0.5, 0, 0, 0]
        assert slope_L.tolist() == pytest.approx([e / count for e in expected])


def test_hicra_favours_planning_tokens(tmp_path):
    objective = Objective(settings_of("hicra", tmp_path))
    responses = objective.responses([group([rollout("a b c", [-1] * 5), rollout("b c", [-1] * 3)], [1, 0])])
    _, slope_L = gradient(objective, responses, [-1.0] * 8)
    expected = [-0.5, -0.5, -0.6, -0.6, -0.6, 0.4, 0.4, 0.4]
    assert (slope_L * 8).tolist() == pytest.approx(expected)


def test_planning_ngrams_are_found_across_tokens(tmp_path):
    path = tmp_path / "grams.txt"
    path.write_text("let us try\nLet us try another way\n wait \n")
    pattern = planning_pattern(str(path))
    pieces = ["So", " Let", "  us", "\ntry an", "other", " way", ". A", "wait", ", wa", "it"]
    assert planning(pieces, pattern) == [False, True, True, True, True, True, False, False, True, True]


def test_durations_are_relative_to_the_batch():
    objective = Objective(ObjectiveSettings(preset="duration_aware", scale="none"))
    responses = objective.responses([group([rollout("abcdef", [-1] * 6), rollout("gh", [-1] * 2)], [1, 0])])
    _, slope_L = gradient(objective, responses, [-1.0] * 8)
    assert [part.sum().item() for part in slope_L.split([6, 2])] == pytest.approx([-0.5 * 1.5 / 2, 0.5 * 0.5 / 2])


# --- macro actions --------------------------------------------------------------------------------------------


def test_macro_actions_of_one_token_are_ppo():
    """Generalised advantage estimation with value 0: A_t = r_t + lambda A_(t+1)."""
    rewards = [0.1, -0.2, 0.0, 0.4, 1.0]
    advantage, expected = 0.0, []
    for reward in reversed(rewards):
        advantage = reward + 0.95 * advantage
        expected.insert(0, advantage)
    assert credit(rewards, [1] * 5, 0.95) == pytest.approx(expected)
    assert macro_lengths(range(5), [-1.0] * 5, MacroSettings(macro="ngram", length=1)) == [1] * 5
    assert macro_lengths(range(5), [-1.0] * 5, MacroSettings()) == [1] * 5


def test_macro_actions_share_their_advantage():
    """n = 5 over 12 tokens: 5, 5, 1 and the last token alone, whose reward is not averaged."""
    settings = MacroSettings(macro="ngram")
    lengths = macro_lengths(range(12), [-1.0] * 12, settings)
    assert lengths == [5, 5, 1, 1]
    got = credit([0.0] * 11 + [2.0], lengths, 0.95)
    assert got == pytest.approx([2 * 0.95**3] * 5 + [2 * 0.95**2] * 5 + [2 * 0.95, 2.0])
    assert credit([1.0, 2.0, 3.0, 7.0], [3, 1], 0.5) == pytest.approx([2 + 3.5] * 3 + [7])


def test_the_other_boundaries():
    rising = MacroSettings(macro="perplexity")
    # perplexity falls along 3, 2, 1, rises at 4 (above the mean 2), falls at 1; the last token stands alone
    assert macro_lengths(range(6), [-3.0, -2.0, -1.0, -4.0, -1.0, -9.0], rising) == [3, 2, 1]
    drawn = MacroSettings(macro="random")
    lengths = macro_lengths(range(200), [-1.0] * 200, drawn)
    assert sum(lengths) == 200
    assert set(lengths[:-2]) == {1, 2, 3, 5, 10}
    assert lengths == macro_lengths(range(200), [-2.0] * 200, drawn)
    assert lengths != macro_lengths(range(1, 201), [-1.0] * 200, drawn)
    for settings in (rising, drawn, MacroSettings(macro="ngram")):
        assert macro_lengths([7], [-1.0], settings) == [1]


# --- all of them ----------------------------------------------------------------------------------------------


def test_an_update_does_not_depend_on_how_it_is_cut(tmp_path):
    """The loss of the parts is the loss of the whole, for the presets that compute most beforehand."""
    for preset in ("high_entropy", "guide", "bnpo", "gspo", "rl_plus", "duration_aware", "ma_rlhf"):
        update, objective = make_update(3), Objective(settings_of(preset, tmp_path))
        responses, tokens, logprob_L, entropy_L, reference_L = update.tokens(objective)
        whole = objective.loss(tokens, reference_L)[0].item()
        lengths = [len(r) for r in responses]
        parts = zip(responses, *(x.split(lengths) for x in (logprob_L, entropy_L, reference_L)), strict=True)
        cut = [objective.loss(objective.tokens([r], lp, h), ref)[0].item() for r, lp, h, ref in parts]
        assert math.fsum(cut) == pytest.approx(whole, rel=1e-9)
