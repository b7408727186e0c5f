"""The loss of an update and its gradient in plain numpy, by closed forms: what vlmrl/train/objective.py is held to.

Nothing of the library is used but the settings' values.
"""

from __future__ import annotations

import math
import random
import zlib
from typing import Any

import numpy as np
from helpers.objective_cases import GRAM, Update

from vlmrl.config.objective import ObjectiveSettings

Key = tuple[int, int]


def update_loss(
    update: Update, s: ObjectiveSettings, progress: float
) -> tuple[float, dict[Key, np.ndarray], dict[Key, np.ndarray]]:
    """Value, d value / d logprob and d value / d entropy, by (group, rollout)."""
    taking = _members(update, s, progress)
    rolls = {k: update.groups[k[0]].rollouts[k[1]] for k in taking}
    n = {k: len(r.token_ids) for k, r in rolls.items()}
    trained = {k: np.array(r.trained or [True] * n[k]) for k, r in rolls.items()}
    old = {k: np.array(r.logprobs) for k, r in rolls.items()}
    for k, r in rolls.items():
        if r.kind == "demo" or (r.kind == "policy" and s.old == "proximal"):
            old[k] = update.proximal[k]
    ratio = {k: np.exp(update.logprobs[k] - old[k]) for k in taking}
    kept = _kept(update, s, trained)
    beta = s.kl_coef * (
        0.5 + 0.5 * math.cos(math.pi * progress) if s.own("visionary_r1").kl_schedule == "cosine" else 1
    )
    hinted = [ratio[k][trained[k]] for k in taking if rolls[k].kind == "hint"]
    gamma = max(np.quantile(np.concatenate(hinted), s.own("guide").quantile), 1e-4) if hinted else 0
    policy_weight = _weights(
        s, {k: {"kept": kept, "trained": trained}[s.own("high_entropy").denominator][k].sum() for k in taking}
    )
    penalty_weight = _weights(s, {k: trained[k].sum() for k in taking})
    mean_length = sum(n.values()) / len(n)
    value, by_logprob, by_entropy = 0.0, {}, {}
    for k, (advantage, weight, rate, correct) in taking.items():
        lp, kind = update.logprobs[k], rolls[k].kind
        a = _credit(s, rolls[k], old[k], update.reference[k], advantage * weight, beta, trained[k])
        factor = np.ones(n[k])
        if "hicra" in s.token_weight:
            factor = factor * (1 + s.own("hicra").alpha * np.sign(a) * _planning(rolls[k].text))
        if "duration_aware" in s.token_weight:
            factor = factor * n[k] / mean_length
        if "rl_plus" in s.token_weight and kind == "demo":
            factor = factor * (1 - np.exp(lp)) ** s.own("rl_plus").exploration_power
        if kind == "demo":
            q = np.exp(old[k])
            mixture = 2 * np.exp(lp) / (q + 0.5 * (q + 1))
            loss, slope = -mixture * a * factor, -mixture * a * factor
        elif kind == "hint":
            r = ratio[k]
            loss, slope = -r / (r + gamma) * a * factor, -r * gamma / (r + gamma) ** 2 * a * factor
        else:
            loss, slope = _policy_loss(s, ratio[k], lp, a * factor, weight * factor, rate, correct, trained[k])
            if s.own("tis").correction == "clamp":
                bounded = np.minimum(np.exp(old[k] - np.array(rolls[k].logprobs)), s.own("tis").cap)
                loss, slope = loss * bounded, slope * bounded
        value += policy_weight[k] * (loss * kept[k]).sum()
        by_logprob[k] = policy_weight[k] * slope * kept[k]
        ref = update.reference[k]
        if s.kl_coef and s.kl_in == "loss":
            estimate = {"k1": lp - ref, "k2": (lp - ref) ** 2 / 2, "k3": np.exp(ref - lp) - (ref - lp) - 1}[s.kl]
            derivative = {"k1": np.ones(n[k]), "k2": lp - ref, "k3": 1 - np.exp(ref - lp)}[s.kl]
            value += penalty_weight[k] * beta * (estimate * trained[k]).sum()
            by_logprob[k] = by_logprob[k] + penalty_weight[k] * beta * derivative * trained[k]
        value -= penalty_weight[k] * s.entropy_coef * (update.entropies[k] * trained[k]).sum()
        by_entropy[k] = -penalty_weight[k] * s.entropy_coef * trained[k]
    return float(value), by_logprob, by_entropy


def _members(update: Update, s: ObjectiveSettings, progress: float) -> dict[Key, tuple[float, float, float, bool]]:
    """Advantage, group weight, pass rate, correctness of those that take part."""
    found = {}
    for number, group in enumerate(update.groups):
        scores = [v.score for v in group.verdicts if v.score is not None]
        judged = zip(group.rollouts, group.verdicts, strict=True)
        own = [v.score for r, v in judged if v.score is not None and r.kind != "demo"]
        p = sum(x >= s.correct_at for x in own) / len(own)
        std = np.std(scores, ddof=int(s.scale == "std")) + s.epsilon if s.scale != "none" else 1.0
        for index, verdict in enumerate(group.verdicts):
            if verdict.score is None or (s.overlong_filter and group.rollouts[index].finish == "length"):
                continue
            others = list(scores)
            if s.baseline == "leave_one_out":
                others.remove(verdict.score)
            advantage = (verdict.score - np.mean(others)) / std
            if abs(advantage) >= s.own("loop").min_advantage:
                found[number, index] = (advantage, _group_weight(s, p, progress), p, verdict.score >= s.correct_at)
    return found


