"""vlmrl bench update: the learner's update of the policy beside another one on the same prompts and completions.

    vlmrl bench update                                   against our own plain path: the prompt once a completion
    vlmrl bench update --against trl --completion 32 128 --group 8 16
    vlmrl bench update --model Qwen/Qwen2.5-VL-3B-Instruct --image 896 --completion 512 --json

An update is forward pass, backward pass, clipping and optimizer step from groups with behaviour logprobs. Both sides
start from the same weights; loss and gradient norm of their first update must agree, or there is no figure.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, TextIO

import numpy as np
import torch

from vlmrl.bench import trl_side
from vlmrl.bench.geometry import Geometry, groups
from vlmrl.bench.memory import in_a_child, peak_bytes
from vlmrl.bench.table import print_table
from vlmrl.bench.timing import ratio, seconds, take_turns
from vlmrl.flops import update_flops
from vlmrl.group import Group
from vlmrl.learner import Learner
from vlmrl.objective_settings import ObjectiveSettings
from vlmrl.policy import Policy
from vlmrl.settings import LearnerSettings

LEARNER = LearnerSettings(warmup_steps=0)
OBJECTIVE = ObjectiveSettings(epsilon=1e-4)
"""TRL's epsilon, which it has no setting for."""
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2}
"""Of the gradient norm, relative; of the loss, absolute: it is a mean of terms of about 1 that nearly cancel."""

Update = Callable[[], tuple[float, float]]
"""Does one optimizer step; returns the loss and the gradient norm before clipping."""


def measure(geometry: Geometry, against: str, rounds: int, with_memory: bool) -> dict[str, Any]:
    """Figures of one geometry: the contract of `--json`, in seconds, bytes and FLOPs."""
    policy = _without_bans(geometry)
    made = groups(geometry, policy)
    flops = {kind: update_flops(policy.core, made, kind == "unique") for kind in ("unique", "plain")}
    dtype = policy.compute
    setting = _fastest_trl(geometry, made, dtype) if against == "trl" else {}
    ours, theirs = _learner_update(policy, made, True), _other_update(geometry, against, made, dtype, setting)
    difference = _compare(ours(), theirs(), TOLERANCE[dtype])
    ours_s, theirs_s = take_turns([ours, theirs], rounds, warmups=1)
    speedup = ratio(theirs_s, ours_s)
    bound = flops["plain"].total / flops["unique"].total
    del ours, theirs
    memory = _memory(geometry, against, made, dtype, setting) if with_memory else (None, None)
    median_s = statistics.median(ours_s)
    return {
        "geometry": geometry.describe() | {"prompt": len(made[0].prompt), "patches": made[0].prompt.patches},
        "against": against,
        "speedup": speedup.median,
        "speedup_low": speedup.low,
        "speedup_high": speedup.high,
        "bound": bound,
        "efficiency": speedup.median / bound,
        "peak_memory_ratio": memory[0] / memory[1] if memory[0] and memory[1] else None,
        **difference,
        "ours_s": median_s,
        "theirs_s": statistics.median(theirs_s),
        "ours_peak_bytes": memory[0],
        "theirs_peak_bytes": memory[1],
        "unique_tokens": sum(group.tokens for group in made),
        "plain_tokens": sum(len(g.prompt) + len(r.token_ids) for g in made for r in g.rollouts),
        "flops": {kind: part._asdict() | {"total": part.total} for kind, part in flops.items()},
        "ours_flops_per_s": flops["unique"].total / median_s,
        "theirs_settings": setting,
        "rounds": rounds,
    }


def _without_bans(geometry: Geometry) -> Policy:
    """The policy, without bans: TRL gives placeholder tokens their mass, so that the losses would differ."""
    policy = geometry.load()
    policy.formatter.placeholder_ids = np.zeros(0, dtype=np.int64)  # pyright: ignore[reportAttributeAccessIssue]
    return policy


