"""Held-out evaluation, of a run or of a model by itself: always the same prompts, decoding and verifier settings.

Responses are sampled at the run's temperature and decoded greedily. The sampling seed never changes, so that two
evaluations differ only by the policy.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from rich import get_console
from rich.progress import track

from vlmrl import evaluate
from vlmrl.config.run_file import RunConfig
from vlmrl.data.dataset import Dataset, check_files, open_dataset
from vlmrl.errors import UserError, escaped
from vlmrl.files import read_rows
from vlmrl.models import seeding
from vlmrl.models.policy import Policy
from vlmrl.monitor.ledger import EvalRow, Ledger
from vlmrl.monitor.summary import Table
from vlmrl.rollout.rollouter import Rollouter


class Evaluator:
    """Runs the evaluations of a run; `data` are its held-out samples, None if it has none."""

    def __init__(self, config: RunConfig, rollouter: Rollouter, ledger: Ledger, data: Dataset | None) -> None:
        self.config, self.rollouter, self.ledger, self.data = config, rollouter, ledger, data
        # A notebook would show a warning in place of the bar, a log an empty line.
        self.quiet = "console" not in config.run.sinks or not get_console().is_terminal

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
                rows.extend((group, mode) for group in groups)
        seconds = {"eval": time.monotonic() - started}
        return self.ledger.record_eval(step, name, rows, seconds, self.rollouter.reader.metrics())


def evaluate_model(config: RunConfig) -> Table:
    """The held-out evaluation of the config's model by itself, as a run of this config makes it before training.

    {source: {mode: {mean, low, high, n}}}. `UserError` without held-out data. Nothing is written into the run folder.
    """
    if not config.data.heldout:
        raise UserError("data.heldout: is empty; name the data to evaluate on")
    seeding.seed_everything(config.run.seed)
    policy = Policy.load(config.model)
    with tempfile.TemporaryDirectory(prefix="vlmrl_") as name:
        folder = Path(name)
        sinks = [sink for sink in config.run.sinks if sink == "console"]
        ledger = Ledger(folder, sinks=sinks, total_steps=config.run.steps)
        rollouter = Rollouter(config, policy, folder)
        try:
            data = open_dataset(config.data.heldout, folder / "heldout")
            check_files(data, config.data.on_unreadable, lambda line: print(escaped(line), file=sys.stderr))
            table = Evaluator(config, rollouter, ledger, data).run(0, config.model.path)
        finally:
            ledger.close()
            rollouter.close()
        if rollouter.judge.path.exists():
            failed = [row["why"] for _, row in read_rows(rollouter.judge.path)]
            print(f"{len(failed)} answers could not be judged; the first: {escaped(failed[0])}", file=sys.stderr)
    return table
