"""Cost of samplers at scale: time of `next` and `observe`, and memory, each sampler in a separate process.

    vlmrl bench sampler rlcs --prompts 10000000

The prompts have three sources, all are graded, and four in five were visited. `memory_mb` is the peak resident memory
of the process, with Python and numpy; `new_epoch_ms` is the time of a `next` that starts an epoch.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.progress import track

from vlmrl import catalog
from vlmrl.config.sampler import SamplerSettings
from vlmrl.curriculum import create_sampler
from vlmrl.curriculum.memory import PromptMemory
from vlmrl.rollout import Rollout
from vlmrl.rollout.group import Group
from vlmrl.sample import Message, RewardSpec, Sample
from vlmrl.verdict import Verdict

ROUNDS = 100


def bench_sampler(names: Sequence[str], prompts: int, draw: int, as_json: bool) -> None:
    """Prints the cost of these samplers, or of all if no name is given; `UserError` for an unknown one."""
    for name in names:
        catalog.load("samplers", name)
    context = multiprocessing.get_context("spawn")
    results = []
    for name in track(names or catalog.names("samplers"), "bench sampler", transient=True, disable=as_json):
        with context.Pool(1) as pool:
            results.append(pool.apply(measure, (name, prompts, draw)))
    if as_json:
        print(json.dumps(results, indent=2))
        return
    for one in results:
        times = ", ".join(f"{key} {value:.2f}" for key, value in one["next_ms"].items())
        print(
            f"{one['sampler']}: next({draw}) {times} ms; a new epoch {one['new_epoch_ms']:.0f} ms; "
            f"{one['memory_mb']:.0f} MB"
        )


def measure(name: str, prompts: int, draw: int) -> dict[str, Any]:
    """Measures one sampler in this process, in milliseconds and 10^6 bytes."""
    memory = _filled_memory(prompts)
    started = time.perf_counter()
    sampler = create_sampler(SamplerSettings(name=name), memory, seed=0)
    create_s = time.perf_counter() - started
    next_ms, observe_ms = [], []
    rng = np.random.default_rng(1)
    for step in range(1, ROUNDS + 1):
        sampler.begin(step, step / ROUNDS)
        started = time.perf_counter()
        indices = sampler.next(draw)
        next_ms.append((time.perf_counter() - started) * 1e3)
        groups = [_group(index, right) for index, right in zip(indices, rng.integers(0, 9, len(indices)), strict=True)]
        started = time.perf_counter()
        memory.observe(groups)
        sampler.observe(groups)
        observe_ms.append((time.perf_counter() - started) * 1e3)
        sampler.batch(draw)
    return {
        "sampler": name,
        "prompts": prompts,
        "draw": draw,
        "create_s": create_s,
        "next_ms": {"median": float(np.median(next_ms)), "p99": float(np.quantile(next_ms, 0.99)), "max": max(next_ms)},
        "observe_ms": float(np.median(observe_ms)),
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "new_epoch_ms": _new_epoch_ms(sampler, draw),
    }


def _new_epoch_ms(sampler: Any, draw: int) -> float:
    base = getattr(sampler, "base", sampler)
    for stream in base.streams:
        stream.cursor = len(stream)
    started = time.perf_counter()
    sampler.next(draw)
    return (time.perf_counter() - started) * 1e3


def _filled_memory(prompts: int) -> PromptMemory:
    """A prompt memory as in the middle of a run; half of the prompts are flat."""
    rng = np.random.default_rng(0)
    memory = PromptMemory(rng.integers(0, 3, prompts, dtype=np.int16), ("a", "b", "c"))
    for start in range(0, prompts, 1_000_000):
        part = slice(start, min(start + 1_000_000, prompts))
        size = part.stop - part.start
        rate = rng.choice(np.array([0, 0, 1, 1, 0.125, 0.25, 0.5, 0.75], np.float32), size)
        visited = rng.random(size) < 0.8
        memory.graded_pass_rate_N[part] = rate
        memory.graded_spread_N[part] = np.sqrt(rate * (1 - rate))
        memory.graded_length_N[part] = rng.random(size, np.float32) * 1000
        memory.last_N[part] = np.where(visited, rate, np.nan)
        memory.spread_N[part] = np.where(visited, np.sqrt(rate * (1 - rate)), np.nan)
        memory.visits_N[part] = visited * rng.integers(1, 9, size, dtype=np.uint16)
        memory.flat_visits_N[part] = np.where(rate * (1 - rate) == 0, memory.visits_N[part], 0)
    return memory


SAMPLE = Sample(
    id="s",
    source="a",
    messages=(Message(role="user", content="?"),),
    reward=(RewardSpec(verifier="exact", target="!"),),
)


def _group(index: int, right: int) -> Group:
    rollouts = [Rollout((0,), (0.0,), "", "stop", 0)] * 8
    verdicts = [Verdict(1.0)] * right + [Verdict(0.0)] * (8 - right)
    return Group(SAMPLE, None, rollouts, verdicts, index=int(index))  # pyright: ignore[reportArgumentType]
