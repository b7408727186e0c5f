"""The learner: what an update does, that its rows change nothing, and every preset's gradient with real rows."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.learners import learner_of, make_groups
from helpers.objective_cases import settings_of

from vlmrl import catalog
from vlmrl.config.learner import LearnerSettings
from vlmrl.config.model import LoraSettings, ModelSettings
from vlmrl.config.objective import ObjectiveSettings
from vlmrl.config.rollout import HfSettings
from vlmrl.errors import UserError
from vlmrl.models.logprobs import score, score_row
from vlmrl.models.packing import Item, pack
from vlmrl.models.policy import Policy
from vlmrl.objectives import Response, Tokens
from vlmrl.rollout import Rollout, Sampling
from vlmrl.rollout.engines.hf import create
from vlmrl.rollout.group import Group
from vlmrl.train.learner import Learner
from vlmrl.verdict import Verdict


def load(model_folder, **settings) -> Policy:
    torch.manual_seed(0)  # adapters are initialised at random
    return Policy.load(ModelSettings(path=str(model_folder("qwen2_5_vl")), device="cpu", **settings))


def weights(policy: Policy) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in policy.model.named_parameters()}


def test_an_update_raises_what_was_rewarded(model_folder, mixed_samples):
    policy = load(model_folder)
    groups = make_groups(policy, mixed_samples)
    before = probability_of_best_over_worst(policy, groups)
    learner = learner_of(policy)
    report = learner.update(groups)
    assert report.groups == len(groups)
    assert report.optimizer_steps == 1
    assert report.grad_norm > 0
    assert probability_of_best_over_worst(policy, groups) > before


def probability_of_best_over_worst(policy: Policy, groups: list[Group]) -> float:
    items = [Item(n, g.prompt, [r.token_ids for r in g.rollouts]) for n, g in enumerate(groups)]
    margin = 0.0
    with torch.no_grad():
        for row in pack(items, 10_000):
            logprobs = score_row(policy, row).logprob_L
            for span in row.spans:
                sign = {0: -1, 3: 1}.get(span.response, 0)
                margin += sign * logprobs[span.start : span.stop].mean().item()
    return margin


def test_on_policy_agreement_and_stats(model_folder, mixed_samples):
    policy = load(model_folder)
    groups = make_groups(policy, mixed_samples)
    learner_of(policy, updates_per_step=2).update(groups)
    for number, group in enumerate(groups):
        for stats in group.stats:
            assert stats.entropy > 0
            if number % 2 == 0:  # the groups of the first update: the policy had not moved
                assert stats.diff_max is not None
                assert stats.diff_max < 1e-4
                assert stats.behaviour_kl < 1e-6
                assert stats.clip_fraction == 0
            else:
                assert stats.diff_max is None
                assert stats.behaviour_kl > 0


@pytest.mark.parametrize("objective", [{}, {"old": "proximal"}])
def test_adapters_score_without_their_dropout(model_folder, mixed_samples, objective):
    """The engine sampled without it. The footprint, counted within the first update, leaves it off."""
    policy = load(model_folder, lora=LoraSettings(rank=4))
    for module in policy.model.modules():
        if hasattr(module, "lora_dropout"):
            module.lora_dropout["default"] = torch.nn.Dropout(0.5)
    with torch.no_grad():
        for name, weight in policy.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    learner = learner_of(policy, ObjectiveSettings(**objective))
    for _ in range(2):
        groups = make_groups(policy, mixed_samples)
        learner.update(groups)
        assert max(stats.diff_max for group in groups for stats in group.stats) < 1e-4


@pytest.mark.parametrize(
    "change", [{"row_tokens": 60}, {"mode": "plain"}, {"mode": "fork"}, {"mode": "fork", "row_tokens": 60}]
)
def test_rows_are_gradient_accumulation_and_nothing_else(model_folder, mixed_samples, change):
    """However the batch is cut into rows, the update is the same."""
    results = []
    for settings in ({"row_tokens": 100_000}, change):
        policy = load(model_folder)
        groups = make_groups(policy, mixed_samples)
        report = learner_of(policy, **settings).update(groups)
        results.append((report.loss, report.grad_norm))
    assert results[0] == pytest.approx(results[1], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("objective", [{}, {"preset": "high_entropy", "kl_coef": 0.1, "entropy_coef": 0.01}])
@pytest.mark.parametrize("adapters", [None, LoraSettings(rank=2, targets=".*(q_proj|in_proj_qkv|up_proj)")])
def test_updates_of_recurrent_layers_are_those_of_repeated_prompts(model_folder, mixed_samples, objective, adapters):
    """Over two updates, so that the policy leaves the reference and the behaviour."""
    results = []
    for mode in ("auto", "plain"):
        torch.manual_seed(0)
        policy = Policy.load(ModelSettings(path=str(model_folder("qwen3_5")), device="cpu", lora=adapters))
        groups = make_groups(policy, mixed_samples)
        learner = learner_of(policy, ObjectiveSettings(**objective), mode, row_tokens=80)
        reports = [learner.update(groups) for _ in range(2)]
        results.append([x for report in reports for x in (report.loss, report.grad_norm)])
        assert all(stats.diff_max is not None for group in groups for stats in group.stats)
    assert results[0] == pytest.approx(results[1], rel=1e-3, abs=1e-5)


def test_groups_without_spread_are_left_out(model_folder, mixed_samples):
    policy = load(model_folder)
    groups = make_groups(policy, mixed_samples)
    groups[0].verdicts = [Verdict(1.0)] * 4
    groups[1].verdicts = [Verdict(None, "error")] * 4
    report = learner_of(policy).update(groups)
    assert report.groups == 2
    assert groups[0].stats == []
    assert groups[1].stats == []


def test_a_batch_without_spread_changes_nothing(model_folder, mixed_samples):
    policy = load(model_folder)
    groups = make_groups(policy, mixed_samples)
    for group in groups:
        group.verdicts = [Verdict(0.5)] * 4
    before = weights(policy)
    assert learner_of(policy).update(groups).optimizer_steps == 0
    assert all(torch.equal(before[n], w) for n, w in weights(policy).items())


def test_a_gradient_that_is_not_finite_is_left_out_and_counted(model_folder, mixed_samples):
    policy = load(model_folder)
    groups = make_groups(policy, mixed_samples)
    with torch.no_grad():
        policy.core.lm_head.weight[5, 0] = math.inf
    before = weights(policy)
    report = learner_of(policy).update(groups)
    assert (report.optimizer_steps, report.skipped_steps) == (0, 1)
    assert all(torch.equal(before[n], w) for n, w in weights(policy).items())


def test_unscored_rollouts_take_no_part(model_folder, mixed_samples):
    """An update with an unscored rollout equals the update without that rollout."""
    results = []
    for drop in (True, False):
        policy = load(model_folder)
        groups = make_groups(policy, mixed_samples)
        for group in groups:
            if drop:
                group.rollouts, group.verdicts = group.rollouts[:3], group.verdicts[:3]
            else:
                group.verdicts[3] = Verdict(None, "timeout")
        report = learner_of(policy).update(groups)
        results.append((report.loss, report.grad_norm))
        assert all([s is None for s in group.stats] == [False] * 3 + [True] * (not drop) for group in groups)
    assert results[0] == pytest.approx(results[1], rel=1e-5)


def test_a_frozen_tower_does_not_move(model_folder, mixed_samples):
    policy = load(model_folder, freeze_towers=True)
    before = weights(policy)
    learner_of(policy).update(make_groups(policy, mixed_samples))
    moved = {n for n, w in weights(policy).items() if not torch.equal(before[n], w)}
    assert moved
    assert not [n for n in moved if ".visual." in n]


def test_lora_moves_adapters_alone_and_exports_merged(model_folder, mixed_samples, tmp_path):
    policy = load(model_folder, lora=LoraSettings(rank=4, alpha=8))
    before = weights(policy)
    learner = learner_of(policy)
    for _ in range(2):  # B starts at zero, so A moves from the second step on
        learner.update(make_groups(policy, mixed_samples))
    moved = {n for n, w in weights(policy).items() if not torch.equal(before[n], w)}
    assert moved
    assert all(".lora_" in n for n in moved)

    policy.save(tmp_path / "merged")
    merged = Policy.load(ModelSettings(path=str(tmp_path / "merged"), device="cpu"))
    greedy = Sampling(temperature=0.0, max_new_tokens=8)
    prompts = policy.formatter.encode(mixed_samples)
    ours, theirs = (create(HfSettings(), p).generate(prompts, 1, greedy) for p in (policy, merged))
    assert [g[0].token_ids for g in ours] == [g[0].token_ids for g in theirs]
    assert dict(policy.weights()).keys() == dict(merged.weights()).keys()


@pytest.mark.parametrize("targets", [".*embed_tokens", "lm_head", ".*(q_proj|embed_tokens)"])
def test_adapters_of_the_embeddings_are_refused(model_folder, targets):
    """The head is tied to them, or scored apart from the model: an adapter there would not be trained or exported."""
    with pytest.raises(UserError, match=r"model.lora.targets .* reaches (model.language_model.embed_tokens|lm_head)"):
        load(model_folder, lora=LoraSettings(rank=4, targets=targets))


@pytest.mark.parametrize("lora", [None, LoraSettings(rank=4)])
def test_kl_holds_the_policy_to_its_reference(model_folder, mixed_samples, lora):
    """With a KL term every group takes part, and the reference stays what the policy was."""
    policy = load(model_folder, lora=lora)
    learner = learner_of(policy, ObjectiveSettings(kl_coef=0.5))
    groups = make_groups(policy, mixed_samples)
    first = copy.deepcopy([g.rollouts for g in groups])
    groups[0].verdicts = [Verdict(1.0)] * 4
    assert learner.update(groups).groups == len(groups)
    for _ in range(3):
        learner.update(make_groups(policy, mixed_samples))
    items = [
        Item(n, g.prompt, [r.token_ids for r in rollouts])
        for n, (g, rollouts) in enumerate(zip(groups, first, strict=True))
    ]
    for row in pack(items, 10_000):
        reference = learner._reference_logprobs(row)
        assert reference is not None
        for span in row.spans:
            sampled = torch.tensor(first[span.item][span.response].logprobs)
            assert (reference[span.start : span.stop] - sampled).abs().max() < 1e-4


def test_warm_up_and_schedules(model_folder):
    policy = load(model_folder)
    rates = {}
    for schedule in ("constant", "linear", "cosine"):
        learner = learner_of(policy, learning_rate=1.0, warmup_steps=4, schedule=schedule)
        rates[schedule] = []
        for _ in range(100):
            rates[schedule].append(learner.rate)
            learner.optimizer.step()
            learner.scheduler.step()
    assert rates["constant"][:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates["constant"][-1] == 1.0
    assert rates["linear"][52] == pytest.approx(0.5)
    assert rates["cosine"][52] == pytest.approx(0.5)
    assert rates["linear"][99] == pytest.approx(1 / 96)


# --- the objective with real rows -------------------------------------------------------------------------

SCORES = [1.0, 0.0, 0.5, 1.0]


@pytest.fixture(scope="module")
def policy(model_folder) -> Policy:
    """Its weights are put back after every update."""
    return load(model_folder)


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
            return score(*arguments, **fields)

        monkeypatch.setattr("vlmrl.train.learner.score", counted)
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
