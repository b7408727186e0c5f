"""The curriculum experiment: how many rollouts each sampler needs to reach the reward of uniform sampling.

    vlmrl bench curriculum [--steps 300] [--seeds 3] [--prompts 4800]

The data set consists of graded prompts: half of them the tiny model solved in 8 of 8 tries, a quarter it never solved,
a quarter are in between. All samplers make the same number of updates, each from about eight groups with spread.
Uniform sampling generates 32 groups to get them, the others fewer. Graded samplers use the grades from which the data
set was made; their rollouts are not counted. Parts that already exist are not computed again.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vlmrl import catalog
from vlmrl.bench.curriculum_results import write_results
from vlmrl.bench.experiment import run_vlmrl, train
from vlmrl.curriculum.memory import content_keys
from vlmrl.data.sample_files import read_samples, write_samples
from vlmrl.errors import UserError
from vlmrl.sample import Sample

RUN_FILE = "bench_curriculum"
SOURCES = ("counting", "math", "caption")
GRADED = "grades.parquet"
HISTORY = ["--sampler.history", GRADED]
EXPLORE = ["--sampler.skip_solved.explore", "0.05"]
"""Lower exploration: a grade says more than the first visit, from which p^z starts."""
GATE = ["--sampler.admit", "[0.2, 0.8]"]
SAMPLERS: dict[str, list[str]] = {
    "uniform": ["--sampler.name", "uniform"],
    "skip_solved": ["--sampler.name", "skip_solved", "--rollout.prompts", "12"],
    "skip_solved, graded": ["--sampler.name", "skip_solved", "--rollout.prompts", "11", *HISTORY, *EXPLORE],
    "skip_solved, gated": ["--sampler.name", "skip_solved", "--rollout.prompts", "11", *HISTORY, *EXPLORE, *GATE],
    "rlcs": ["--sampler.name", "rlcs", "--rollout.prompts", "8"],
    "rlcs, graded": ["--sampler.name", "rlcs", "--rollout.prompts", "8", *HISTORY],
}
"""Flags by sampler. `rlcs` generates groups for more than `rollout.prompts` prompts and trains on the useful ones."""
SHARES = {"solved": 0.5, "hopeless": 0.25, "between": 0.25}


def bench_curriculum(
    out: Path, samplers: Sequence[str] | None, steps: int, seeds: int, prompts: int, flags: Sequence[str]
) -> None:
    """Completes the experiment in the folder `out` and prints its table; `flags` are passed to every run."""
    for name in samplers or ():
        if name not in SAMPLERS:
            raise UserError(f"--samplers {name!r}: not one of {', '.join(map(repr, SAMPLERS))}")
    data = build_data(out, prompts, flags)
    runs: dict[str, list[Path]] = {name: [] for name in samplers or SAMPLERS}
    for seed, (name, folders) in itertools.product(range(seeds), runs.items()):
        sampler = [json.dumps([str(out / GRADED)]) if word == GRADED else word for word in SAMPLERS[name]]
        folders.append(train(out, RUN_FILE, name, steps, seed, data, [*sampler, *flags]))
    print(write_results(out, runs))


# --- data -------------------------------------------------------------------------------------------------


def build_data(out: Path, prompts: int, flags: Sequence[str]) -> Path:
    """The data set of graded prompts; it is smaller if the pool has too few of one kind."""
    data, pool = out / "train.parquet", out / "pool.parquet"
    if data.exists():
        return data
    if not pool.exists():
        write_samples(pool, _pool(prompts))
    grades = out / GRADED
    if not grades.exists():
        run_vlmrl("data", "grade", RUN_FILE, "--out", grades, "--data.train", json.dumps([str(pool)]), *flags)
    kinds = _by_kind(pool, grades)
    size = min(prompts, *(int(len(kinds[kind]) / share) for kind, share in SHARES.items()))
    chosen = sorted(index for kind, share in SHARES.items() for index in kinds[kind][: int(size * share)])
    chosen_indices = set(chosen)
    write_samples(data, (sample for index, sample in enumerate(read_samples(pool)) if index in chosen_indices))
    counts = {kind: int(size * share) for kind, share in SHARES.items()}
    print(f"{data}: {counts} of {sum(map(len, kinds.values()))} graded prompts", file=sys.stderr)
    return data


def _pool(prompts: int) -> Iterator[Sample]:
    """A pool with enough of each kind: one counting prompt in six is solved, and most hard prompts are never solved."""
    build = catalog.load("recipes", "synthetic").build
    yield from build(4 * prompts, sources=("counting",), seed=11)
    yield from build(prompts // 4, sources=("math", "caption"), seed=11)
    yield from build(prompts // 4, sources=SOURCES, seed=12, difficulty=3)


def _by_kind(pool: Path, grades: Path) -> dict[str, list[int]]:
    """Indices in the pool of the prompts of each kind, without duplicates."""
    import pyarrow.parquet as pq

    table = pq.read_table(grades, columns=["key", "pass_rate"]).to_pydict()
    rates = {int(key, 16): rate for key, rate in zip(table["key"], table["pass_rate"], strict=True)}
    keys, first = np.unique(content_keys(read_samples(pool)), return_index=True)
    kinds: dict[str, list[int]] = {kind: [] for kind in SHARES}
    for key, index in sorted(zip(keys.tolist(), first.tolist(), strict=True), key=lambda pair: pair[1]):
        rate = rates.get(key)
        if rate is not None:
            kinds["solved" if rate == 1 else "hopeless" if rate == 0 else "between"].append(index)
    rng = np.random.default_rng(0)
    return {kind: rng.permutation(indices).tolist() for kind, indices in kinds.items()}
