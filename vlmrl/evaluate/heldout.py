"""Held-out evaluation inside a run: always the same prompts, decoding and verifier settings.

Responses are sampled at the run's temperature and decoded greedily. The sampling seed never changes, so that two
evaluations differ only by the policy.
"""

from __future__ import annotations

import time
from pathlib import Path

from rich.progress import track

from vlmrl import evaluate
from vlmrl.config.run_file import RunConfig
from vlmrl.data.dataset import open_dataset
from vlmrl.monitor.ledger import EvalRow, Ledger
from vlmrl.monitor.summary import Table
from vlmrl.rollout.rollouter import Rollouter


class Evaluator:
    """Runs the evaluations of a run."""

    def __init__(self, config: RunConfig, rollouter: Rollouter, ledger: Ledger, folder: Path) -> None:
        self.config, self.rollouter, self.ledger = config, rollouter, ledger
        self.data = open_dataset(config.data.heldout, folder / "data" / "heldout") if config.data.heldout else None
        self.quiet = "console" not in config.run.sinks

    def run(self, step: int, name: str) -> Table:
        """Evaluates the current policy: {source: {mode: {mean, low, high, n}}}; empty without held-out data."""
        if self.data is None:
            return {}
        started = time.monotonic()
        self.rollouter.sync(step)
        rows: list[EvalRow] = []
        starts = range(0, len(self.data), evaluate.BATCH)
        for start in track(starts, f"held-out evaluation, {name}", transient=True, disable=self.quiet):
            samples = [self.data[i] for i in range(start, min(start + evaluate.BATCH, len(self.data)))]
            for mode, groups in self.rollouter.evaluation(samples, start, step).items():
                rows.extend((g.sample, g.rollouts[0], g.verdicts[0], mode) for g in groups)
        return self.ledger.record_eval(step, name, rows, {"eval": time.monotonic() - started})
