"""Whole training steps of our trainer and of TRL, on the same model, prompts, group size, length and verifier."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from vlmrl import interop
from vlmrl.bench.geometry import Geometry, samples
from vlmrl.bench.trl_side import TrlStep
from vlmrl.config.run_file import RunConfig
from vlmrl.data.sample_files import write_samples
from vlmrl.models.formatting import Formatter
from vlmrl.models.policy import resolve
from vlmrl.monitor.summary import read_metrics
from vlmrl.train.run_folder import RunFolder
from vlmrl.train.trainer import Trainer

Step = Callable[[int], int]
"""Does one step; returns the number of generated tokens."""


@contextmanager
def steps(geometry: Geometry, rounds: int) -> Iterator[tuple[Step, Step]]:
    """Our step and TRL's. Ours includes its metrics and records, TRL's is without its logging."""
    assert geometry.model
    with tempfile.TemporaryDirectory(prefix="vlmrl-bench-") as name:
        config = _config(geometry, rounds, Path(name))
        trainer = Trainer(config, RunFolder.open(config, resume=False))
        chosen = samples(geometry, trainer.policy.formatter)
        theirs = TrlStep(
            resolve(geometry.model),
            chosen,
            geometry.group,
            geometry.completion,
            interop.trl(),
            config.learner,
            config.objective,
            gradient_checkpointing=geometry.gradient_checkpointing,
            bf16=trainer.policy.compute == torch.bfloat16,
        )
        try:
            yield (lambda seed: _our_step(trainer)), (lambda seed: theirs())
        finally:
            trainer.close()


def _our_step(trainer: Trainer) -> int:
    trainer.step += 1
    trainer.reinforcement_step()
    metrics = read_metrics(trainer.folder.path)[-1]
    return round(metrics["all/length"] * metrics["all/rollouts"])


def _config(geometry: Geometry, rounds: int, folder: Path) -> RunConfig:
    data = folder / "train.jsonl"
    write_samples(data, samples(geometry, Formatter.load(resolve(str(geometry.model)))))
    rollout = {"prompts": geometry.groups, "group": geometry.group, "max_new_tokens": geometry.completion}
    return RunConfig.model_validate(
        {
            "run": {"name": "bench", "folder": str(folder), "steps": rounds + 1, "sinks": ("jsonl",)},
            "data": {"train": [{"path": str(data)}]},
            "model": {"path": geometry.model, "gradient_checkpointing": geometry.gradient_checkpointing},
            "rollout": rollout,
            "learner": {"warmup_steps": 0},
        }
    )
