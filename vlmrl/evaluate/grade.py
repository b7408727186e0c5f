"""Grading: how hard each training prompt of a run is for its model, measured before the run.

    vlmrl data grade run.toml --out grades.parquet
    vlmrl data grade run.toml --out grades_7b.parquet --model.path Qwen/Qwen2.5-VL-7B-Instruct --rollout.group 16
    vlmrl train run.toml --sampler.name rlcs --sampler.history '["grades.parquet"]'

Every prompt of `data.train` is answered `rollout.group` times with the run's engine, decoding and verifiers. Finished
batches are stored in `grades.parquet.parts/`, and the same command resumes after a stop. The result is a history as
runs write it (`curriculum/memory.py` names its columns). Its key is the content of the prompts, so that it also fits a
part of the data, or the same data in another order.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.progress import track

from vlmrl import catalog, evaluate
from vlmrl.config.run_file import RunConfig, load_run
from vlmrl.curriculum.memory import PromptMemory, history_schema
from vlmrl.data.dataset import check_files, open_dataset
from vlmrl.errors import UserError, escaped
from vlmrl.files import read_file, whole_file
from vlmrl.models import seeding
from vlmrl.models.policy import Policy
from vlmrl.monitor.run_lock import RunLock
from vlmrl.rollout.rollouter import Rollouter


def grade(files: Sequence[str], overrides: Sequence[str], out: str) -> int:
    """Writes the grades of a run's training data to `out`; returns the number of graded prompts.

    `UserError` if `out` exists, if another process writes it, or if its unfinished parts have other settings.
    """
    config = load_run(files, overrides)
    catalog.add_verifiers(*config.reward.verifiers_path)
    parts = Path(f"{out}.parts")
    _check_free(out)
    parts.mkdir(parents=True, exist_ok=True)
    lock = RunLock(parts)
    try:
        _check_free(out)  # again: until the lock was ours, another process may have been at work
        _prepare_parts(parts, config)
        grader = Grader(config, parts)
        try:
            grader.run()
        finally:
            grader.close()
        count = _join(sorted(parts.glob("*.parquet")), out)
        shutil.rmtree(parts)
    finally:
        lock.release()
    return count


def _check_free(out: str) -> None:
    if Path(out).exists():
        raise UserError(f"{out}: already there; delete it, or name another --out")


def _prepare_parts(parts: Path, config: RunConfig) -> None:
    """Creates the folder of unfinished work; `UserError` if it exists with other settings."""
    included = {"run": {"seed"}, "data": {"train"}, "model": True, "rollout": True, "reward": True}
    # Parts depend on it: they hold pass rates.
    included |= {"sampler": {"pass_score"}}
    settings = config.model_dump_json(include=included)
    path = parts / "settings.json"
    try:
        begun = json.loads(read_file(path)) if path.exists() else json.loads(settings)
    except (ValueError, RecursionError):
        raise UserError(f"{path}: is damaged; delete {parts} to grade from the start") from None
    if begun != json.loads(settings):
        raise UserError(f"{parts}: grading was begun with other settings; put them back, or delete the folder")
    if not any(parts.glob("*.parquet")):
        # An earlier try has graded nothing of its copy of the data, and the files may have been fixed since.
        shutil.rmtree(parts / "data", ignore_errors=True)
    with whole_file(path) as partial:
        partial.write_text(settings)


class Grader:
    """Generates and judges answers to the training data, batch by batch."""

    def __init__(self, config: RunConfig, parts: Path) -> None:
        self.config, self.parts = config, parts
        seeding.seed_everything(config.run.seed)
        self.policy = Policy.load(config.model)
        self.data = open_dataset(config.data.train, parts / "data")
        check_files(self.data, config.data.on_unreadable, lambda line: print(escaped(line), file=sys.stderr))
        self.memory = PromptMemory(*self.data.sources(), config.sampler.pass_score)
        self.rollouter = Rollouter(config, self.policy, parts)
        self.rollouter.sync(0)

    def run(self) -> None:
        """Grades the batches without a part. The answers of a batch depend only on its place."""
        starts = range(0, len(self.data), evaluate.BATCH)
        done = sum(self._part(start).exists() for start in starts)
        if done:
            print(f"{self.parts}: {done} of {len(starts)} batches are done", file=sys.stderr)
        for start in track(starts, "grading", transient=True, disable=not sys.stderr.isatty()):
            if not self._part(start).exists():
                self._grade(np.arange(start, min(start + evaluate.BATCH, len(self.data))))

    def _grade(self, indices: np.ndarray) -> None:
        samples = [self.data[int(index)] for index in indices]
        self.memory.observe(self.rollouter.grading(samples, indices.tolist()))
        self.memory.export(self._part(int(indices[0])), indices)

    def _part(self, start: int) -> Path:
        return self.parts / f"{start:09d}.parquet"

    def close(self) -> None:
        self.rollouter.close()


def _join(parts: Sequence[Path], out: str) -> int:
    """Writes the rows of all parts to one file; returns their number."""
    import pyarrow.parquet as pq

    rows = 0
    with whole_file(out) as partial, pq.ParquetWriter(partial, history_schema()) as writer:
        for part in parts:
            try:
                table = pq.read_table(part, page_checksum_verification=True)
                writer.write_table(table)
            except (OSError, ValueError) as error:  # pyarrow's are ValueErrors
                reason = " ".join(str(error).split())
                raise UserError(f"{part}: is damaged ({reason:.200}); delete it to grade its prompts again") from None
            rows += table.num_rows
    return rows
