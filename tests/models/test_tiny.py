"""The embedded model: small, whole, loadable, and stopped where there is much left to learn."""

from __future__ import annotations

import pytest
import torch

from vlmrl import catalog
from vlmrl.config.model import ModelSettings
from vlmrl.config.rollout import HfSettings
from vlmrl.models import tiny
from vlmrl.models.policy import Policy
from vlmrl.rewards.composite import score
from vlmrl.rollout import Sampling
from vlmrl.rollout.engines.hf import create


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy.load(ModelSettings(path="tiny", device="cpu"))


def test_size(policy: Policy):
    assert 1e6 <= sum(p.numel() for p in policy.model.parameters()) <= 6e6
    assert sum(f.stat().st_size for f in tiny.FOLDER.glob("*.safetensors")) <= 8e6


def test_creation_is_seeded(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        tiny.create(tmp_path / name, seed)
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c
    for file in ("tokenizer.json", "config.json"):
        assert (tmp_path / "a" / file).read_text() == (tmp_path / "c" / file).read_text()


def test_digits_and_capitals_are_never_merged(policy: Policy):
    tokens = policy.formatter.tokenizer.tokenize("A1B22 read the text. {[28,2,65,39]}")
    assert all(sum(c.isdigit() or c.isupper() for c in token) <= 1 for token in tokens)


def test_it_starts_mid_range(policy: Policy):
    """Sampled reward of each source: high enough to teach, low enough to rise. The bounds are three standard errors
    (0.04) outside of what the model earns, 0.28 to 0.6, because other processors sample other answers."""
    recipe = catalog.load("recipes", "synthetic")
    engine = create(HfSettings(), policy)
    for source in recipe.SOURCES:
        samples = list(recipe.build(60, split="heldout", seed=3, sources=[source]))
        groups = engine.generate(policy.formatter.encode(samples), 2, Sampling(max_new_tokens=24, seed=1))
        scores = torch.tensor([score(s, r.text).score for s, g in zip(samples, groups, strict=True) for r in g])
        assert 0.16 < scores.mean().item() < 0.72, source
