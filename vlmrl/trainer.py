"""Trainer: the loop.

    vlmrl train quickstart
    vlmrl train my_run.toml --rollout.engine vllm --resume

A row of data becomes a prompt with an image, the model answers it G times, verifiers judge the answers,
GRPO updates the model, each data source shows its own curve. With an `[sft]` section the model learns the
demonstrations instead; data, learner, checkpoints and evaluation stay the same.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from vlmrl import catalog, checkpoint, hooks
from vlmrl.agreement import AgreementGate
from vlmrl.config import RunConfig, load_run
from vlmrl.curriculum import create_sampler
from vlmrl.dataset import open_dataset
from vlmrl.group import Group, UpdateReport
from vlmrl.heldout import Evaluator
from vlmrl.interrupts import stop_signals
from vlmrl.judging import Judge
from vlmrl.learner import Learner
from vlmrl.monitor import Ledger
from vlmrl.policy import Policy
from vlmrl.prompt_memory import PromptMemory, content_keys
from vlmrl.rehearsal import PromptCheck, check_training_data, rehearse
from vlmrl.report import write_report
from vlmrl.rollout import Engine, Rollout, Sampling
from vlmrl.run_folder import RunFolder
from vlmrl.sample import Sample
from vlmrl.settings import RunSettings
from vlmrl.sft import Supervisor
from vlmrl.starvation import StarvationWatch
from vlmrl.summary import heldout_tables, print_summary, read_metrics, summarise


def main(files: Sequence[str], overrides: Sequence[str], resume: bool, dry_run: bool) -> int:
    """`vlmrl train`: 0 when the run is complete, 130 when it was interrupted and saved."""
    config = load_run(files, overrides)
    if config.reward.verifiers_path:
        catalog.add_verifiers(config.reward.verifiers_path)
    if dry_run:
        return rehearse(config)
    folder = RunFolder.open(config, resume)
    trainer = Trainer(config, folder)
    try:
        return trainer.train()
    finally:
        trainer.close()


class Trainer:
    """A run: everything it holds, and the loop over its steps."""

    def __init__(self, config: RunConfig, folder: RunFolder) -> None:
        self.config = config
        self.folder = folder
        self.step = 0
        checkpoint.seed_everything(config.run.seed)
        self.policy = Policy.load(config.model)
        self.train_data = open_dataset(config.data.train, folder.path / "data" / "train")
        self.memory = PromptMemory(*self.train_data.sources(), config.sampler.pass_score)
        self.supervisor = Supervisor(self.policy, config.sft) if config.sft else None
        self.learner = Learner(
            self.policy,
            config.learner,
            config.objective,
            run_updates=config.run.steps * (1 if config.sft else config.learner.updates_per_step),
            temperature=config.rollout.temperature,
            extra_parameters=self.supervisor.parameters() if self.supervisor else (),
            gate=make_gate(config, self.policy, folder),
        )
        found = checkpoint.load_latest(folder.checkpoints)
        if found is None and config.sampler.history:
            graded = self.memory.load_grades(config.sampler.history, content_keys(self.train_data))
            folder.say(f"{graded} of {len(self.memory)} prompts are graded")
        elif found is not None:
            self.memory.load_state_dict(found[1]["memory"])
        self.sampler = create_sampler(config.sampler, self.memory, config.run.seed)
        if found is None:
            check_training_data(config, self.policy.formatter, self.learner.planner, self.train_data)
        else:
            self._restore(*found)
        self.engine: Engine = make_engine(config, self.policy)
        self.engine.sync(self.policy.weights(), self.step)
        self.ledger = Ledger(
            folder.path, sinks=config.run.sinks, total_steps=config.run.steps, rollouts_mb=config.run.rollouts_mb
        )
        # What came after the checkpoint will be recorded again; without a checkpoint that is everything.
        self.ledger.truncate(self.step or -1, finished=self.step == config.run.steps)
        check = PromptCheck(config, self.policy.formatter, training=False).encode
        self.judge = Judge(config.reward, self.policy.formatter, folder.path, self.answer, check)
        self.judge.truncate(self.step or -1)
        if found is not None:
            self.judge.schedules.load_state_dict(found[1]["schedules"])
        self.starvation = StarvationWatch(folder.say)
        self.evaluator = Evaluator(config, self.policy, self.engine, self.judge, self.ledger, folder.path)

    @property
    def progress(self) -> float:
        """Share of the steps that are done when the present one is."""
        return self.step / self.config.run.steps

    # --- the loop -----------------------------------------------------------------------------------------

    def train(self) -> int:
        """Runs to the last step, the time limit or an interrupt; then saves, evaluates and reports."""
        config, started = self.config.run, time.monotonic()
        pace = Pace(config, started, self.folder.say)
        if self.step == 0:
            self.evaluator.run(0, "before training")
        with stop_signals() as stop:
            while self.step < config.steps:
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
                if stop.requested and not last:
                    self.folder.say(f"stopped after step {self.step}; add --resume to go on")
                    return 130
                if last:
                    break
        return self._finish()

    def reinforcement_step(self) -> None:
        """Roll out until the sampler has its groups, update, hand the weights over, write down."""
        config, clock = self.config, Clock()
        paid: list[Group] = []
        rounds = itertools.count()
        self.sampler.begin(self.step, self.progress)
        while missing := self.sampler.missing(config.rollout.prompts):
            groups = self.roll_out(self.sampler.next(missing), rounds, clock)
            self.memory.observe(group.attempts[0] for group in groups)
            self.sampler.observe(groups)
            paid += [attempt for group in groups for attempt in group.attempts]
        trained = [group for group in self.sampler.batch(config.rollout.prompts) if not group.dropped]
        report = self.learner.update(trained, progress=(self.step - 1) / config.run.steps, version=self.step - 1)
        clock.lap("update")
        self.engine.sync(self.policy.weights(), self.step)
        clock.lap("sync")
        self._record(paid, trained, report, clock)
        self.starvation.observe(paid, lambda source: self.judge.schedules.values(source, self.progress))
        self.judge.schedules.advance()
        for group in self.sampler.pending:
            group.earlier.clear()  # it is written down, and its pixels would wait with the group

    def roll_out(self, indices: np.ndarray, rounds: Iterator[int], clock: Clock) -> list[Group]:
        """Judged answers to these prompts of the training data, a group each, as the hooks leave them."""

        def answer(samples: Sequence[Sample], indices: Sequence[int]) -> list[Group]:
            return self._answer_and_judge(samples, indices, next(rounds), clock)

        groups = answer([self.train_data[int(index)] for index in indices], indices.tolist())
        return hooks.settle(groups, self.config.rollout, self.step, answer)

    def _answer_and_judge(
        self, samples: Sequence[Sample], indices: Sequence[int], round_: int, clock: Clock
    ) -> list[Group]:
        prompts = self.policy.formatter.encode(samples)
        own = self.config.rollout.group - self.config.objective.demonstrations
        rollouts = self.engine.generate(prompts, own, self.sampling(round_))
        assert all(r.version == self.step - 1 for group in rollouts for r in group), "the engine missed a sync"
        if self.config.objective.demonstrations:
            rollouts = [[*r, self._demonstration(s)] for r, s in zip(rollouts, samples, strict=True)]
        clock.lap("rollout")
        self.judge.step = self.step
        verdicts = self.judge.training(samples, prompts, rollouts, self.progress)
        clock.lap("reward")
        parts = zip(samples, prompts, rollouts, verdicts, indices, strict=True)
        return [Group(s, p, r, v, index=index) for s, p, r, v, index in parts]

    def _demonstration(self, sample: Sample) -> Rollout:
        """The sample's last turn, as a member of a group."""
        tokens = tuple(self.policy.formatter.encode_demonstration(sample))
        return Rollout(tokens, (), sample.demonstration or "", "stop", self.step - 1, kind="demo")

    def supervised_step(self) -> None:
        """Learn the demonstrations of the next samples."""
        assert self.supervisor is not None
        clock = Clock()
        self.sampler.begin(self.step, self.progress)
        samples = [self.train_data[int(index)] for index in self.sampler.next(self.config.rollout.prompts)]
        prompts = self.policy.formatter.encode(samples)
        report = self.supervisor.update(self.learner, samples, prompts, self.sampling(0).seed)
        clock.lap("update")
        self._record([], [], report, clock)

    def sampling(self, round_: int) -> Sampling:
        """A round's decoding; its seed is a function of the run's seed, step and round, so a resume draws alike."""
        rollout = self.config.rollout
        seed = (self.config.run.seed << 32) + (round_ << 24) + self.step
        return Sampling(rollout.temperature, rollout.top_p, rollout.max_new_tokens, seed)

    def answer(self, questions: Sequence[Sample]) -> list[str]:
        """The policy's greedy answers, for a verifier that asks it."""
        prompts = self.policy.formatter.encode(questions)
        greedy = Sampling(0.0, 1.0, self.config.rollout.max_new_tokens, self.config.run.seed)
        return [group[0].text for group in self.engine.generate(prompts, 1, greedy)]

    def _record(self, paid: list[Group], trained: list[Group], report: UpdateReport, clock: Clock) -> None:
        extra = {f"sampler/{name}": value for name, value in self.sampler.metrics().items()}
        extra |= self.learner.planner.metrics()
        extra |= self.judge.schedules.metrics(self.progress)
        if self.config.rollout.hooks:
            extra |= hooks.metrics(paid)
        if report.skipped_steps:
            self.folder.say(f"step {self.step}: a gradient is not finite; {report.skipped_steps} updates left out")
        if self.learner.gate and report.optimizer_steps:
            extra["all/agreement_warnings"] = self.learner.gate.warnings
        self.ledger.record(self.step, paid, report, clock.seconds, extra, trained)

    # --- state --------------------------------------------------------------------------------------------

    def save(self) -> None:
        """The checkpoint of this step."""
        state = {
            "weights": {n: p.detach() for n, p in self.policy.model.named_parameters() if p.requires_grad},
            "head": self.supervisor.state_dict() if self.supervisor else {},
            "learner": self.learner.state_dict(),
            "memory": self.memory.state_dict(),
            "sampler": self.sampler.state_dict(),
            "schedules": self.judge.schedules.state_dict(),
            "rng": checkpoint.rng_state(),
        }
        checkpoint.save(self.folder.checkpoints, self.step, state, self.config.run.keep_checkpoints)

    def _restore(self, step: int, state: dict[str, Any]) -> None:
        self.step = step
        with torch.no_grad():
            for name, parameter in self.policy.model.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(state["weights"][name])
        if self.supervisor:
            self.supervisor.load_state_dict(state["head"])
        self.learner.load_state_dict(state["learner"])
        self.sampler.load_state_dict(state["sampler"])
        for group in self.sampler.pending:
            (group.prompt,) = self.policy.formatter.encode([group.sample])
        checkpoint.set_rng_state(state["rng"])

    # --- the end ------------------------------------------------------------------------------------------

    def _finish(self) -> int:
        cut = cut_short(self.step, self.config.run)
        if cut:
            self.folder.say(cut)
        after = self.evaluator.run(self.step, "after training")
        self.policy.save(self.folder.path / "model", getattr(torch, self.config.run.export))
        self.memory.export(self.folder.path / "history.parquet")
        metrics = read_metrics(self.folder.path)
        summary = summarise(heldout_tables(metrics).get(0, {}), after, metrics)
        self.folder.write("summary.json", json.dumps(summary, indent=2) + "\n")
        self.ledger.close()
        print_summary(summary)
        if self.judge.path.exists():
            self.folder.say(f"answers that could not be judged: vlmrl score {self.judge.path}")
        self.folder.say(f"report: {write_report(self.folder.path)}")
        if cut:
            self.folder.say(cut)
        return 0

    def close(self) -> None:
        self.ledger.close()
        self.judge.close()
        self.engine.close()


