"""The vision cache: the same embeddings as without it, computed once, never stale."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.packed_rows import make_items

from vlmrl.config.model import ModelSettings
from vlmrl.config.rollout import HfSettings
from vlmrl.models.logprobs import score_row
from vlmrl.models.packing import pack
from vlmrl.models.policy import Policy
from vlmrl.models.vision_cache import VisionCache
from vlmrl.rollout import Sampling
from vlmrl.rollout.engines.hf import create


def load(folder, **settings) -> Policy:
    return Policy.load(ModelSettings(path=str(folder), device="cpu", freeze_towers=True, **settings))


def logprobs(policy: Policy, samples) -> torch.Tensor:
    (row,) = pack(make_items(policy, samples), 100_000)
    with torch.no_grad():
        return score_row(policy, row).logprob_L


def cache_of(policy: Policy) -> VisionCache:
    assert policy.vision_cache is not None
    return policy.vision_cache


def media_of(policy: Policy, samples) -> list:
    return [media for prompt in policy.formatter.encode(samples) for media in prompt.media]


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "glm4v"])
def test_scores_are_those_without_a_cache_and_the_second_epoch_runs_no_tower(model_folder, mixed_samples, family):
    plain = load(model_folder(family), vision_cache_mb=0)
    cached = load(model_folder(family))
    assert plain.vision_cache is None
    first = logprobs(cached, mixed_samples)
    torch.testing.assert_close(first, logprobs(plain, mixed_samples), rtol=0, atol=1e-5)
    distinct = {media.digest for media in media_of(cached, mixed_samples)}
    assert cache_of(cached).computed == len(distinct) > 1
    assert torch.equal(logprobs(cached, mixed_samples), first)
    assert cache_of(cached).computed == len(distinct)


def test_rollout_and_learner_share(model_folder, mixed_samples):
    policy = load(model_folder("qwen2_5_vl"))
    prompts = policy.formatter.encode(mixed_samples)
    engine = create(HfSettings(), policy)
    engine.generate(prompts, 2, Sampling(max_new_tokens=3))
    computed = cache_of(policy).computed
    (row,) = pack(make_items(policy, mixed_samples), 100_000)
    score_row(policy, row).logprob_L.sum().backward()
    assert cache_of(policy).computed == computed > 0
    reference = policy.frozen_copy()
    with torch.no_grad():
        score_row(reference, row)
    assert reference.vision_cache is policy.vision_cache
    assert cache_of(policy).computed == computed


def test_memory_stays_under_its_bound_and_nothing_is_lost(model_folder, mixed_samples):
    plenty, scarce = load(model_folder("qwen2_5_vl")), load(model_folder("qwen2_5_vl"), vision_cache_mb=0.02)
    assert torch.equal(logprobs(scarce, mixed_samples), logprobs(plenty, mixed_samples))
    assert cache_of(scarce)._bytes <= 0.02 * 2**20 < cache_of(plenty)._bytes
    assert cache_of(scarce)._bytes == sum(kept.nbytes for kept in cache_of(scarce)._cached.values())


def test_the_disk_tier_outlives_the_process_and_knows_the_weights(model_folder, mixed_samples, tmp_path):
    settings = {"vision_cache_folder": str(tmp_path / "embeddings")}
    first = load(model_folder("qwen2_5_vl"), **settings)
    expected = logprobs(first, mixed_samples)
    again = load(model_folder("qwen2_5_vl"), **settings)
    assert torch.equal(logprobs(again, mixed_samples), expected)
    assert cache_of(again).computed == 0
    other = load(model_folder("qwen2_5_vl"), **settings)
    with torch.no_grad():
        other.core.model.visual.merger.mlp[0].weight.add_(0.01)
    other.vision_cache = None
    other.__post_init__()
    logprobs(other, mixed_samples)
    assert cache_of(other).computed == cache_of(first).computed


def test_two_runs_may_fill_one_folder(model_folder, mixed_samples, tmp_path, monkeypatch):
    """The second stores everything while the first is about to name its first file."""
    settings = {"vision_cache_folder": str(tmp_path / "embeddings")}
    first, second = (load(model_folder("qwen2_5_vl"), **settings) for _ in range(2))
    name_it = Path.replace

    def replace(path: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "replace", name_it)
        logprobs(second, mixed_samples)
        return name_it(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    assert torch.equal(logprobs(first, mixed_samples), logprobs(second, mixed_samples))
    assert Path.replace is name_it
    assert not list(tmp_path.rglob("*.partial"))


def test_changed_weights_are_never_answered_with_older_embeddings(model_folder, mixed_samples):
    policy = Policy.load(ModelSettings(path=str(model_folder("qwen2_5_vl")), device="cpu"))
    assert policy.vision_cache is None, "a tower in training has no cache"
    tower = policy.core.model.visual
    cache = VisionCache(tower, torch.float32, 100, None)
    media = media_of(policy, mixed_samples)
    optimizer = torch.optim.AdamW(tower.parameters(), lr=1e-2, fused=True)
    before = cache.embeddings(media)
    assert cache.embeddings(media)[0] is before[0]
    for parameter in tower.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    after = cache.embeddings(media)
    assert not torch.allclose(after[0], before[0])
    fresh = VisionCache(tower, torch.float32, 100, None).embeddings(media)
    assert all(torch.equal(a, b) for a, b in zip(after, fresh, strict=True))


def test_a_pass_that_needs_the_towers_gradient_runs_the_tower(model_folder, mixed_samples):
    policy = Policy.load(ModelSettings(path=str(model_folder("qwen2_5_vl")), device="cpu"))
    policy.vision_cache = VisionCache(policy.core.model.visual, torch.float32, 100, None)
    logprobs(policy, mixed_samples)
    (row,) = pack(make_items(policy, mixed_samples), 100_000)
    score_row(policy, row).logprob_L.sum().backward()
    assert policy.core.model.visual.merger.mlp[0].weight.grad.abs().sum() > 0


def test_a_trained_towers_reference_keeps_its_own(model_folder, mixed_samples):
    policy = Policy.load(ModelSettings(path=str(model_folder("qwen2_5_vl")), device="cpu"))
    reference = policy.frozen_copy()
    expected = logprobs(reference, mixed_samples)
    with torch.no_grad():
        policy.core.model.visual.merger.mlp[0].weight.mul_(2.0)
    assert torch.equal(logprobs(reference, mixed_samples), expected)
    assert not torch.equal(logprobs(policy, mixed_samples), expected)
