"""Judge: verdicts for the rollouts of a step, with the parameters that belong to the run, not to the row.

In training the schedules of `[reward]` are in force; in held-out evaluation no schedule ever is. In both, a
model that writes boxes in pixels of the resized image is judged in those pixels, and verifiers put their questions
to the policy. What could not be judged is kept in `unscored.jsonl`, rows that `vlmrl score` judges again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import NamedTuple

from vlmrl import catalog
from vlmrl.config.reward import RewardSettings
from vlmrl.files import json_line, lines_until, whole_file
from vlmrl.models.encoded_prompt import EncodedPrompt
from vlmrl.models.formatting import Formatter
from vlmrl.rewards.call_rows import row_from_call
from vlmrl.rewards.calls import Call, CallRunner, failure, run_calls
from vlmrl.rewards.composite import Answered, Overrides, as_judged, score_groups
from vlmrl.rewards.schedules import Schedules
from vlmrl.rollout import Rollout
from vlmrl.sample import MARKS, MediaSet, Message, RewardSpec, Sample
from vlmrl.verdict import Member, Verdict

KEPT = 1000
"""Unscored answers that a run keeps."""

Ask = Callable[[Sequence[Sample]], list[str]]
"""The policy's greedy answers to text prompts."""


class Judged(NamedTuple):
    """What became of a group's responses."""

    verdicts: list[Verdict]
    reward: tuple[RewardSpec, ...]
    """The sample's specs, with the parameters that the run decided: schedules, and the frame of the answers."""


Replies = dict[tuple[int, int], str | Verdict]
"""As in `Answered`: by the index of the spec that asked and of the member."""


def make_runner(settings: RewardSettings) -> CallRunner:
    """Who judges: servers, worker processes, or this process."""
    if settings.servers:
        from vlmrl.serve.client import Remote

        return Remote(settings.servers)
    if settings.workers == 0:
        return run_calls
    from vlmrl.rewards.workers import Workers

    return Workers(settings.workers, settings.deadline, settings.memory_mb)


