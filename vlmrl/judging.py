"""Judge: verdicts for the rollouts of a step, with the parameters that belong to the run, not to the row.

In training the schedules of `[reward]` are in force; in held-out evaluation no schedule ever is. In both, a
model that writes boxes in pixels of the resized image is judged in those pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlmrl.errors import UserError, nearest
from vlmrl.formatting import EncodedPrompt, Formatter
from vlmrl.reward import parameters, schedule_value, score
from vlmrl.rollout import Rollout
from vlmrl.sample import Sample
from vlmrl.verdict import Verdict

Schedules = Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]


class Judge:
    """`UserError` for a schedule of an unknown verifier or parameter."""

    def __init__(self, schedules: Schedules, formatter: Formatter) -> None:
        for verifier, scheduled in schedules.items():
            known = parameters(verifier)
            for name in scheduled:
                if name not in known:
                    raise UserError(f"reward.schedules.{verifier}: no parameter {name!r}{nearest(name, known)}")
        self.schedules = schedules
        self.formatter = formatter

    def training(
        self,
        samples: Sequence[Sample],
        prompts: Sequence[EncodedPrompt],
        rollouts: Sequence[Sequence[Rollout]],
        progress: float,
    ) -> list[list[Verdict]]:
        """Verdicts of each group at `progress` (steps done / steps)."""
        return self._judge(samples, prompts, rollouts, self._scheduled(progress))

    def heldout(
        self,
        samples: Sequence[Sample],
        prompts: Sequence[EncodedPrompt],
        rollouts: Sequence[Sequence[Rollout]],
    ) -> list[list[Verdict]]:
        """Verdicts at the rows' own settings."""
        return self._judge(samples, prompts, rollouts, {})

    def metrics(self, progress: float) -> dict[str, float]:
        """The schedules' values in force, for the ledger."""
        values = self._scheduled(progress)
        return {f"schedule/{v}/{name}": value for v, params in values.items() for name, value in params.items()}

    def _scheduled(self, progress: float) -> dict[str, dict[str, float]]:
        return {
            verifier: {name: schedule_value(schedule, progress) for name, schedule in scheduled.items()}
            for verifier, scheduled in self.schedules.items()
        }

    def _judge(
        self,
        samples: Sequence[Sample],
        prompts: Sequence[EncodedPrompt],
        rollouts: Sequence[Sequence[Rollout]],
        scheduled: Mapping[str, Mapping[str, Any]],
    ) -> list[list[Verdict]]:
        judged = []
        for sample, prompt, group in zip(samples, prompts, rollouts, strict=True):
            overrides = {
                spec.verifier: {**self._coordinates(prompt, spec.params), **scheduled.get(spec.verifier, {})}
                for spec in sample.reward
            }
            judged.append([score(sample, rollout.text, overrides) for rollout in group])
        return judged

    def _coordinates(self, prompt: EncodedPrompt, params: Mapping[str, Any]) -> dict[str, Any]:
        """How this model writes boxes, unless the row says how its prompt asks for them."""
        if "coords" not in params or "answer_coords" in params or prompt.modality != "image":
            return {}
        _, rows, columns = prompt.vision["image_grid_thw"][0].tolist()
        patch = self.formatter.config.vision_config.patch_size
        return {"answer_coords": self.formatter.answer_coords, "answer_size": [columns * patch, rows * patch]}