def _learner_update(policy: Policy, made: Sequence[Group], share_prompt: bool) -> Update:
    settings = LEARNER.model_copy(update={"share_prompt": share_prompt})
    learner = Learner(policy, settings, OBJECTIVE, run_updates=1)

    def update() -> tuple[float, float]:
        report = learner.update(made)
        _synchronise()
        return report.loss, report.grad_norm

    return update


def _other_update(
    geometry: Geometry, against: str, made: Sequence[Group], dtype: torch.dtype, setting: dict[str, Any]
) -> Update:
    if against == "plain":
        return _learner_update(_without_bans(geometry), made, False)
    assert geometry.model
    run = trl_side.TrlUpdate(
        geometry.model,
        made,
        LEARNER,
        OBJECTIVE,
        gradient_checkpointing=geometry.gradient_checkpointing,
        bf16=dtype == torch.bfloat16,
        **setting,
    )

    def update() -> tuple[float, float]:
        told = run()
        _synchronise()
        return told

    return update


def _fastest_trl(geometry: Geometry, made: Sequence[Group], dtype: torch.dtype) -> dict[str, Any]:
    """TRL's best attention for its whole batch at once; then whether one completion at a time is faster."""

    def timed(attention: str, micro_batch: int) -> tuple[float, dict[str, Any]]:
        setting: dict[str, Any] = {"attention": attention, "micro_batch": micro_batch}
        return seconds(_other_update(geometry, "trl", made, dtype, setting)), setting

    whole = geometry.group * geometry.groups
    timed("sdpa", 1)  # warm-up
    best = min((timed(name, whole) for name in trl_side.ATTENTION), key=itemgetter(0))
    return min(best, timed(best[1]["attention"], 1), key=itemgetter(0))[1]


def _compare(ours: tuple[float, float], theirs: tuple[float, float], tolerance: float) -> dict[str, float]:
    loss, norm = abs(ours[0] - theirs[0]), abs(ours[1] / theirs[1] - 1)
    if not (loss <= tolerance and norm <= tolerance):
        raise RuntimeError(f"not the same update: loss and gradient norm are {ours} here and {theirs} there")
    return {"loss_abs_diff": loss, "grad_norm_rel_diff": norm}


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


# --- memory -----------------------------------------------------------------------------------------------


def _memory(
    geometry: Geometry, against: str, made: Sequence[Group], dtype: torch.dtype, setting: dict[str, Any]
) -> tuple[int | None, int | None]:
    """Peak bytes of our update and of theirs, each in a process of its own."""
    return (
        in_a_child(_peak, geometry, "ours", made, dtype, setting),
        in_a_child(_peak, geometry, against, made, dtype, setting),
    )


def _peak(
    geometry: Geometry, side: str, made: Sequence[Group], dtype: torch.dtype, setting: dict[str, Any]
) -> int | None:
    if side == "ours":
        return peak_bytes(_learner_update(_without_bans(geometry), made, True))
    return peak_bytes(_other_update(geometry, side, made, dtype, setting))


# --- the command ------------------------------------------------------------------------------------------


def bench_update(
    cells: Sequence[Geometry], against: str, rounds: int, with_memory: bool, as_json: bool, out: TextIO
) -> None:
    """Prints the figures of each geometry."""
    if against == "trl":
        trl_side.require()
    print_table(cells, lambda cell: measure(cell, against, rounds, with_memory), _line, as_json, out)


def _line(figures: dict[str, Any]) -> str:
    g, memory = figures["geometry"], figures["peak_memory_ratio"]
    return (
        f"P {g['prompt']} R {g['completion']} G {g['group']} x {g['groups']}: {figures['speedup']:.2f}x "
        f"({figures['speedup_low']:.2f}-{figures['speedup_high']:.2f}) of {figures['against']}, "
        f"bound {figures['bound']:.2f}x, efficiency {figures['efficiency']:.0%}, "
        f"{figures['ours_s']:.3f} s / {figures['theirs_s']:.3f} s"
        + (f", peak memory {memory:.2f} of theirs" if memory else "")
    )
