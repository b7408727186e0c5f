"""The objective in the learner: with real rows, every preset's gradient is that of the whole update."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.objective_cases import settings_of

from vlmrl import catalog
from vlmrl.config.learner import LearnerSettings
from vlmrl.config.model import ModelSettings
from vlmrl.config.objective import ObjectiveSettings
from vlmrl.config.rollout import HfSettings
from vlmrl.models.logprobs import score_row
from vlmrl.models.packing import Item, pack
from vlmrl.models.policy import Policy
from vlmrl.objectives import Response, Tokens
from vlmrl.rollout import Rollout, Sampling
from vlmrl.rollout.engines.hf import create
from vlmrl.rollout.group import Group
from vlmrl.train.learner import Learner
from vlmrl.verdict import Verdict

SCORES = [1.0, 0.0, 0.5, 1.0]


@pytest.fixture(scope="module")
def policy(model_folder) -> Policy:
    return Policy.load(ModelSettings(path=str(model_folder("qwen2_5_vl")), device="cpu"))


@pytest.fixture(scope="module")
def groups(policy, mixed_samples) -> list[Group]:
    """Rollouts of every kind, by a policy that has moved since: their logprobs are off by some."""
    prompts = policy.formatter.encode(mixed_samples)
    rollouts = create(HfSettings(), policy).generate(prompts, 4, Sampling(max_new_tokens=8, seed=1))
    draw = np.random.default_rng(0)

    def moved(rollout: Rollout) -> Rollout:
        noise = draw.normal(0, 0.3, len(rollout.token_ids))
        return replace(rollout, logprobs=tuple(float(x) for x in np.array(rollout.logprobs) + noise))

    rollouts = [[moved(r) for r in group] for group in rollouts]
    rollouts[1] = [replace(r, kind="hint") for r in rollouts[1]]
    rollouts[2][0] = replace(rollouts[2][0], kind="demo", logprobs=())
    rollouts[3][1] = replace(rollouts[3][1], trained=tuple(n % 2 == 0 for n in range(len(rollouts[3][1].token_ids))))
    verdicts = [Verdict(score) for score in SCORES]
    return [Group(s, p, r, list(verdicts)) for s, p, r in zip(mixed_samples, prompts, rollouts, strict=True)]


class Watched(Learner):
    """Keeps what each optimizer step saw."""

    def __init__(self, *arguments, **fields) -> None:
        super().__init__(*arguments, **fields)
        self.gradients: list[torch.Tensor] = []
        self.tokens: list[Tokens] = []
        plain = self.objective.tokens

        def tokens(responses: Sequence[Response], logprob_L: torch.Tensor, entropy_L: torch.Tensor) -> Tokens:
            found = plain(responses, logprob_L, entropy_L)
            if found.logprob_L.requires_grad:
                self.tokens.append(found)
            return found

        self.objective.tokens = tokens

    def _step(self) -> float:
        self.gradients.append(torch.cat([p.grad.flatten() for p in self.parameters if p.grad is not None]))
        return super()._step()


@contextmanager
def unchanged(policy: Policy) -> Iterator[None]:
    """Puts the weights back."""
    before = copy.deepcopy(policy.model.state_dict())
    yield
    policy.model.load_state_dict(before)


def update(policy: Policy, groups: list[Group], objective: ObjectiveSettings, **settings) -> Watched:
    with unchanged(policy):
        options = LearnerSettings(**{"learning_rate": 1e-3, "warmup_steps": 0, **settings})
        learner = Watched(policy, options, objective, 100)
        learner.update(groups, progress=0.25)
    return learner


@pytest.mark.parametrize("preset", catalog.names("objectives"))
def test_the_gradient_does_not_depend_on_the_rows(policy, groups, preset, tmp_path):
    settings = settings_of(preset, tmp_path, overlong_filter=False)
    whole = update(policy, groups, settings, row_tokens=100_000)
    assert len(whole.tokens) == 1
    assert whole.gradients[0].norm() > 0
    cut = update(policy, groups, settings, row_tokens=60)
    assert len(cut.tokens) > 3
    assert (cut.gradients[0] - whole.gradients[0]).norm() < 1e-4 * whole.gradients[0].norm()


def logprobs_now(policy: Policy, groups: list[Group]) -> dict[tuple[int, int], torch.Tensor]:
    items = [Item(n, g.prompt, [r.token_ids for r in g.rollouts]) for n, g in enumerate(groups)]
    found = {}
    with torch.no_grad():
        for row in pack(items, 100_000):
            logprob_L = score_row(policy, row).logprob_L
            found |= {(s.item, s.response): logprob_L[s.start : s.stop] for s in row.spans}
    return found


@pytest.mark.parametrize("old", ["behaviour", "proximal"])
def test_old_logprobs_in_the_later_updates_of_a_step(policy, groups, old):
    """Proximal: of the policy as the step began. A demonstration has no others, a hinted rollout keeps its own."""
    before = logprobs_now(policy, groups)
    learner = update(policy, groups, ObjectiveSettings(old=old), updates_per_step=2, row_tokens=100_000)
    assert len(learner.tokens) == 2
    moved = False
    for part, tokens in enumerate(learner.tokens):
        for r, old_T, now_T in zip(
            tokens.responses, tokens.split(tokens.old_L), tokens.split(tokens.logprob_L), strict=True
        ):
            number = 2 * r.group + part
            proximal = r.rollout.kind == "demo" or (r.rollout.kind == "policy" and old == "proximal")
            expected = before[number, r.index] if proximal else torch.tensor(r.rollout.logprobs)
            torch.testing.assert_close(old_T, expected, atol=2e-5, rtol=0)
            moved |= part == 1 and bool((now_T - before[number, r.index]).abs().max() > 1e-2)
    assert moved


def test_a_step_makes_no_more_passes_than_it_needs(policy, groups, monkeypatch):
    """One a row; proximal logprobs take another for the later updates, a mask for all."""
    plain = [replace_kinds(g) for g in groups]
    counts = {}
    for name, settings in {
        "default": ObjectiveSettings(),
        "proximal": ObjectiveSettings(preset="decoupled_ppo"),
        "mask": ObjectiveSettings(preset="high_entropy"),
    }.items():
        passes = []

        def counted(*arguments, passes=passes, **fields):
            passes.append(1)
            return score_row(*arguments, **fields)

        monkeypatch.setattr("vlmrl.train.learner.score_row", counted)
        update(policy, plain, settings, updates_per_step=2, row_tokens=100_000)
        counts[name] = len(passes)
    assert counts == {"default": 2, "proximal": 3, "mask": 4}


def replace_kinds(group: Group) -> Group:
    rollouts = [replace(r, kind="policy", logprobs=r.logprobs or (-1.0,) * len(r.token_ids)) for r in group.rollouts]
    return Group(group.sample, group.prompt, rollouts, group.verdicts)


@pytest.mark.parametrize("preset", ["dapo", "high_entropy"])
def test_an_update_of_truncated_and_empty_rollouts_changes_nothing(policy, groups, preset):
    """Nothing is left of it where truncated rollouts have no loss and an empty one has no token."""
    cut = [replace_kinds(g) for g in groups]
    for group in cut:
        group.rollouts = [replace(r, finish="length") for r in group.rollouts]
        group.rollouts[0] = replace(group.rollouts[0], token_ids=(), logprobs=(), finish="stop", trained=None)
    with unchanged(policy):
        before = copy.deepcopy(policy.model.state_dict())
        learner = Learner(policy, LearnerSettings(), ObjectiveSettings(preset=preset, overlong_filter=True), 100)
        report = learner.update(cut)
        assert (report.loss, report.grad_norm) == (0, 0)
        assert all(torch.equal(value, before[name]) for name, value in policy.model.state_dict().items())
    assert [group.stats for group in cut] == [[None] * 4 for _ in cut]


def test_agreement_is_measured_on_what_the_policy_sampled(policy, groups):
    update(policy, groups, ObjectiveSettings())
    for group in groups:
        for rollout, stats in zip(group.rollouts, group.stats, strict=True):
            assert (stats.diff_max is not None) == (rollout.kind == "policy")
            assert stats.entropy > 0


def test_the_entropy_bonus_raises_entropy(policy, groups):
    """With it, groups without spread take part, and its gradient is all there is."""
    flat = [Group(g.sample, g.prompt, g.rollouts, [Verdict(0.0)] * 4) for g in map(replace_kinds, groups)]
    assert update(policy, flat, ObjectiveSettings()).gradients == []

    def mean_entropy() -> float:
        items = [Item(n, g.prompt, [r.token_ids for r in g.rollouts]) for n, g in enumerate(flat)]
        with torch.no_grad():
            return torch.cat([score_row(policy, row).entropy_L for row in pack(items, 100_000)]).mean().item()

    before = mean_entropy()
    with unchanged(policy):
        options = LearnerSettings(learning_rate=1e-3, warmup_steps=0)
        Learner(policy, options, ObjectiveSettings(entropy_coef=0.1), 100).update(flat)
        assert mean_entropy() > before + 1e-3
