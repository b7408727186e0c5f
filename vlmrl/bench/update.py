"""vlmrl bench update: the learner's update beside another one on the same prompts and completions.

    vlmrl bench update                                   against our plain path, which repeats the prompt
    vlmrl bench update --against trl --completion 32 128 --group 8 16
    vlmrl bench update --against trl-lean --mode fork --memory-mb 1       one response at a time on both sides
    vlmrl bench update --model random-3b --image 896 --completion 512 --gradient-checkpointing --json    on a GPU

An update is forward pass, backward pass, clipping and optimizer step on groups with behaviour logprobs. Both sides have
the same weights and optimizer state; a learning rate close to zero does not change them. The bench fails unless loss
and gradient norm of their first update agree.
"""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, TextIO

import numpy as np
import psutil
import torch

from vlmrl.bench import planner, trl_side
from vlmrl.bench.geometry import Geometry, groups
from vlmrl.bench.memory import in_new_process, peak_bytes
from vlmrl.bench.table import print_table
from vlmrl.bench.timing import ratio, seconds, take_turns
from vlmrl.config.learner import LearnerSettings
from vlmrl.config.objective import ObjectiveSettings
from vlmrl.errors import UserError
from vlmrl.models.policy import Policy, choose_device
from vlmrl.rollout.group import Group
from vlmrl.train.flops import update_flops
from vlmrl.train.learner import Learner
from vlmrl.train.planner import Mode

LEARNER = LearnerSettings(warmup_steps=0, learning_rate=1e-30, row_tokens=16384)
"""Rows large enough for whole groups of the published figures, because TRL gets its best micro-batch too."""
OBJECTIVE = ObjectiveSettings(epsilon=1e-4)
"""TRL's epsilon, which is not a setting there."""
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2}
"""Relative for the gradient norm, absolute for the loss, a mean of terms of about 1 that nearly cancel."""

PEAK_FLOPS = {
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H200": 989e12,
}
"""bfloat16 FLOPs per second on tensor cores, without sparsity: NVIDIA's data sheets of A100, H100 and H200 (SXM)."""

Update = Callable[[], tuple[float, float]]
"""Does one optimizer step; returns the loss and the gradient norm before clipping."""


class Ours(NamedTuple):
    """How our side plans its passes."""

    mode: Mode = "auto"
    memory_mb: float | None = None


AUTO, PLAIN = Ours(), Ours("plain")


def measure(geometry: Geometry, against: str, rounds: int, with_memory: bool, ours: Ours = AUTO) -> dict[str, Any]:
    """Figures of one geometry in seconds, bytes and FLOPs: the contract of `--json`."""
    policy = _without_bans(geometry)
    dtype, device = policy.compute, policy.device
    bench_groups = groups(geometry, policy)
    flops = {kind: update_flops(policy.core, bench_groups, kind == "unique") for kind in ("unique", "plain")}
    if ours.mode == "packed" and policy.recurrent:
        raise UserError(f"--mode packed: {policy.core.config.model_type!r} has recurrent layers; give fork")
    setting = _trl_setting(geometry, against, bench_groups, policy)
    learner = _learner(policy, ours)
    difference, ours_s, theirs_s = _race(geometry, against, bench_groups, learner, setting, rounds)
    speedup = ratio(theirs_s, ours_s)
    bound = flops["plain"].total / flops["unique"].total
    flops_per_s = [flops["unique"].total / statistics.median(seconds) for seconds in (ours_s, theirs_s)]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    peak = PEAK_FLOPS.get(name) if dtype == torch.bfloat16 else None
    passes = [planned.chunks for planned in learner.planner.plan(planner.items_of(bench_groups))]
    del policy, learner
    _free()
    peaks = _peaks(geometry, against, bench_groups, dtype, setting, ours) if with_memory else {}
    return {
        "geometry": geometry.describe()
        | {"prompt": len(bench_groups[0].prompt), "patches": bench_groups[0].prompt.patches},
        "against": against,
        "device": name,
        "speedup": speedup.median,
        "speedup_low": speedup.low,
        "speedup_high": speedup.high,
        "bound": bound,
        "efficiency": speedup.median / bound,
        "peak_memory_ratio": _ratio(peaks, "theirs"),
        "peak_memory_ratio_whole": _ratio(peaks, "theirs_whole"),
        **difference,
        "ours_s": statistics.median(ours_s),
        "theirs_s": statistics.median(theirs_s),
        **{f"{side}_peak_bytes": peaks.get(side) for side in ("ours", "theirs", "theirs_whole")},
        "unique_tokens": sum(group.tokens for group in bench_groups),
        "plain_tokens": sum(len(g.prompt) + len(r.token_ids) for g in bench_groups for r in g.rollouts),
        "flops": {kind: part._asdict() | {"total": part.total} for kind, part in flops.items()},
        "ours_flops_per_s": flops_per_s[0],
        "ours_mfu": flops_per_s[0] / peak if peak else None,
        "theirs_mfu": flops_per_s[1] / peak if peak else None,
        "ours_settings": ours._asdict(),
        "chunks": [len(chunks) for chunks in passes if chunks],
        "theirs_settings": setting,
        "rounds": rounds,
    }


