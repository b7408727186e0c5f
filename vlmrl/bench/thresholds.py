"""The threshold experiment: which IoU threshold of a detection reward teaches precise boxes?

    vlmrl bench thresholds [--steps 150] [--seeds 3]

The tiny model locates one shape. It sees the picture at a third of its size, so that a box in its whole pixels cannot
be exact, as with any resized picture. The arms differ only in the threshold of the reward. Held-out boxes are always
scored by IoU.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlmrl import catalog
from vlmrl.bench.experiment import cell, inline_table, interval, train
from vlmrl.data.media import encode_png, load_image
from vlmrl.data.sample_files import write_samples
from vlmrl.errors import UserError
from vlmrl.files import whole_file
from vlmrl.monitor.summary import read_metrics
from vlmrl.sample import Media, MediaSet, RewardSpec, Sample

RUN_FILE = "bench_thresholds"
FINER = 3
"""Pixels of the picture for each pixel of the model's input."""
PUBLISHED = [[0.0, 0.85], [0.10, 0.95], [0.25, 0.99]]
"""V-Triune, arXiv 2505.18129, section 4.2."""
UNCAPPED = {"reachable_cap": [[0.0, 0.0]]}
ARMS: dict[str, dict[str, Any]] = {
    "raw IoU": {},
    "fixed 0.5": {"threshold": [[0.0, 0.5]], **UNCAPPED},
    "fixed 0.99": {"threshold": [[0.0, 0.99]], **UNCAPPED},
    "published": {"threshold": PUBLISHED, **UNCAPPED},
    "published, capped": {"threshold": PUBLISHED},
    "matched, half": {"threshold": {"part": "iou", "reached_by": 0.5, "most": 0.99}},
    "matched, quarter": {"threshold": {"part": "iou", "reached_by": 0.25, "most": 0.99}},
}
"""Schedules of `dynamic_iou`, by the name of the arm."""
STRICT = (0.5, 0.75, 0.85, 0.95)


def bench_thresholds(out: Path, arms: Sequence[str] | None, steps: int, seeds: int, flags: Sequence[str]) -> None:
    """Completes the experiment in the folder `out` and prints its table; `flags` are passed to every run."""
    for name in arms or ():
        if name not in ARMS:
            raise UserError(f"--arms {name!r}: not one of {', '.join(map(repr, ARMS))}")
    for split, n, seed in (("train", 3000, 1), ("heldout", 1000, 2)):
        path = out / f"{split}.parquet"
        if not path.exists():
            write_samples(path, pictures(n, split, seed))
    heldout = ["--data.heldout", json.dumps([str(out / "heldout.parquet")])]
    runs: dict[str, list[Path]] = {name: [] for name in arms or ARMS}
    for seed, (name, folders) in itertools.product(range(seeds), runs.items()):
        schedule = ["--reward.schedules", inline_table({"dynamic_iou": ARMS[name]})] if ARMS[name] else []
        folders.append(train(out, RUN_FILE, name, steps, seed, out / "train.parquet", [*heldout, *schedule, *flags]))
    print(write_results(out, runs))


def pictures(n: int, split: str, seed: int) -> Iterator[Sample]:
    """Synthetic grounding samples, enlarged `FINER` times and shifted by less than one pixel of the model's input."""
    rng = np.random.default_rng(seed)
    for sample in catalog.load("recipes", "synthetic").build(n, sources=("grounding",), split=split, seed=seed):
        image = load_image(sample.media.images[0])
        across, down = (int(v) for v in rng.integers(FINER, size=2))
        (spec,) = sample.reward
        box: Any = spec.target[0]  # pyright: ignore - its target is a list of one box
        x1, y1, x2, y2 = (FINER * edge for edge in box["bbox_2d"])
        target: Any = [{**box, "bbox_2d": [x1 - across, y1 - down, x2 - across, y2 - down]}]
        finer = _moved(image, across, down)
        params = spec.params | {"image_size": list(finer.size)}
        yield sample.model_copy(
            update={
                "messages": sample.prompt,
                "media": MediaSet(images=(Media(data=encode_png(finer)),)),
                "reward": (RewardSpec(verifier=spec.verifier, target=target, params=params),),
            }
        )


def _moved(image: Image.Image, across: int, down: int) -> Image.Image:
    """The enlarged picture, its content shifted by `across` pixels to the left and `down` pixels up."""
    pixels = np.asarray(image).repeat(FINER, axis=0).repeat(FINER, axis=1)
    padded = np.pad(pixels, ((0, down), (0, across), (0, 0)), mode="edge")
    return Image.fromarray(padded[down:, across:])


def measure(folder: Path) -> dict[str, Any]:
    """A run's share of flat groups, and the scores of its held-out boxes before and after, by decoding mode."""
    rows = read_metrics(folder)
    groups = [(row["all/groups"], row["all/zero_variance"]) for row in rows if "all/groups" in row]
    last = int(max(row["step"] for row in rows))
    return {
        "flat": sum(n * share for n, share in groups) / sum(n for n, _ in groups),
        "before": _boxes(folder, 0),
        "after": _boxes(folder, last),
    }


def _boxes(folder: Path, step: int) -> dict[str, dict[str, float]]:
    """Mean IoU, and the share of answers that reach each threshold of `STRICT`, by decoding mode."""
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "heldout" / f"step_{step:06d}.parquet", columns=["mode", "score", "parts"])
    scored = [row for row in table.to_pylist() if row["score"] is not None]
    by_mode: dict[str, dict[str, float]] = {}
    for mode in ("sampled", "greedy"):
        ious = np.array([json.loads(row["parts"])["dynamic_iou/iou"] for row in scored if row["mode"] == mode])
        by_mode[mode] = {"iou": float(ious.mean())} | {f"iou_{100 * t:.0f}": float((ious >= t).mean()) for t in STRICT}
    return by_mode


def write_results(out: Path, runs: Mapping[str, Sequence[Path]]) -> str:
    """Writes thresholds.json and .md; returns the Markdown: a row for each arm, with intervals over seeds."""
    measured = {name: [measure(folder) for folder in folders] for name, folders in runs.items()}
    before = next(iter(measured.values()))[:1]
    rows = [_row("before training", before, "before"), *(_row(name, m, "after") for name, m in measured.items())]
    heads = ["threshold", "flat groups", "mean IoU", *(f"IoU >= {t:g}" for t in STRICT), "greedy, IoU >= 0.85"]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows)) + "\n"
    for name, text in (("thresholds.json", json.dumps(measured, indent=2) + "\n"), ("thresholds.md", table)):
        with whole_file(out / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return table


def _row(name: str, runs: Sequence[Mapping[str, Any]], when: str) -> list[str]:
    flat = cell(interval([run["flat"] for run in runs]), "{:.0%}") if when == "after" else "-"
    keys = [("sampled", key) for key in runs[0][when]["sampled"]] + [("greedy", "iou_85")]
    return [name, flat, *(cell(interval([run[when][mode][key] for run in runs]), "{:.3f}") for mode, key in keys)]
