"""A learner, and groups that the policy sampled itself."""

from __future__ import annotations

from vlmrl.config.learner import LearnerSettings
from vlmrl.config.objective import ObjectiveSettings
from vlmrl.config.rollout import HfSettings
from vlmrl.models.policy import Policy
from vlmrl.rollout import Sampling
from vlmrl.rollout.engines.hf import create
from vlmrl.rollout.group import Group
from vlmrl.train.learner import Learner
from vlmrl.train.planner import Mode
from vlmrl.verdict import Verdict


def make_groups(policy: Policy, samples, n: int = 4) -> list[Group]:
    """Rollouts of the policy with scores that favour some: 0, 1/3, 2/3, 1."""
    prompts = policy.formatter.encode(samples)
    rollouts = create(HfSettings(), policy).generate(prompts, n, Sampling(max_new_tokens=8, seed=1))
    verdicts = [Verdict(i / (n - 1)) for i in range(n)]
    return [Group(s, p, r, list(verdicts)) for s, p, r in zip(samples, prompts, rollouts, strict=True)]


def learner_of(policy: Policy, objective: ObjectiveSettings | None = None, mode: Mode = "auto", **settings) -> Learner:
    options = LearnerSettings(**{"learning_rate": 1e-3, "warmup_steps": 0, **settings})
    return Learner(policy, options, objective or ObjectiveSettings(), 100, mode=mode)
