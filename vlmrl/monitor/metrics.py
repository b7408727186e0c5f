"""Metrics of a step's groups by data source and modality: pure functions. The ledger writes their results.

    step_metrics(groups)   -> {"all/reward": 0.53, "source/counting/reward": 0.61, ...}

A metric without a value (the length of wrong answers if there are none) is None.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from vlmrl.rollout.group import Group, TokenStats
from vlmrl.verdict import Verdict

Metrics = dict[str, float | None]
Figures = dict[str, float]
"""`mean`, `low`, `high` (95 % interval) and `n` of a reward. No interval if n < 2, no mean if n = 0."""

PERFECT = 1 - 1e-9


def mean(values: Iterable[float], weights: Iterable[float] | None = None) -> float | None:
    """The weighted mean; None without values or weight."""
    values = list(values)
    weights = [1.0] * len(values) if weights is None else list(weights)
    total = sum(weights)
    return sum(v * w for v, w in zip(values, weights, strict=True)) / total if total else None


def figures(scores: Iterable[float | None]) -> Figures:
    """Mean of the scores, its 95 % interval (mean +- 1.96 s / sqrt(n), clipped to [0, 1]) and n."""
    scored = [score for score in scores if score is not None]
    n, centre = len(scored), mean(scored)
    if centre is None:
        return {"n": 0}
    if n == 1:
        return {"mean": centre, "n": 1}
    half = 1.96 * math.sqrt(sum((score - centre) ** 2 for score in scored) / (n - 1) / n)
    return {"mean": centre, "low": max(0.0, centre - half), "high": min(1.0, centre + half), "n": n}


def step_metrics(groups: Sequence[Group], trained: Sequence[Group] | None = None) -> Metrics:
    """All metrics of a step by full name: `groups` were generated, `trained` (default: the same) were in the update."""
    trained = groups if trained is None else trained
    metrics = _named("all", group_metrics(groups, trained))
    parts, trained_parts = (by(some, lambda group: group.sample.source) for some in (groups, trained))
    for source in sorted(parts.keys() | trained_parts.keys()):
        metrics |= _named(f"source/{source}", group_metrics(parts.get(source, ()), trained_parts.get(source, ())))
    for modality, part in by(trained, lambda group: group.prompt.modality).items():
        metrics |= _named(f"modality/{modality}", agreement_metrics(part))
    return metrics


def verdict_metrics(verdicts: Sequence[Verdict]) -> Metrics:
    """`reward`, `perfect` and `zero` are means over scored verdicts; `unscored` and `unparsed` are shares of all."""
    scores = [v.score for v in verdicts if v.score is not None]
    parts: dict[str, list[float]] = defaultdict(list)
    for verdict in verdicts:
        for name, value in verdict.parts.items():
            parts[name].append(value)
    return {
        "reward": mean(scores),
        "perfect": mean(score >= PERFECT for score in scores),
        "zero": mean(score == 0 for score in scores),
        "unscored": mean(v.score is None for v in verdicts),
        "unparsed": mean(v.status == "unparsed" for v in verdicts),
        **{f"part/{name}": mean(values) for name, values in sorted(parts.items())},
    }


def group_metrics(groups: Sequence[Group], trained: Sequence[Group]) -> Metrics:
    """The metrics of groups. Lengths are in response tokens; `correct` is a perfect score, `wrong` any other.

    Metrics of `trained`: `entropy`, `clip_fraction` and `behaviour_kl` are means over the response tokens in the
    update, `diff_mean` and `diff_max` are those of `agreement_metrics`, `groups_trained` counts groups with spread. All
    others are metrics of `groups`: `tokens` counts each prompt once, `patches` are vision patches, `zero_variance` is a
    share of groups. Demonstrations count only in `zero_variance` and `tokens`.
    """
    judged = [pair for g in groups for pair in g.own]
    lengths = [(len(r.token_ids), v.score) for r, v in judged]
    stats, weights = _measured(trained)
    agreement = agreement_metrics(trained)
    return {
        **verdict_metrics([v for _, v in judged]),
        "zero_variance": mean(not g.has_spread for g in groups),
        "length": mean(n for n, _ in lengths),
        "length_correct": mean(n for n, score in lengths if score is not None and score >= PERFECT),
        "length_wrong": mean(n for n, score in lengths if score is not None and score < PERFECT),
        "truncated": mean(r.finish == "length" for r, _ in judged),
        "entropy": mean((s.entropy for s in stats), weights),
        "clip_fraction": mean((s.clip_fraction for s in stats), weights),
        "behaviour_kl": mean((s.behaviour_kl for s in stats), weights),
        "diff_mean": agreement["diff_mean"],
        "diff_max": agreement["diff_max"],
        "groups": len(groups),
        "groups_trained": sum(g.has_spread for g in trained),
        "rollouts": len(judged),
        "tokens": sum(g.tokens for g in groups),
        "patches": sum(g.prompt.patches for g in groups),
    }


def agreement_metrics(groups: Sequence[Group]) -> Metrics:
    """|learner - engine| logprob differences and KL(engine || learner) over `tokens` response tokens.

    Only tokens that were sampled with the weights of the learner's pass count.
    """
    stats, weights = _measured(groups)
    judged = [(s, tokens) for s, tokens in zip(stats, weights, strict=True) if s.diff_mean is not None]
    tokens = [tokens for _, tokens in judged]
    return {
        "diff_max": max((s.diff_max for s, _ in judged if s.diff_max is not None), default=None),
        "diff_mean": mean((s.diff_mean for s, _ in judged if s.diff_mean is not None), tokens),
        "kl": mean((s.behaviour_kl for s, _ in judged), tokens),
        "tokens": sum(tokens) or None,
    }


def _measured(groups: Iterable[Group]) -> tuple[list[TokenStats], list[int]]:
    """The token statistics of the rollouts that have them, and the number of trainable tokens of each."""
    pairs = [
        (stats, sum(rollout.trained) if rollout.trained else len(rollout.token_ids))
        for group in groups
        if group.stats
        for stats, rollout in zip(group.stats, group.rollouts, strict=True)
        if stats is not None and rollout.kind != "demo"
    ]
    return [stats for stats, _ in pairs], [tokens for _, tokens in pairs]


def by(groups: Iterable[Group], name_of: Callable[[Group], str]) -> dict[str, list[Group]]:
    """The groups by name, in the order of the names."""
    groups_by_name: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        groups_by_name[name_of(group)].append(group)
    return dict(sorted(groups_by_name.items()))


def finite(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """The values that JSON can hold: without None, and without NaN and infinities, counted in `all/not_finite`."""
    present = {key: value for key, value in metrics.items() if value is not None}
    kept = {key: value for key, value in present.items() if math.isfinite(value)}
    dropped = len(present) - len(kept)
    return kept | ({"all/not_finite": dropped} if dropped else {})


def _named(prefix: str, metrics: Metrics) -> Metrics:
    return {f"{prefix}/{key}": value for key, value in metrics.items()}
