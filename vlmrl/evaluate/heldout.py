"""Held-out evaluation inside a run: the same prompts, decoding and verifier settings every time.

Sampled at the run's temperature and greedily; the sampling seed never changes, so that two evaluations differ
by the policy alone.
"""

from __future__ import annotations

import time
from pathlib import Path

from rich.progress import track

from vlmrl.config.run_file import RunConfig
from vlmrl.data.dataset import open_dataset
from vlmrl.models.policy import Policy
from vlmrl.monitor.ledger import EvalRow, Ledger
from vlmrl.monitor.summary import Table
from vlmrl.rollout import Engine, Sampling
from vlmrl.rollout.judge import Judge


class Evaluator:
    """Runs the evaluations of a run."""

    def __init__(
        self, config: RunConfig, policy: Policy, engine: Engine, judge: Judge, ledger: Ledger, folder: Path
    ) -> None:
        self.config, self.policy, self.engine, self.judge, self.ledger = config, policy, engine, judge, ledger
        self.data = open_dataset(config.data.heldout, folder / "data" / "heldout") if config.data.heldout else None
        self.quiet = "console" not in config.run.sinks

    def run(self, step: int, name: str) -> Table:
        """Evaluates the policy as it is now: {source: {mode: {mean, low, high, n}}}; empty without held-out data."""
        if self.data is None:
            return {}
        started = time.monotonic()
        self.judge.step = step
        self.engine.sync(self.policy.weights(), step)
        rows: list[EvalRow] = []
        size = self.config.eval.batch
        starts = range(0, len(self.data), size)
        for start in track(starts, f"held-out evaluation, {name}", transient=True, disable=self.quiet):
            rows += self._batch(start, min(start + size, len(self.data)))
        return self.ledger.record_eval(step, name, rows, {"eval": time.monotonic() - started})

    def _batch(self, start: int, stop: int) -> list[EvalRow]:
        assert self.data is not None
        rollout = self.config.rollout
        samples = [self.data[i] for i in range(start, stop)]
        prompts = self.policy.formatter.encode(samples)
        rows: list[EvalRow] = []
        for mode in self.config.eval.modes:
            sampling = Sampling(
                temperature=rollout.temperature if mode == "sampled" else 0.0,
                top_p=rollout.top_p if mode == "sampled" else 1.0,
                max_new_tokens=rollout.max_new_tokens,
                seed=(self.config.run.seed << 32) + start,
            )
            groups = self.engine.generate(prompts, 1, sampling)
            verdicts = self.judge.heldout(samples, prompts, groups)
            rows.extend((s, g[0], v[0], mode) for s, g, v in zip(samples, groups, verdicts, strict=True))
        return rows
