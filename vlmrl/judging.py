"""Judge: verdicts for the rollouts of a step, with the parameters that belong to the run, not to the row.

In training the schedules of `[reward]` are in force; in held-out evaluation no schedule ever is. In both, a
model that writes boxes in pixels of the resized image is judged in those pixels. What could not be judged is
kept in `unscored.jsonl`, rows that `vlmrl score` judges again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vlmrl import catalog
from vlmrl.calls import row_from_call, write_row
from vlmrl.formatting import EncodedPrompt, Formatter
from vlmrl.reward import Answered, Call, CallRunner, Overrides, run_calls, score_groups
from vlmrl.rollout import Rollout
from vlmrl.rows import whole_file
from vlmrl.sample import MediaSet, Message, Sample
from vlmrl.schedules import Schedules
from vlmrl.settings import RewardSettings
from vlmrl.verdict import Member, Verdict

KEPT = 1000
"""Unscored answers that a run keeps."""

Ask = Callable[[Sequence[Sample]], list[str]]
"""The policy's greedy answers to text prompts."""


def make_runner(settings: RewardSettings) -> CallRunner:
    """Who judges: servers, worker processes, or this process."""
    if settings.servers:
        from vlmrl.remote import Remote

        return Remote(settings.servers)
    if settings.workers == 0:
        return run_calls
    from vlmrl.workers import Workers

    return Workers(settings.workers, settings.deadline, settings.memory_mb)


class Judge:
    """Holds the runner of a run; `close()` it. `ask` serves verifiers that put a question to the policy."""

    def __init__(self, settings: RewardSettings, formatter: Formatter, folder: Path, ask: Ask) -> None:
        self.schedules = Schedules(settings.schedules)
        self.formatter = formatter
        self.path = folder / "unscored.jsonl"
        self.ask = ask
        self.runner = make_runner(settings)
        self.step = 0

    def training(
        self,
        samples: Sequence[Sample],
        prompts: Sequence[EncodedPrompt],
        rollouts: Sequence[Sequence[Rollout]],
        progress: float,
    ) -> list[list[Verdict]]:
        """Verdicts of each group at `progress` (steps done / steps)."""
        scheduled = [self.schedules.values(sample.source, progress) for sample in samples]
        verdicts = self._judge(samples, prompts, rollouts, scheduled)
        for sample, group in zip(samples, verdicts, strict=True):
            self.schedules.observe(sample.source, group)
        return verdicts

    def heldout(
        self,
        samples: Sequence[Sample],
        prompts: Sequence[EncodedPrompt],
        rollouts: Sequence[Sequence[Rollout]],
    ) -> list[list[Verdict]]:
        """Verdicts at the rows' own settings, with the parts that a verifier keeps for evaluation."""
        evaluation = [{spec.verifier: {"evaluation": True} for spec in sample.reward} for sample in samples]
        return self._judge(samples, prompts, rollouts, evaluation)

    def close(self) -> None:
        getattr(self.runner, "close", lambda: None)()

    def _judge(
        self,
        samples: Sequence[Sample],
        prompts: Sequence[EncodedPrompt],
        rollouts: Sequence[Sequence[Rollout]],
        decided: Sequence[Overrides],
    ) -> list[list[Verdict]]:
        answered = []
        replies = self._replies(samples, rollouts)
        for sample, prompt, group, told, params in zip(samples, prompts, rollouts, replies, decided, strict=True):
            overrides = {
                spec.verifier: {**self._coordinates(prompt, spec.params), **params.get(spec.verifier, {})}
                for spec in sample.reward
            }
            members = [Member(r.text, len(r.token_ids), reply=reply) for r, reply in zip(group, told, strict=True)]
            answered.append(Answered(sample, members, overrides))
        return score_groups(answered, self._run)

    def _coordinates(self, prompt: EncodedPrompt, params: Mapping[str, Any]) -> dict[str, Any]:
        """How this model writes boxes, unless the row says how its prompt asks for them."""
        if "coords" not in params or "answer_coords" in params or prompt.modality != "image":
            return {}
        _, rows, columns = prompt.vision["image_grid_thw"][0].tolist()
        patch = self.formatter.config.vision_config.patch_size
        return {"answer_coords": self.formatter.answer_coords, "answer_size": [columns * patch, rows * patch]}

    def _replies(self, samples: Sequence[Sample], rollouts: Sequence[Sequence[Rollout]]) -> list[list[str | None]]:
        """What the policy answers to the question that a verifier has about a response, if one has any."""
        replies: list[list[str | None]] = [[None] * len(group) for group in rollouts]
        questions: list[Sample] = []
        places: list[tuple[int, int]] = []
        for g, (sample, group) in enumerate(zip(samples, rollouts, strict=True)):
            for spec in sample.reward:
                question = getattr(catalog.load("verifiers", spec.verifier), "question", None)
                if question is None:
                    continue
                for i, rollout in enumerate(group):
                    text = question(rollout.text, spec.target, **spec.params)
                    if text is not None:
                        turn = Message(role="user", content=text)
                        questions.append(sample.model_copy(update={"messages": (turn,), "media": MediaSet()}))
                        places.append((g, i))
        if questions:
            for (g, i), reply in zip(places, self.ask(questions), strict=True):
                replies[g][i] = reply
        return replies

    # --- what could not be judged -------------------------------------------------------------------------

    def _run(self, calls: Sequence[Call]) -> list[list[Verdict]]:
        found = self.runner(calls)
        failed = [(c, v) for c, verdicts in zip(calls, found, strict=True) for v in verdicts if v.score is None]
        if failed:
            self._keep(failed)
        return found

    def _keep(self, failed: Sequence[tuple[Call, Verdict]]) -> None:
        kept = sum(1 for _ in self.path.open("rb")) if self.path.exists() else 0
        with self.path.open("ab") as file:
            for call, verdict in failed[: max(0, KEPT - kept)]:
                about = {"step": self.step, "status": verdict.status, "why": verdict.why}
                write_row(file, row_from_call(call) | about)

    def truncate(self, step: int) -> None:
        """Drops what was kept after a step that will be done again."""
        if not self.path.exists():
            return
        rows = [line for line in self.path.read_bytes().splitlines(True) if json.loads(line)["step"] <= step]
        with whole_file(self.path) as partial:
            partial.write_bytes(b"".join(rows))
