"""The hf engine: agrees with the learner and with transformers' own generate."""

from __future__ import annotations

import pytest
import torch

from vlmrl.config.model import ModelSettings
from vlmrl.config.rollout import HfSettings
from vlmrl.models.logprobs import score_item
from vlmrl.models.packing import Item
from vlmrl.models.policy import Policy
from vlmrl.rollout import Sampling
from vlmrl.rollout.engines.hf import HfEngine, _draw, create

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5")


@pytest.fixture(scope="module", params=FAMILIES)
def policy(request: pytest.FixtureRequest, model_folder) -> Policy:
    return Policy.load(ModelSettings(path=str(model_folder(request.param)), device="cpu"))


@pytest.fixture
def engine(policy: Policy) -> HfEngine:
    return create(HfSettings(), policy)


one_family = pytest.mark.parametrize("policy", ["qwen2_5_vl"], indirect=True)
"""For what the engine does with any model's logits."""


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_behaviour_logprobs_are_the_learners(engine: HfEngine, policy: Policy, mixed_samples, temperature: float):
    prompts = policy.formatter.encode(mixed_samples)
    groups = engine.generate(prompts, 3, Sampling(temperature=temperature, max_new_tokens=12, seed=3))
    for prompt, group in zip(prompts, groups, strict=True):
        item = Item(0, prompt, [rollout.token_ids for rollout in group])
        for rollout, logprob_T in zip(group, score_item(policy, item, temperature), strict=True):
            assert (logprob_T - torch.tensor(rollout.logprobs)).abs().max() < 1e-4


def test_greedy_text_is_that_of_generate(engine: HfEngine, policy: Policy, mixed_samples):
    prompts = policy.formatter.encode(mixed_samples)
    groups = engine.generate(prompts, 1, Sampling(temperature=0.0, max_new_tokens=10))
    for prompt, (rollout,) in zip(prompts, groups, strict=True):
        out = policy.core.generate(
            input_ids=prompt.input_ids[None],
            mm_token_type_ids=prompt.token_types[None],
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=10,
            do_sample=False,
            suppress_tokens=policy.formatter.placeholder_ids,
            eos_token_id=policy.formatter.stop_ids,
            **prompt.features,
        )
        assert out[0, len(prompt) :].tolist() == list(rollout.token_ids)


@one_family
def test_the_seed_decides_the_draw(engine: HfEngine, policy: Policy, mixed_samples):
    prompts = policy.formatter.encode(mixed_samples[:2])
    draws = [engine.generate(prompts, 2, Sampling(max_new_tokens=8, seed=seed)) for seed in (1, 1, 2)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]


@one_family
def test_a_batch_in_parts_keeps_the_order(policy: Policy, mixed_samples):
    prompts = policy.formatter.encode(mixed_samples)
    greedy = Sampling(temperature=0.0, max_new_tokens=6)
    whole = create(HfSettings(), policy).generate(prompts, 2, greedy)
    parts = create(HfSettings(batch_responses=2), policy).generate(prompts, 2, greedy)
    assert [[r.token_ids for r in g] for g in whole] == [[r.token_ids for r in g] for g in parts]


def test_placeholders_are_never_sampled(model_folder, mixed_samples):
    policy = Policy.load(ModelSettings(path=str(model_folder("qwen2_5_vl")), device="cpu"))
    banned = policy.formatter.placeholder_ids
    assert policy.core.config.image_token_id in banned
    assert policy.core.config.video_token_id in banned
    with torch.no_grad():  # make them the likeliest tokens by far
        policy.core.lm_head.weight[banned] = 50 * policy.core.lm_head.weight[9]
    prompts = policy.formatter.encode(mixed_samples)
    groups = create(HfSettings(), policy).generate(prompts, 8, Sampling(max_new_tokens=8, temperature=2.0))
    assert not {t for g in groups for r in g for t in r.token_ids} & set(banned)


@one_family
def test_a_response_ends_with_its_stop_token_or_its_limit(engine: HfEngine, policy: Policy, mixed_samples):
    prompts = policy.formatter.encode(mixed_samples)
    groups = engine.generate(prompts, 16, Sampling(max_new_tokens=30, temperature=1.5, seed=5))
    stops = set(policy.formatter.stop_ids)
    for rollout in (r for g in groups for r in g):
        assert len(rollout.token_ids) == len(rollout.logprobs)
        assert not stops & set(rollout.token_ids[:-1])
        assert (rollout.token_ids[-1] in stops) == (rollout.finish == "stop")
        assert rollout.finish == "stop" or len(rollout.token_ids) == 30


@one_family
def test_top_p_keeps_the_nucleus(engine: HfEngine, policy: Policy, mixed_samples):
    prompts = policy.formatter.encode(mixed_samples[:1])
    narrow = engine.generate(prompts, 8, Sampling(max_new_tokens=4, top_p=1e-6))
    greedy = engine.generate(prompts, 1, Sampling(max_new_tokens=4, temperature=0.0))
    assert {r.token_ids for r in narrow[0]} == {greedy[0][0].token_ids}
    assert all(p == pytest.approx(0.0, abs=1e-6) for r in narrow[0] for p in r.logprobs)


def test_a_changed_vision_tower_changes_the_answer(model_folder, mixed_samples):
    policy = Policy.load(ModelSettings(path=str(model_folder("qwen2_5_vl")), device="cpu"))
    prompts = policy.formatter.encode(mixed_samples[:1])
    engine = create(HfSettings(), policy)
    sampling = Sampling(temperature=0.0, max_new_tokens=8)
    before = engine.generate(prompts, 1, sampling)[0][0]
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in policy.core.model.visual.merger.parameters():
            parameter.add_(torch.randn_like(parameter))
    engine.sync(policy.weights(), 1)
    after = engine.generate(prompts, 1, sampling)[0][0]
    assert before.logprobs != after.logprobs
    assert after.version == 1


def test_tokens_are_drawn_as_often_as_they_are_likely():
    probability = torch.tensor([0.0, 0.5, 0.0, 0.3, 0.2, 0.0])
    generator = torch.Generator().manual_seed(0)
    drawn = _draw(probability.log().expand(20_000, -1), generator)
    shares = drawn.bincount(minlength=6) / len(drawn)
    assert (shares[probability == 0] == 0).all()
    torch.testing.assert_close(shares, probability, rtol=0, atol=0.012)


@one_family
def test_the_seed_of_the_run_changes_the_draw(engine: HfEngine, policy: Policy, mixed_samples):
    """It is in the upper half of a sampling seed, which torch's CPU generator ignores."""
    prompts = policy.formatter.encode(mixed_samples[:1])
    texts = {
        run: engine.generate(prompts, 4, Sampling(max_new_tokens=12, seed=(run << 32) + 5))[0][0].token_ids
        for run in (0, 1, 2)
    }
    assert len(set(texts.values())) == 3
    assert engine.generate(prompts, 4, Sampling(max_new_tokens=12, seed=5))[0][0].token_ids == texts[0]