def make_engine(config: RunConfig, policy: Policy) -> Engine:
    """The engine that `rollout.engine` names, with the settings of its own section, and the hooks around it."""
    rollout = config.rollout
    engine: Engine = catalog.load("engines", rollout.engine).create(getattr(rollout, rollout.engine), policy)
    return hooks.wrap_engine(engine, policy.formatter, rollout)


def make_gate(config: RunConfig, policy: Policy, folder: RunFolder) -> AgreementGate | None:
    """None where logprobs of engine and learner are of two distributions: the nucleus and the whole."""
    if config.rollout.top_p < 1:
        folder.say("rollout.top_p is below 1, so agreement of engine and learner is not judged")
        return None
    return AgreementGate(config.agreement, policy.compute, folder.path, folder.say)


def cut_short(step: int, config: RunSettings) -> str:
    """Why a run ended early, and how it goes on; empty if it did not."""
    if step >= config.steps:
        return ""
    return (
        f"run.max_minutes = {config.max_minutes:g} was over after step {step} of {config.steps}: "
        "the same command with --resume goes on, for as long again or for --run.max_minutes N"
    )


class Pace:
    """Says once, after the first steps, how long a run with a time limit takes, or how far the limit lets it come."""

    TIMED = 5
    """Steps; the one before them warms up."""

    def __init__(self, config: RunSettings, started: float, say: Callable[[str], None]) -> None:
        self.config, self.started, self.say = config, started, say
        self.times: list[float] = []

    def observe(self, step: int) -> None:
        """At the end of each step."""
        now, limit = time.monotonic(), self.config.max_minutes
        if limit is None or len(self.times) > self.TIMED:
            return
        self.times.append(now)
        if len(self.times) <= self.TIMED:
            return
        each, left = (now - self.times[0]) / self.TIMED, self.config.steps - step
        spare = 60 * limit - (now - self.started)
        if left * each <= spare:
            seconds = left * each
            text = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} minutes"
            self.say(f"{each:.1f} s a step: the {left} steps left take about {text}")
        else:
            reach = step + max(0, int(spare / each)) + 1
            self.say(
                f"{each:.1f} s a step: about {reach} of {self.config.steps} steps fit into "
                f"run.max_minutes = {limit:g}; then it evaluates and reports, and --resume goes on"
            )


class Clock:
    """Seconds of each phase of a step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, phase: str) -> None:
        now = time.monotonic()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self._last = now
