"""vlmrl bench planner: predictions of the micro-batch planner beside measurements.

    vlmrl bench planner                         200 random batches on the 7.3 M parameters of the other benches
    vlmrl bench planner --batches 20 --model Qwen/Qwen2.5-VL-3B-Instruct --json

A batch mixes text, one image, several images and video, with random lengths and group sizes. Its memory budget is drawn
between the smallest possible one and that of a single row. The bench measures the peak of each update beyond the
weights and the optimizer's state, in a separate process, and the seconds of each update.
"""

from __future__ import annotations

import ctypes
import gc
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TextIO

import numpy as np
import torch

from vlmrl.bench.geometry import model_folder
from vlmrl.bench.memory import in_new_process
from vlmrl.config.learner import LearnerSettings
from vlmrl.config.model import ModelSettings
from vlmrl.config.objective import ObjectiveSettings
from vlmrl.errors import UserError
from vlmrl.models.encoded_prompt import EncodedPrompt
from vlmrl.models.packing import Item, work_of
from vlmrl.models.policy import Policy, choose_device
from vlmrl.rollout import Rollout
from vlmrl.rollout.group import Group
from vlmrl.sample import MediaSet, Message, RewardSpec, Sample
from vlmrl.train import device_memory
from vlmrl.train.learner import Learner
from vlmrl.train.planner import MB, Planner
from vlmrl.verdict import Verdict

MALLOC_MMAP_THRESHOLD = -3  # malloc.h


@dataclass(frozen=True)
class Batches:
    """The random batches; `size` scales images, prompts and responses."""

    model: ModelSettings
    count: int
    seed: int = 0
    size: float = 1.0


class Peak(NamedTuple):
    """Bytes of one batch's update, and its number of rows."""

    budget: float
    predicted: float
    measured: float
    rows: int


def measure(batches: Batches) -> dict[str, Any]:
    """The figures of `--json`."""
    if not device_memory.measurable(torch.device(choose_device(batches.model.device))):
        raise UserError("bench planner: peak memory is measured on Linux and on CUDA only")
    peaks = [Peak(*peak) for peak in in_new_process(peaks_of, batches)]
    costs, times = map(np.array, zip(*_times(batches), strict=True))
    use = [peak.measured / peak.budget for peak in peaks]
    accuracy = [peak.predicted / peak.measured for peak in peaks]
    return {
        "model": batches.model.path,
        "batches": batches.count,
        "over_budget": sum(peak.measured > peak.budget for peak in peaks),
        "measured_over_budget_max": max(use),
        "measured_over_budget_median": float(np.median(use)),
        "predicted_over_measured_min": min(accuracy),
        "predicted_over_measured_median": float(np.median(accuracy)),
        "predicted_over_measured_max": max(accuracy),
        "rows_mean": float(np.mean([peak.rows for peak in peaks])),
        "cost_time_correlation": float(np.corrcoef(costs, times)[0, 1]),
    }


def peaks_of(batches: Batches) -> list[Peak]:
    """Predicted and measured peak of every batch's update; call it in a new process."""
    if choose_device(batches.model.device) == "cpu":
        # Returns freed blocks to the system at once. Otherwise the high-water mark would be that of earlier batches.
        ctypes.CDLL(None).mallopt(MALLOC_MMAP_THRESHOLD, 1 << 16)
    results = []
    for learner, groups, budget in _updates(batches):
        planner = learner.planner
        if not results:
            learner.update(groups)  # allocates the optimizer's state and the buffers of libraries
            planner.metrics()
        gc.collect()
        learner.update(groups)
        metrics = planner.metrics()
        measured = metrics["seconds/plan/memory_mb"] * MB
        results.append(Peak(budget, metrics["plan/memory_mb"] * MB, measured, round(metrics["plan/rows"])))
    return results


def _times(batches: Batches) -> list[tuple[float, float]]:
    """Predicted cost of the rows and seconds of every batch's update; on CPU it is processor time."""
    clock = time.process_time if choose_device(batches.model.device) == "cpu" else time.perf_counter
    results: list[tuple[float, float]] = []
    for learner, groups, _ in _updates(batches):
        if not results:
            learner.update(groups)
        cost = sum(learner.planner.cost(planned.work) for planned in learner.planner.plan(items_of(groups)))
        started = clock()
        learner.update(groups)
        results.append((cost, clock() - started))
    return results


