"""Trainer: the training loop.

    vlmrl train quickstart
    vlmrl train my_run.toml --rollout.engine vllm --resume

A row of data becomes a prompt with an image, the model answers it G times, verifiers judge the answers, GRPO updates
the model, and metrics are recorded by data source. With an `[sft]` section the model learns the demonstrations instead;
data, learner, checkpoints and evaluation stay the same.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Protocol, TypeVar

import torch

from vlmrl import catalog
from vlmrl.config.run_file import RunConfig, load_run
from vlmrl.curriculum import create_sampler
from vlmrl.curriculum.memory import PromptMemory, content_keys
from vlmrl.data.dataset import check_files, open_dataset
from vlmrl.errors import UserError
from vlmrl.evaluate.heldout import Evaluator
from vlmrl.files import remove
from vlmrl.models import seeding
from vlmrl.models.policy import Policy
from vlmrl.monitor.ledger import Ledger
from vlmrl.monitor.records import Records
from vlmrl.monitor.report import write_report
from vlmrl.monitor.starvation import StarvationWatch
from vlmrl.monitor.summary import heldout_tables, print_summary, read_metrics, summarise
from vlmrl.rollout import hook
from vlmrl.rollout.group import Group, UpdateReport
from vlmrl.rollout.rollouter import Rollouter
from vlmrl.train import checkpoint
from vlmrl.train.agreement import make_gate
from vlmrl.train.canary import check_positions
from vlmrl.train.clock import Clock, Pace, time_is_over
from vlmrl.train.data_files import DataFiles
from vlmrl.train.dry_run import check_run, check_training_data
from vlmrl.train.extension import following_progress
from vlmrl.train.interrupts import Stop, stop_signals
from vlmrl.train.learner import Learner
from vlmrl.train.model_files import ModelFiles
from vlmrl.train.run_folder import ChangedData, RunFolder
from vlmrl.train.sft import Supervisor


def main(
    files: Sequence[str],
    overrides: Sequence[str],
    resume: bool,
    dry_run: bool,
    changed_data: ChangedData | None = None,
) -> int:
    """Runs `vlmrl train`; returns 0 if the run is complete, 130 if it was interrupted and saved."""
    config = load_run(files, overrides)
    catalog.add_verifiers(*config.reward.verifiers_path)
    return check_run(config) if dry_run else run(config, resume, changed_data)


def run(config: RunConfig, resume: bool, changed_data: ChangedData | None = None) -> int:
    """Trains with the verifiers of the config known; the exit code is that of `main`."""
    try:
        with stop_signals() as stop, RunFolder.open(config, resume, changed_data) as folder:
            trainer = Trainer(config, folder)
            try:
                return trainer.train(stop)
            finally:
                trainer.close()
    except KeyboardInterrupt:
        print(f"[{config.run.name}] stopped at once; add --resume to go on", file=sys.stderr, flush=True)
        return 130


class Stateful(Protocol):
    """A part of the trainer whose state is in every checkpoint."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state: Any) -> None: ...


S = TypeVar("S", bound=Stateful)