class Judge:
    """Holds the runner of a run; `close()` it.

    `ask` serves verifiers that put a question to the policy, `check` raises for questions that it cannot take.
    """

    def __init__(
        self,
        settings: RewardSettings,
        formatter: Formatter,
        folder: Path,
        ask: Ask,
        check: Callable[[Sequence[Sample]], object],
    ) -> None:
        self.schedules = Schedules(settings.schedules)
        self.formatter = formatter
        self.path = folder / "unscored.jsonl"
        self.ask, self.check = ask, check
        self.runner = make_runner(settings)

    def __call__(
        self,
        samples: Sequence[Sample],
        prompts: Sequence[EncodedPrompt],
        rollouts: Sequence[Sequence[Rollout]],
        step: int,
        progress: float | None,
    ) -> list[Judged]:
        """The groups judged. `progress` (steps done / steps) sets the schedules; they learn from these verdicts.

        Without it the rows' own settings hold, with the parts that a verifier keeps for evaluation.
        """
        if progress is None:
            evaluated = [{spec.verifier: {"evaluation": True} for spec in sample.reward} for sample in samples]
            return self._judge(samples, prompts, rollouts, step, evaluated)
        scheduled = [self.schedules.values(sample.source, progress) for sample in samples]
        judged = self._judge(samples, prompts, rollouts, step, scheduled)
        for sample, group, one in zip(samples, rollouts, judged, strict=True):
            own = [verdict for rollout, verdict in zip(group, one.verdicts, strict=True) if rollout.kind != "demo"]
            self.schedules.observe(sample.source, own)
        return judged

    def close(self) -> None:
        getattr(self.runner, "close", lambda: None)()

    def _judge(
        self,
        samples: Sequence[Sample],
        prompts: Sequence[EncodedPrompt],
        rollouts: Sequence[Sequence[Rollout]],
        step: int,
        overrides: Sequence[Overrides],
    ) -> list[Judged]:
        answered = []
        replies = self._replies(samples, rollouts)
        for sample, prompt, group, reply, params in zip(samples, prompts, rollouts, replies, overrides, strict=True):
            members = [Member(r.text, len(r.token_ids)) for r in group]
            frames = self.formatter.frames.decided(sample, prompt.shown)
            decided = [{**params.get(s.verifier, {}), **frame} for s, frame in zip(sample.reward, frames, strict=True)]
            answered.append(Answered(sample, members, decided, reply))
        failed: list[tuple[Call, Verdict]] = []
        verdicts = score_groups(answered, self.runner, lambda call, verdict: failed.append((call, verdict)))
        if failed:
            self._keep(failed, step)
        return [Judged(own, as_judged(one)) for own, one in zip(verdicts, answered, strict=True)]

    # --- questions to the policy --------------------------------------------------------------------------

    def _replies(self, samples: Sequence[Sample], rollouts: Sequence[Sequence[Rollout]]) -> list[Replies]:
        """What the policy answers to the questions that verifiers have about its responses, sample by sample."""
        replies: list[Replies] = [{} for _ in samples]
        questions: list[Sample] = []
        places: list[tuple[Replies, tuple[int, int]]] = []
        for own, sample, group in zip(replies, samples, rollouts, strict=True):
            for (number, spec), (i, rollout) in product(_asking(sample), enumerate(group)):
                try:
                    question = self._question(sample, spec, rollout.text)
                except Exception as error:  # of the verifier, or of a text that makes no prompt
                    own[number, i] = failure(f"the question of {spec.verifier}", error)
                    continue
                if question is not None:
                    questions.append(question)
                    places.append((own, (number, i)))
        if questions:
            for (own, place), reply in zip(places, self.ask(questions), strict=True):
                own[place] = reply
        return replies

    def _question(self, sample: Sample, spec: RewardSpec, response: str) -> Sample | None:
        """A prompt that is known to fit; raises where the verifier does, or the run cannot take the prompt."""
        text = catalog.load("verifiers", spec.verifier).question(response, spec.target, **spec.params)
        if text is None:
            return None
        turn = Message(role="user", content=self._plain(text))
        question = sample.model_copy(update={"messages": (turn,), "media": MediaSet()})
        self.check([question])
        return question

    def _plain(self, text: str) -> str:
        """The text, part of which the policy wrote, without what would not be read as text."""
        while (plain := self._marks.sub(" ", text)) != text:  # again: a mark that holds a space may form anew
            text = plain
        return text

    @cached_property
    def _marks(self) -> re.Pattern[str]:
        """Marks of media and the tokenizer's control tokens.

        Words that were added to the tokenizer, like `<think>`, are text: the verifier's own request may hold them.
        """
        placeholders = self.formatter.placeholder_ids
        marks = set(MARKS.values())
        for number, token in self.formatter.tokenizer.added_tokens_decoder.items():
            if token.special or token.content.startswith("<|") or number in placeholders:
                marks.add(token.content)
        return re.compile("|".join(re.escape(mark) for mark in sorted(marks, key=len, reverse=True)))

    # --- what could not be judged -------------------------------------------------------------------------

    def _keep(self, failed: Sequence[tuple[Call, Verdict]], step: int) -> None:
        kept = sum(1 for _ in self.path.open("rb")) if self.path.exists() else 0
        with self.path.open("ab") as file:
            for call, verdict in failed[: max(0, KEPT - kept)]:
                about = {"step": step, "status": verdict.status, "why": verdict.why}
                file.write(json_line(row_from_call(call) | about))

    def truncate(self, step: int) -> None:
        """Drops what was kept after a step that will be done again, and a half-written last line."""
        if not self.path.exists():
            return
        kept = lines_until(self.path, step)
        with whole_file(self.path) as partial:
            partial.write_bytes(kept)


def _asking(sample: Sample) -> list[tuple[int, RewardSpec]]:
    """The specs, with their indices, whose verifier puts questions to the policy."""
    numbered = enumerate(sample.reward)
    return [(n, spec) for n, spec in numbered if hasattr(catalog.load("verifiers", spec.verifier), "question")]
