"""vlmrl bench planner: does the micro-batch planner keep its promises?

    vlmrl bench planner                         200 random batches on the 7.3 M parameters of the other benches
    vlmrl bench planner --batches 20 --model Qwen/Qwen2.5-VL-3B-Instruct --json

A batch mixes text, one image, several images and video, lengths and group sizes, under a memory budget drawn between
the least it can be trained in and what it takes in one row. Measured are the peak of each update above the weights
and the optimizer's state, in a process of its own, and the seconds of each.
"""

from __future__ import annotations

import ctypes
import gc
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TextIO

import numpy as np
import torch

from vlmrl.bench.geometry import model_folder
from vlmrl.bench.memory import in_a_child
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
    """What is drawn: `size` scales images, prompts and responses."""

    model: ModelSettings
    count: int
    seed: int = 0
    size: float = 1.0


class Peak(NamedTuple):
    """Bytes of one batch's update."""

    budget: float
    predicted: float
    measured: float
    rows: int


def measure(batches: Batches) -> dict[str, Any]:
    """Figures of `--json`."""
    if not device_memory.measurable(torch.device(choose_device(batches.model.device))):
        raise UserError("bench planner: peak memory is measured on Linux and on CUDA only")
    peaks = [Peak(*peak) for peak in in_a_child(peaks_of, batches)]
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
    """In a process of its own: predicted and measured peak of every batch's update."""
    if choose_device(batches.model.device) == "cpu":
        # Freed blocks go back to the system at once, or the high-water mark would be that of earlier batches.
        ctypes.CDLL(None).mallopt(MALLOC_MMAP_THRESHOLD, 1 << 16)
    found = []
    for learner, groups, budget in _updates(batches):
        planner = learner.planner
        if not found:
            learner.update(groups)  # the optimizer's state, and what libraries set up once
            planner.metrics()
        gc.collect()
        learner.update(groups)
        told = planner.metrics()
        measured = told["seconds/plan/memory_mb"] * MB
        found.append(Peak(budget, told["plan/memory_mb"] * MB, measured, round(told["plan/rows"])))
    return found


def _times(batches: Batches) -> list[tuple[float, float]]:
    """Predicted cost of the planned rows and seconds of every batch's update; on CPU those of the processor."""
    clock = time.process_time if choose_device(batches.model.device) == "cpu" else time.perf_counter
    found: list[tuple[float, float]] = []
    for learner, groups, _ in _updates(batches):
        if not found:
            learner.update(groups)
        cost = sum(learner.planner.cost(work) for _, work in learner.planner.plan(_items(groups)))
        started = clock()
        learner.update(groups)
        found.append((cost, clock() - started))
    return found


def _updates(batches: Batches) -> Iterator[tuple[Learner, list[Group], float]]:
    """One learner, and for each batch its groups and a budget in bytes, which the learner's planner keeps to."""
    random = np.random.default_rng(batches.seed)
    torch.manual_seed(batches.seed)
    policy = Policy.load(batches.model)
    learner = Learner(policy, LearnerSettings(warmup_steps=0), ObjectiveSettings(epsilon=1e-4), run_updates=1)
    footprint = learner.planner.footprint
    for _ in range(batches.count):
        groups = [_group(policy, batches.size, random) for _ in range(random.integers(1, 5))]
        unbound, items = Planner(policy, learner.settings), _items(groups)
        singles = [item.part([n]) for item in items for n in range(len(item.responses))]
        unbound.footprint = footprint
        least = max(unbound.memory(work_of(single, unbound)) for single in singles)
        budget = random.uniform(least, unbound.memory(unbound.plan(items)[0][1]))
        settings = learner.settings.model_copy(update={"memory_mb": budget / MB, "row_tokens": 2**20})
        learner.planner = Planner(policy, settings)
        learner.planner.footprint = footprint
        yield learner, groups, budget


def _items(groups: list[Group]) -> list[Item]:
    return [Item(n, group.prompt, [r.token_ids for r in group.rollouts]) for n, group in enumerate(groups)]


def _group(policy: Policy, size: float, random: np.random.Generator) -> Group:
    """Random pixels, words, lengths and scores."""
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
    most = max(3, int(16 * size**0.5))

    def sides() -> list[int]:
        return [int(n) * merge for n in random.integers(2, most, 2)]

    grids = {
        "text": [],
        "image": [[1, *sides()]],
        "images": [[1, *sides()] for _ in range(random.integers(2, 4))],
        "video": [[int(random.integers(2, 5)), *[n // 2 // merge * merge + merge for n in sides()]]],
    }[kind]
    name, number = ("video", 2) if kind == "video" else ("image", 1)
    token = getattr(config, f"{name}_token_id")
    # Every frame of a video stands apart, as Qwen3-VL wants it; the others see no difference.
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
    """Prints the figures."""
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