class Trainer:
    """A run: its parts, and the loop over its steps."""

    def __init__(self, config: RunConfig, folder: RunFolder) -> None:
        self.config = config
        self.folder = folder
        self.step, self._stored = checkpoint.load_latest(folder.checkpoints, folder.say) or (0, None)
        self._stateful: dict[str, Stateful] = {}
        seeding.seed_everything(config.run.seed)
        self.policy = Policy.load(config.model)
        self._restored("model", ModelFiles(self.policy.path, getattr(self.policy.core.config, "_commit_hash", None)))
        self.files = self._restored("data", DataFiles(config.data, folder))
        self.train_data = open_dataset(config.data.train, self.files.copy / "train")
        heldout = open_dataset(config.data.heldout, self.files.copy / "heldout") if config.data.heldout else None
        self.files.seal()
        datasets = [self.train_data, *([heldout] if heldout else [])]
        if self._stored is None or self.files.reloaded:
            for data in datasets:
                check_files(data, config.data.on_unreadable, lambda line: folder.say(f"warning: {line}"))
        self.files.compare_media(datasets)
        self.memory = PromptMemory(*self.train_data.sources(), config.sampler.pass_score)
        if self.files.reloaded:
            self._carry_memory_over()
        self._restored("memory", self.memory)
        self.supervisor = self._restored("head", Supervisor(self.policy, config.sft)) if config.sft else None
        self.learner = self._restored("learner", self._make_learner())
        # After the learner, which has copied the initial weights as the reference of its KL term.
        self._restored("weights", self.policy)
        if self._stored is None or self.files.reloaded:
            self._load_grades()
        if self._stored is None or self.files.reloaded or self.files.media_changed:
            self._check_data()
        self.sampler = self._restored("sampler", create_sampler(config.sampler, self.memory, config.run.seed))
        self.rollouter = Rollouter(config, self.policy, folder.path)
        self.rollouter.sync(self.step)
        if self._stored is None and not config.sft:
            check_positions(config, self.rollouter, self.train_data)
        self.schedules = self._restored("schedules", self.rollouter.judge.schedules)
        self.rollouter.encode_pending(self.sampler.pending, self.step)
        self._restored("rng", seeding.Generators())
        self._stored = None  # it holds the weights and the optimizer a second time
        # Up to here an error changes nothing of an earlier run.
        self.records = Records(folder.path)
        self.ledger = self._begin()
        self.evaluator = Evaluator(config, self.rollouter, self.ledger, heldout)
        self.starvation = StarvationWatch(folder.say)

    def _begin(self) -> Ledger:
        """Takes the folder back to the checkpoint: what was recorded after it will be recorded again."""
        config, folder = self.config.run, self.folder
        if self.step > config.steps:
            raise UserError(f"run.steps = {config.steps}: {folder.path} has done {self.step} already; write more")
        if self.step and config.steps != folder.earlier_steps:
            names = ", ".join(following_progress(self.config))
            course = f"; from here on as in a run of {config.steps}: {names}" if names else ""
            folder.say(f"run.steps is {config.steps} now, {folder.earlier_steps} before{course}")
        self.records.forget()
        ledger = Ledger(folder.path, sinks=config.sinks, total_steps=config.steps)
        # Without a checkpoint all steps will be.
        ledger.truncate(self.step or -1, finished=self.step == config.steps)
        self.rollouter.truncate(self.step or -1)
        checkpoint.tidy(folder.checkpoints, self.step, config.keep_checkpoints)
        folder.begin()
        return ledger

    def _restored(self, name: str, part: S) -> S:
        """Adds a part to the checkpoints, and restores its state from the latest one; None there: it starts anew."""
        self._stateful[name] = part
        if self._stored is None:
            return part
        try:
            state = self._stored[name]
            if state is not None:
                part.load_state_dict(state)
        except UserError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            reason = (str(error).splitlines() or [""])[0]
            raise UserError(
                f"{self.folder.checkpoints}/step_{self.step:06d}: is of another run: its {name} does not fit "
                f"({type(error).__name__} {reason:.80}); put the checkpoint of this run back"
            ) from None
        return part

    def _carry_memory_over(self) -> None:
        """What is known of prompts goes to the new rows by content; a sampler knows only places and starts anew."""
        assert self._stored is not None
        known = self.memory.carry_over(self._stored["memory"], content_keys(self.train_data))
        self._stored |= {"memory": None, "sampler": None}
        rows = f"{len(self.train_data)} training rows are read anew, {known} of them were visited before"
        self.folder.say(f"{rows}; the sampler starts a new epoch")

    def _make_learner(self) -> Learner:
        config = self.config
        return Learner(
            self.policy,
            config.learner,
            config.objective,
            run_updates=config.run.steps * (1 if config.sft else config.learner.updates_per_step),
            temperature=config.rollout.temperature,
            extra_parameters=self.supervisor.parameters() if self.supervisor else (),
            gate=make_gate(config, self.policy, self.folder.path, self.folder.say),
        )

    def _load_grades(self) -> None:
        """Loads the grades of a new run."""
        history = self.config.sampler.history
        if history:
            graded = self.memory.load_grades(history, content_keys(self.train_data))
            self.folder.say(f"{graded} of {len(self.memory)} prompts are graded")

    def _check_data(self) -> None:
        """Checks the prompts; `UserError` for one that does not fit."""
        for line in check_training_data(self.config, self.policy.formatter, self.learner.planner, self.train_data):
            self.folder.say(f"warning: {line}")

    @property
    def progress(self) -> float:
        """Share of the run's steps that are done after the current one."""
        return self.step / self.config.run.steps

    # --- the loop -----------------------------------------------------------------------------------------

    def train(self, stop: Stop | None = None) -> int:
        """Runs to the last step, the time limit or an interrupt; then saves, evaluates and reports."""
        config, started, stop = self.config.run, time.monotonic(), stop or Stop()
        pace = Pace(config, started, self.folder.say)
        if self.step == 0:
            self.evaluator.run(0, "before training")
        last = False
        while self.step < config.steps and not last:
            stop.waits = True
            self.step += 1
            if self.config.sft:
                self.supervised_step()
            else:
                self.reinforcement_step()
            minutes = (time.monotonic() - started) / 60
            pace.observe(self.step)
            last = self.step == config.steps or minutes > (config.max_minutes or float("inf"))
            every = self.config.eval.every
            if not last and every and self.step % every == 0:
                self.evaluator.run(self.step, f"step {self.step}")
            if last or stop.requested or self.step % config.checkpoint_every == 0:
                self.save()
            if stop.requested:
                self.folder.say(f"stopped after step {self.step}; add --resume to go on")
                return 130
        stop.waits = False
        return self._finish()

    def reinforcement_step(self) -> None:
        """Generates groups until the sampler has enough, updates the policy, syncs the engine, records metrics."""
        config, clock = self.config, Clock()
        generated: list[Group] = []
        self.sampler.begin(self.step, self.progress)
        while missing := self.sampler.missing(config.rollout.prompts):
            indices = self.sampler.next(missing).tolist()
            samples = [self.train_data[index] for index in indices]
            groups = self.rollouter.training(samples, indices, self.step, self.progress, clock.lap)
            if not groups:  # none of the samples can be read
                continue
            self.memory.observe(group.attempts[0] for group in groups)
            self.sampler.observe(groups)
            generated += [attempt for group in groups for attempt in group.attempts]
        trained = [group for group in self.sampler.batch(config.rollout.prompts) if not group.dropped]
        self._read_ahead()
        report = self.learner.update(trained, progress=(self.step - 1) / config.run.steps, version=self.step - 1)
        clock.lap("update")
        self.rollouter.sync(self.step)
        clock.lap("sync")
        self._record(generated, trained, report, clock)
        self.starvation.observe(generated, lambda source: self.schedules.values(source, self.progress))
        self.schedules.advance()
        for group in self.sampler.pending:
            group.earlier.clear()  # they are recorded; their pixels would stay in memory with the group

    def supervised_step(self) -> None:
        """Learns the demonstrations of the next samples."""
        assert self.supervisor is not None
        clock = Clock()
        self.sampler.begin(self.step, self.progress)
        while True:
            drawn = [self.train_data[int(index)] for index in self.sampler.next(self.config.rollout.prompts)]
            places, prompts = self.rollouter.reader.encode(drawn, self.step)
            if places:
                break
        self._read_ahead()
        samples = [drawn[place] for place in places]
        report = self.supervisor.update(self.learner, samples, prompts, (self.config.run.seed << 32) + self.step)
        clock.lap("update")
        self._record([], [], report, clock)

    def _read_ahead(self) -> None:
        """Starts to read what the next step will draw first, with a copy of the sampler, which has seen this step."""
        if self.step == self.config.run.steps:
            return
        shared = {id(self.memory): self.memory} | {id(group): group for group in self.sampler.pending}
        sampler, wanted = deepcopy(self.sampler, shared), self.config.rollout.prompts
        sampler.begin(self.step + 1, (self.step + 1) / self.config.run.steps)
        missing = wanted if self.config.sft else sampler.missing(wanted)
        indices = sampler.next(missing).tolist() if missing else []
        self.rollouter.reader.ahead.begin([self.train_data[index] for index in indices])

    def _record(self, generated: list[Group], trained: list[Group], report: UpdateReport, clock: Clock) -> None:
        extra = {f"sampler/{name}": value for name, value in self.sampler.metrics().items()}
        extra |= self.learner.planner.metrics() | self.rollouter.reader.metrics()
        extra["seconds/media_wait"] = self.rollouter.reader.waited()
        extra |= self.schedules.metrics(self.progress)
        if self.config.rollout.hooks:
            extra |= hook.metrics(generated)
        if report.skipped_steps:
            self.folder.say(f"step {self.step}: a gradient is not finite; {report.skipped_steps} updates left out")
        if self.learner.gate and report.optimizer_steps:
            extra["all/agreement_warnings"] = self.learner.gate.warnings
        self.ledger.record(self.step, generated, report, clock.seconds, extra, trained)

    # --- state --------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Saves the checkpoint of this step."""
        state = {name: part.state_dict() for name, part in self._stateful.items()}
        checkpoint.save(self.folder.checkpoints, self.step, state, self.config.run.keep_checkpoints)
        self.records.write()

    # --- the end ------------------------------------------------------------------------------------------

    def _finish(self) -> int:
        after = self.evaluator.run(self.step, "after training")
        self._export()
        self.memory.export(self.folder.path / "history.parquet")
        metrics = read_metrics(self.folder.path)
        summary = summarise(heldout_tables(metrics).get(0, {}), after, metrics)
        self.folder.write("summary.json", json.dumps(summary, indent=2) + "\n")
        self.records.write(finished=True)
        self.ledger.close()
        print_summary(summary)
        if self.rollouter.judge.path.exists():
            self.folder.say(f"answers that could not be judged: vlmrl score {self.rollouter.judge.path}")
        self.folder.say(f"report: {write_report(self.folder.path)}")
        if self.step < self.config.run.steps:
            self.folder.say(time_is_over(self.step, self.config.run))
        return 0

    def _export(self) -> None:
        """Writes `model/`, whole or not at all."""
        from safetensors import SafetensorError

        path = self.folder.path / "model"
        partial = path.with_name(".model.partial")
        try:
            remove(partial)
            self.policy.save(partial, torch.bfloat16)
            remove(path)
            partial.rename(path)
        except (OSError, SafetensorError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
            raise UserError(f"{path}: cannot write the model ({reason}); make room and add --resume") from None

    def close(self) -> None:
        self.ledger.close()
        self.rollouter.close()
        self.folder.close()
