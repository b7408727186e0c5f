"""Rollouter: samples in, judged groups out. Training, held-out evaluation and grading all go through it.

    rollouter = Rollouter(config, policy, folder)
    rollouter.sync(version)                                     # after an update
    groups = rollouter.training(samples, indices, step, progress)
    groups = rollouter.evaluation(samples, start, step)["greedy"]

A group takes four steps: encode the prompt, generate n responses, judge them, run the hooks. The Rollouter owns the
engine and the judge. It sets every sampling seed, so that a resumed run samples the same as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from vlmrl import catalog
from vlmrl.config.run import Mode
from vlmrl.config.run_file import RunConfig
from vlmrl.models.encoded_prompt import EncodedPrompt
from vlmrl.models.policy import Policy
from vlmrl.rollout import Engine, Rollout, Sampling, hook
from vlmrl.rollout.group import Group
from vlmrl.rollout.judge import Judge
from vlmrl.rollout.prompt_check import PromptCheck
from vlmrl.rollout.unreadable import SampleReader
from vlmrl.sample import Sample

Lap = Callable[[str], None]
"""Called with the name of a phase ("rollout", "reward") when it ends, to measure its time."""


def _no_lap(phase: str) -> None:
    """Measures nothing."""


class Rollouter:
    """Answers prompts with the current policy and has the answers judged; call `close()` at the end.

    Answers that could not be judged are written to `unscored.jsonl` in `folder`.
    """

    def __init__(self, config: RunConfig, policy: Policy, folder: Path) -> None:
        self.config, self.policy = config, policy
        rollout = config.rollout
        engine = catalog.load("engines", rollout.engine).create(getattr(rollout, rollout.engine), policy)
        self.engine: Engine = hook.wrap_engine(engine, policy.formatter, rollout)
        self.version: int | None = None
        self.reader = SampleReader(config.data.on_unreadable, policy.formatter, folder)
        check = PromptCheck(config, policy.formatter, training=False).encode
        self.judge = Judge(config.reward, policy.formatter, folder, self.answer, check)
        self._step, self._round = 0, 0

    def sync(self, version: int) -> None:
        """Copies the policy's weights to the engine, unless it already has this version."""
        if version != self.version:
            self.engine.sync(self.policy.weights(), version)
            self.version = version

    def training(
        self, samples: Sequence[Sample], indices: Sequence[int], step: int, progress: float, lap: Lap = _no_lap
    ) -> list[Group]:
        """One group for each sample that can be read, after the hooks. `indices` number the samples in the data.

        `progress` is the share of the run's steps that are done after this step; the schedules depend on it.
        """

        def roll_out(
            samples: Sequence[Sample], indices: Sequence[int], prompts: Sequence[EncodedPrompt] | None = None
        ) -> list[Group]:
            sampling = self._sampling(self._training_seed(step))
            prompts = prompts or self.policy.formatter.encode(samples)
            rollouts = self._generate(prompts, group - demonstrations, sampling)
            if demonstrations:
                rollouts = [[*r, self._demonstration(s, p)] for r, s, p in zip(rollouts, samples, prompts, strict=True)]
            lap("rollout")
            groups = self._judge_groups(samples, indices, prompts, rollouts, step, progress)
            lap("reward")
            return groups

        group, demonstrations = self.config.rollout.group, self.config.objective.demonstrations
        samples, indices, prompts = self._read(samples, indices, step)
        groups = roll_out(samples, indices, prompts) if samples else []
        return hook.apply_hooks(groups, self.config.rollout, step, roll_out)

    def grading(self, samples: Sequence[Sample], indices: Sequence[int]) -> list[Group]:
        """One group for each sample that can be read, as at the start of training but without hooks."""
        start = indices[0]
        samples, indices, prompts = self._read(samples, indices, 0)
        if not samples:
            return []
        sampling = self._sampling((self.config.run.seed << 32) + start)
        rollouts = self._generate(prompts, self.config.rollout.group, sampling)
        return self._judge_groups(samples, indices, prompts, rollouts, 0, 0.0)

    def evaluation(self, samples: Sequence[Sample], start: int, step: int) -> dict[Mode, list[Group]]:
        """For each mode of `eval.modes`, one group of one response for each held-out sample that can be read.

        `start` is the index of the first sample. The seed depends only on it, so that two evaluations differ only by
        the policy.
        """
        samples, indices, prompts = self._read(samples, range(start, start + len(samples)), step, "heldout")
        groups: dict[Mode, list[Group]] = {}
        for mode in self.config.eval.modes if samples else ():
            seed = (self.config.run.seed << 32) + start
            sampling = self._greedy(seed) if mode == "greedy" else self._sampling(seed)
            rollouts = self._generate(prompts, 1, sampling)
            groups[mode] = self._judge_groups(samples, indices, prompts, rollouts, step, None)
        return groups

    def answer(self, questions: Sequence[Sample]) -> list[str]:
        """The policy's greedy answers to the questions of a verifier."""
        prompts = self.policy.formatter.encode(questions)
        groups = self.engine.generate(prompts, 1, self._greedy(self.config.run.seed))
        return [group[0].text for group in groups]

    def encode_pending(self, pending: list[Group], step: int) -> None:
        """Encodes the groups of a checkpoint that wait for an update, whose prompts are not stored with them."""
        places, prompts = self.reader.encode([group.sample for group in pending], step)
        pending[:] = [pending[place] for place in places]
        for group, prompt in zip(pending, prompts, strict=True):
            group.prompt = prompt

    def truncate(self, step: int) -> None:
        """Drops what is listed of later steps, which will be done again."""
        self.judge.truncate(step)
        self.reader.truncate(step)

    def close(self) -> None:
        """Closes the engine, the processes of the judge and the threads of the reader."""
        self.reader.ahead.close()
        self.judge.close()
        self.engine.close()

    def _read(
        self, samples: Sequence[Sample], indices: Sequence[int], step: int, split: str = "train"
    ) -> tuple[list[Sample], list[int], list[EncodedPrompt]]:
        """The samples that can be read, with their indices and prompts."""
        places, prompts = self.reader.encode(samples, step, split)
        return [samples[place] for place in places], [indices[place] for place in places], prompts

    def _generate(self, prompts: Sequence[EncodedPrompt], n: int, sampling: Sampling) -> list[list[Rollout]]:
        rollouts = self.engine.generate(prompts, n, sampling)
        assert all(r.version == self.version for group in rollouts for r in group), "the engine missed a sync"
        return rollouts

    def _judge_groups(
        self,
        samples: Sequence[Sample],
        indices: Sequence[int],
        prompts: Sequence[EncodedPrompt],
        rollouts: Sequence[list[Rollout]],
        step: int,
        progress: float | None,
    ) -> list[Group]:
        """The groups with their verdicts; `progress` is None in an evaluation."""
        judged = self.judge(samples, prompts, rollouts, step, progress)
        parts = zip(samples, prompts, rollouts, judged, indices, strict=True)
        return [Group(s, p, r, j.verdicts, index=index, reward=j.reward) for s, p, r, j, index in parts]

    def _demonstration(self, sample: Sample, prompt: EncodedPrompt) -> Rollout:
        """The sample's demonstration as a rollout of a group."""
        assert self.version is not None
        formatter = self.policy.formatter
        tokens = tuple(formatter.encode_demonstration(sample, prompt=prompt))
        return Rollout(tokens, (), formatter.demonstration(sample, prompt), "stop", self.version, kind="demo")

    def _training_seed(self, step: int) -> int:
        """A seed that depends only on the run's seed, the step and the number of earlier calls in this step."""
        self._step, self._round = step, self._round + 1 if step == self._step else 0
        return (self.config.run.seed << 32) + (self._round << 24) + step

    def _sampling(self, seed: int) -> Sampling:
        rollout = self.config.rollout
        return Sampling(rollout.temperature, rollout.top_p, rollout.max_new_tokens, seed)

    def _greedy(self, seed: int) -> Sampling:
        return Sampling(0.0, 1.0, self.config.rollout.max_new_tokens, seed)