def _group_weight(s: ObjectiveSettings, p: float, progress: float) -> float:
    if s.group_weight == "pcurl":
        easy, medium = (progress < until for until in s.own("pcurl").until)
        soft = math.cos((p - 0.5) * math.pi)
        if p == 0:
            return 0.0 if medium else s.own("pcurl").all_wrong
        above, below = (1.0, soft) if easy else (soft, soft) if medium else (soft, 1.0)
        return above if p > 0.5 else below
    if s.group_weight == "observe_r1":
        return 4 * s.own("observe_r1").sigma * p * (1 - p)
    if s.group_weight == "nft":
        return {"one": 1.0, "fail_rate": 1 - p, "odds": math.sqrt((1 - p) / p) if p else 0}[s.own("nft").weight] * (
            0 < p < 1
        )
    return 1.0


def _kept(update: Update, s: ObjectiveSettings, trained: dict[Key, np.ndarray]) -> dict[Key, np.ndarray]:
    if s.token_mask == "none":
        return trained
    kept = {k: np.zeros(len(t), dtype=bool) for k, t in trained.items()}
    scopes = (
        [list(trained)]
        if s.own("high_entropy").scope == "update"
        else [[k for k in trained if k[0] == g] for g in range(9)]
    )
    for keys in scopes:
        ranked = sorted((-update.entropies[k][t], k, t) for k in keys for t in np.flatnonzero(trained[k]))
        for _, k, t in ranked[: math.ceil(s.own("high_entropy").share * len(ranked))]:
            kept[k][t] = True
    return kept


def _weights(s: ObjectiveSettings, counts: dict[Key, Any]) -> dict[Key, float]:
    weights = {}
    for k, count in counts.items():
        mates = [m for m in counts if m[0] == k[0]]
        weights[k] = {
            "token": 1 / max(sum(counts.values()), 1),
            "group": 1 / max(sum(counts[m] for m in mates), 1) / len({m[0] for m in counts}),
            "sequence": 1 / max(count, 1) / len(counts),
            "sequence_sum": 1 / s.length_divisor / len(counts),
            "sum": 1 / s.length_divisor,
        }[s.aggregation]
    return weights


def _planning(text: str) -> np.ndarray:
    flags, start = np.zeros(len(text)), text.lower().find(GRAM.lower())
    if start >= 0:
        flags[start : start + len(GRAM)] = 1
    return flags


def _credit(
    s: ObjectiveSettings,
    rollout: Any,
    old: np.ndarray,
    reference: np.ndarray,
    advantage: float,
    beta: float,
    trained: np.ndarray,
) -> np.ndarray:
    """Generalised advantage estimation over macro actions without a critic, by its sum."""
    n, actions = len(old), s.own("ma_rlhf")
    rewards = np.zeros(n)
    if s.kl_coef and s.kl_in == "reward":
        rewards -= beta * {"k1": old - reference, "k2": (old - reference) ** 2 / 2}[s.kl] * trained
    rewards[-1] += advantage
    chance = random.Random(zlib.crc32(repr(tuple(rollout.token_ids)).encode()))
    starts = [0]
    while starts[-1] < n - 1:
        step = {"none": 1, "ngram": actions.length}.get(actions.macro) or chance.choice((1, 2, 3, 5, 10))
        starts.append(min(starts[-1] + step, n - 1))
    macro = np.array([sum(t >= start for start in starts) - 1 for t in range(n)])
    means = np.array([rewards[macro == m].mean() for m in range(len(starts))])
    return np.array([sum(actions.gae_lambda ** (m - own) * means[m] for m in range(own, len(starts))) for own in macro])


def _policy_loss(
    s: ObjectiveSettings,
    r: np.ndarray,
    lp: np.ndarray,
    a: np.ndarray,
    weight: np.ndarray,
    p: float,
    correct: bool,
    trained: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Value and slope in the logprob of each token's loss, not yet masked."""
    low, high = 1 - s.clip_low, s.clip_high + (s.upper_clip == "one_plus")
    if s.loss == "cispo":
        w = np.clip(r, low, high)
        return -w * a * lp, -w * a
    if s.loss == "rl_plus":
        return -r * a, -r * a
    if s.loss == "sapo":
        tau = np.where(a > 0, s.own("sapo").temperature_positive, s.own("sapo").temperature_negative)
        gate = 1 / (1 + np.exp(-tau * (r - 1)))
        return -a * 4 / tau * gate, -a * 4 * gate * (1 - gate) * r
    if s.loss == "nft":
        if correct:
            return -weight * np.log(r), -weight
        p = min(max(p, 0.02), 0.98)
        implicit = np.maximum((1 - p * r) / (1 - p), 1.0)
        w = s.own("nft").negative * weight
        return -w * np.log(implicit), w * p * r / (1 - p) / implicit
    if s.loss == "gspo":
        r = np.full(len(r), np.exp(np.log(r)[trained].mean()))
    flat = ((a > 0) & (r > high)) | ((a < 0) & (r < low))
    value = -np.where(flat, np.clip(r, low, high), r) * a
    if s.dual_clip:
        flat = flat | ((a < 0) & (r > s.dual_clip))
        value = np.where(a < 0, np.minimum(value, -a * s.dual_clip), value)
    return value, np.where(flat, 0.0, -r * a)