def _race(
    geometry: Geometry,
    against: str,
    bench_groups: Sequence[Group],
    learner: Learner,
    setting: dict[str, Any],
    rounds: int,
) -> tuple[dict[str, float], list[float], list[float]]:
    """Differences of loss and gradient norm, and the seconds of both sides' updates."""
    compute = learner.policy.compute
    ours = _learner_update(learner, bench_groups)
    theirs = _other_update(geometry, against, bench_groups, compute, setting, learner)
    difference = _compare(ours(), theirs(), TOLERANCE[compute])  # these calls also warm up
    ours_s, theirs_s = take_turns([ours, theirs], rounds, warmups=0)
    return difference, ours_s, theirs_s


def _without_bans(geometry: Geometry) -> Policy:
    """The policy without banned tokens: TRL bans no placeholders, so the losses would differ."""
    policy = geometry.load()
    policy.formatter.placeholder_ids = np.zeros(0, dtype=np.int64)  # pyright: ignore[reportAttributeAccessIssue]
    return policy


def _learner(policy: Policy, ours: Ours = AUTO) -> Learner:
    settings = LEARNER.model_copy(update={"memory_mb": ours.memory_mb})
    return Learner(policy, settings, OBJECTIVE, run_updates=1, mode=ours.mode)


def _learner_update(learner: Learner, bench_groups: Sequence[Group]) -> Update:
    def update() -> tuple[float, float]:
        report = learner.update(bench_groups)
        _synchronise()
        return report.loss, report.grad_norm

    return update


def _other_update(
    geometry: Geometry,
    against: str,
    bench_groups: Sequence[Group],
    dtype: torch.dtype,
    setting: dict[str, Any],
    shared_with: Learner | None = None,
) -> Update:
    """The other side's update. It uses the weights and optimizer state of the learner `shared_with`, if given, because
    a GPU cannot hold a large model twice."""
    if against == "plain":
        learner = _learner(shared_with.policy if shared_with else _without_bans(geometry), PLAIN)
        if shared_with:
            learner.optimizer, learner.scheduler = shared_with.optimizer, shared_with.scheduler
        return _learner_update(learner, bench_groups)
    assert geometry.model
    run = trl_side.TrlUpdate(
        geometry.model,
        bench_groups,
        LEARNER,
        OBJECTIVE,
        gradient_checkpointing=geometry.gradient_checkpointing,
        bf16=dtype == torch.bfloat16,
        **setting,
    )
    if shared_with:
        run.share(shared_with.policy.model, shared_with.optimizer)

    def update() -> tuple[float, float]:
        result = run()
        _synchronise()
        return result

    return update


def _trl_setting(geometry: Geometry, against: str, bench_groups: Sequence[Group], policy: Policy) -> dict[str, Any]:
    """TRL's fastest settings: its best attention for the whole batch, with that batch or one completion at a time.

    The leanest are one completion at a time with sdpa, which stores no scores.
    """
    if against != "trl":
        return {"attention": "sdpa", "micro_batch": 1} if against == "trl-lean" else {}
    learner = _learner(policy)

    def timed(attention: str, micro_batch: int) -> tuple[float, dict[str, Any]]:
        setting: dict[str, Any] = {"attention": attention, "micro_batch": micro_batch}
        _free()
        try:
            return seconds(_other_update(geometry, "trl", bench_groups, policy.compute, setting, learner)), setting
        except torch.cuda.OutOfMemoryError:  # does not fit
            return math.inf, setting

    whole = geometry.group * geometry.groups
    timed("sdpa", 1)  # warm-up
    names = [name for name in trl_side.ATTENTION if name != "eager" or _scores_fit(bench_groups, policy)]
    best = min((timed(name, whole) for name in names), key=itemgetter(0))
    return min(best, timed(best[1]["attention"], 1), key=itemgetter(0))[1]