def _updates(batches: Batches) -> Iterator[tuple[Learner, list[Group], float]]:
    """For each batch the learner, the groups and the memory budget in bytes, which is set in the learner's planner."""
    random = np.random.default_rng(batches.seed)
    torch.manual_seed(batches.seed)
    policy = Policy.load(batches.model)
    learner = Learner(policy, LearnerSettings(warmup_steps=0), ObjectiveSettings(epsilon=1e-4), run_updates=1)
    footprint = learner.planner.footprint
    for _ in range(batches.count):
        groups = [_group(policy, batches.size, random) for _ in range(random.integers(1, 5))]
        unlimited, items = Planner(policy, learner.settings), items_of(groups)
        singles = [item.part([n]) for item in items for n in range(len(item.responses))]
        unlimited.footprint = footprint
        least = max(unlimited.memory(replace(work_of(one, unlimited), kept=len(one.prompt))) for one in singles)
        budget = random.uniform(least, unlimited.memory(unlimited.plan(items)[0].held))
        settings = learner.settings.model_copy(update={"memory_mb": budget / MB, "row_tokens": 2**20})
        learner.planner = Planner(policy, settings)
        learner.planner.footprint = footprint
        yield learner, groups, budget


def items_of(groups: list[Group]) -> list[Item]:
    return [Item(n, group.prompt, [r.token_ids for r in group.rollouts]) for n, group in enumerate(groups)]


def _group(policy: Policy, size: float, random: np.random.Generator) -> Group:
    """A group with random pixels, lengths and scores."""
    kind = random.choice(["text", "image", "images", "video"])
    prompt = _prompt(policy, str(kind), size, random)
    lengths = 1 + random.geometric(1 / (48 * size), random.integers(2, 9)).clip(max=int(256 * size))
    word = int(policy.formatter.tokenizer.eos_token_id)
    rollouts = [Rollout((word,) * int(n), (-5.0,) * int(n), "", "stop", 0) for n in lengths]
    scores = random.permutation(np.linspace(0, 1, len(lengths)))
    sample = Sample(
        id=str(kind),
        source="bench",
        messages=(Message(role="user", content="?"),),
        media=MediaSet(),
        reward=(RewardSpec(verifier="ocr", target="?"),),
    )
    return Group(sample, prompt, rollouts, [Verdict(float(score)) for score in scores])


def _prompt(policy: Policy, kind: str, size: float, random: np.random.Generator) -> EncodedPrompt:
    config = policy.core.config
    vision, merge = config.vision_config, config.vision_config.spatial_merge_size
    largest = max(3, int(16 * size**0.5))

    def sides() -> list[int]:
        return [int(n) * merge for n in random.integers(2, largest, 2)]

    grids = {
        "text": [],
        "image": [[1, *sides()]],
        "images": [[1, *sides()] for _ in range(random.integers(2, 4))],
        "video": [[int(random.integers(2, 5)), *[n // 2 // merge * merge + merge for n in sides()]]],
    }[kind]
    name, number = ("video", 2) if kind == "video" else ("image", 1)
    token = getattr(config, f"{name}_token_id")
    # The frames of a video are separate, as Qwen3-VL needs them; for the other families it makes no difference.
    counts = [h * w // merge**2 for t, h, w in grids for _ in range(t)]
    word = int(policy.formatter.tokenizer.eos_token_id)
    ids = [word] * int(random.integers(8, int(160 * size)))
    for count in counts:
        ids += [token] * count + [word]
    input_ids = torch.tensor(ids)
    types = (input_ids == token).long() * number
    values: dict[str, torch.Tensor] = {}
    if grids:
        channels = getattr(vision, "in_channels", None) or vision.in_chans
        pixels = random.normal(size=(sum(t * h * w for t, h, w in grids), 1)).astype(np.float32)
        width = channels * vision.temporal_patch_size * vision.patch_size**2
        values["pixel_values" if name == "image" else "pixel_values_videos"] = torch.from_numpy(pixels).repeat(1, width)
        values[f"{name}_grid_thw"] = torch.tensor(grids)
    return EncodedPrompt(kind, input_ids, types, torch.arange(len(ids)).expand(3, -1), len(ids), values)


def bench_planner(path: str | None, batches: int, checkpointing: bool, as_json: bool, out: TextIO) -> None:
    """Measures random batches and prints the figures."""
    with model_folder(path) as folder:
        settings = ModelSettings(path=folder, gradient_checkpointing=checkpointing, max_prompt_tokens=10**9)
        figures = measure(Batches(settings, batches))
    if as_json:
        print(json.dumps(figures, indent=2), file=out)
        return
    print(
        f"{figures['batches']} batches of {figures['rows_mean']:.1f} rows: {figures['over_budget']} over budget, "
        f"peak {figures['measured_over_budget_median']:.0%} of it (at most {figures['measured_over_budget_max']:.0%}), "
        f"predicted / measured {figures['predicted_over_measured_min']:.2f} to "
        f"{figures['predicted_over_measured_max']:.2f}; cost and seconds correlate by "
        f"{figures['cost_time_correlation']:.3f}",
        file=out,
    )