def _scores_fit(bench_groups: Sequence[Group], policy: Policy) -> bool:
    """Whether main memory can hold all scores of eager attention, their softmax and its gradient. Linux kills a process
    that needs more, without an exception to catch."""
    config, rows = policy.formatter.config.text_config, sum(len(group.rollouts) for group in bench_groups)
    longest = max(len(group.prompt) + len(rollout.token_ids) for group in bench_groups for rollout in group.rollouts)
    scores = 4 * rows * config.num_hidden_layers * config.num_attention_heads * longest**2
    return policy.device.type == "cuda" or 3 * scores < psutil.virtual_memory().available


def _compare(ours: tuple[float, float], theirs: tuple[float, float], tolerance: float) -> dict[str, float]:
    loss, norm = abs(ours[0] - theirs[0]), abs(ours[1] / theirs[1] - 1)
    if not (loss <= tolerance and norm <= tolerance):
        raise RuntimeError(f"not the same update: loss and gradient norm are {ours} here and {theirs} there")
    return {"loss_abs_diff": loss, "grad_norm_rel_diff": norm}


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _free() -> None:
    """Frees the memory of unreachable reference cycles, such as trainers."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


# --- memory -----------------------------------------------------------------------------------------------


def _peaks(
    geometry: Geometry,
    against: str,
    bench_groups: Sequence[Group],
    dtype: torch.dtype,
    setting: dict[str, Any],
    ours: Ours,
) -> dict[str, int | None]:
    """Peak bytes of our update and of theirs, each in a separate process. If TRL is fastest with one completion at a
    time, its peak with the whole batch is measured too."""
    sides = {"ours": ("ours", setting), "theirs": (against, setting)}
    if against == "trl" and setting["micro_batch"] == 1:
        sides["theirs_whole"] = (against, setting | {"micro_batch": geometry.group * geometry.groups})
    return {
        name: in_new_process(_peak, geometry, side, bench_groups, dtype, how, ours)
        for name, (side, how) in sides.items()
    }


def _ratio(peaks: dict[str, int | None], other: str) -> float | None:
    ours, theirs = peaks.get("ours"), peaks.get(other)
    return ours / theirs if ours and theirs else None


def _peak(
    geometry: Geometry,
    side: str,
    bench_groups: Sequence[Group],
    dtype: torch.dtype,
    setting: dict[str, Any],
    ours: Ours,
) -> int | None:
    device = torch.device(choose_device("auto"))
    if side == "ours":
        learner = _learner(_without_bans(geometry), ours)
        _ = learner.planner.footprint  # its own passes do not belong to an update
        return peak_bytes(_learner_update(learner, bench_groups), device)
    return peak_bytes(_other_update(geometry, side, bench_groups, dtype, setting), device)


# --- the command ------------------------------------------------------------------------------------------


def bench_update(
    cells: Sequence[Geometry], against: str, rounds: int, with_memory: bool, ours: Ours, as_json: bool, out: TextIO
) -> None:
    """Measures each geometry and prints the figures."""
    if against != "plain":
        trl_side.require()
    print_table(cells, lambda cell: measure(cell, against, rounds, with_memory, ours), _line, as_json, out)


def _line(figures: dict[str, Any]) -> str:
    g, memory, whole = figures["geometry"], figures["peak_memory_ratio"], figures["peak_memory_ratio_whole"]
    return (
        f"P {g['prompt']} R {g['completion']} G {g['group']} x {g['groups']}: {figures['speedup']:.2f}x "
        f"({figures['speedup_low']:.2f}-{figures['speedup_high']:.2f}) of {figures['against']}, "
        f"bound {figures['bound']:.2f}x, efficiency {figures['efficiency']:.0%}, "
        f"{figures['ours_s']:.3f} s / {figures['theirs_s']:.3f} s"
        + (f", {sum(figures['chunks'])} chunks" if figures["chunks"] else "")
        + (f", peak memory {memory:.2f} of theirs" if memory else "")
        + (f" ({whole:.2f} with its whole batch at once)" if whole else "")
        + (f", MFU {figures['ours_mfu']:.0%} / {figures['theirs_mfu']:.0%}" if figures["ours_mfu"] else "")
    )
