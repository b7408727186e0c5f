"""Agreement: no update is made on rollouts that the engine and the learner judge differently.

    gate = AgreementGate(config.agreement, policy.compute, folder.path, folder.say)
    Learner(..., gate=gate).update(groups, version=7)     # asks the gate after its passes, before its optimizer step

Both sides know the logprob of every sampled token under the same weights, so their difference d = learner - engine
shows any input that one of them saw otherwise: pixels, template, positions, embeddings, weights, temperature. It is
judged over the tokens of each modality, each source and each sample: mean |d|, and for the first two KL(engine ||
learner) too, estimated by k3, which a few tokens that differ much raise although many agree. The KL of one sample
would hang on a single token. docs/agreement.md has figures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vlmrl.config.learner import AgreementSettings
from vlmrl.config.run_file import RunConfig
from vlmrl.errors import UserError
from vlmrl.files import whole_file
from vlmrl.models.policy import Policy
from vlmrl.monitor.metrics import agreement_metrics, by
from vlmrl.rollout.group import Group

MIN_TOKENS = 256
"""What a part has fewer tokens than this counts as if the missing ones agreed, so that no single token decides."""

THRESHOLDS = {
    torch.float32: {"warn": 1e-4, "warn_kl": 1e-6, "stop": 1e-3, "stop_kl": 1e-5},
    torch.bfloat16: {"warn": 0.03, "warn_kl": 2e-3, "stop": 0.1, "stop_kl": 0.02},
}
"""By compute type. The difference of healthy engines is some 1e-6 in float32 and up to a few 1e-2 in bfloat16."""

KEPT_GROUPS = 32
"""Groups that are kept for inspection when a run stops."""


@dataclass(frozen=True, slots=True)
class Part:
    """Agreement over the measured tokens of some groups."""

    level: str
    """`modality`, `source` or `sample`."""
    name: str
    groups: Sequence[Group]
    tokens: int
    mean: float
    """Mean of |d|."""
    kl: float

    def excess(self, mean: float, kl: float) -> tuple[float, str]:
        """How many times the thresholds it is, and the statistic that is: `` or `_kl`."""
        share = min(1.0, self.tokens / MIN_TOKENS)
        of_kl = 0.0 if self.level == "sample" else self.kl / kl
        return max((_or_infinite(self.mean / mean) * share, ""), (_or_infinite(of_kl) * share, "_kl"))


def make_gate(config: RunConfig, policy: Policy, folder: Path, say: Callable[[str], None]) -> AgreementGate | None:
    """A run's gate. None with top_p below 1, where engine and learner have different distributions."""
    if config.rollout.top_p < 1:
        say("rollout.top_p is below 1, so agreement of engine and learner is not judged")
        return None
    return AgreementGate(config.agreement, policy.compute, folder, say)


class AgreementGate:
    """Warns, and stops the run by a `UserError`; `folder` gets the groups that disagree."""

    def __init__(
        self, settings: AgreementSettings, compute: torch.dtype, folder: Path, say: Callable[[str], None]
    ) -> None:
        self.thresholds = {name: settings.tolerance * value for name, value in THRESHOLDS[compute].items()}
        self.path = folder / "agreement.jsonl"
        self.warnings = 0
        """Parts above a warning threshold in the last update that was judged."""
        self._say = say
        self._warned: set[tuple[str, str]] = set()

    def judge(self, groups: Sequence[Group]) -> None:
        """Judges groups whose `stats` are those of the policy that sampled them."""
        measured = list(parts(groups))
        if stopped := self._above("stop", measured):
            part, statistic = stopped[0]
            self._keep(part.groups)
            raise UserError(
                f"{self._line('stop', part, statistic)}; no update was made, see {self.path}. "
                f"{likely_causes(part, measured, self.thresholds['warn'])}. If nothing is broken, raise "
                "--agreement.tolerance and correct the loss by truncated importance sampling: "
                "--objective.old proximal --objective.tis.correction clamp"
            )
        warned = self._above("warn", measured)
        self.warnings = len(warned)
        for part, statistic in warned:
            if (part.level, part.name) not in self._warned and part.level != "sample":
                self._warned.add((part.level, part.name))
                self._say(f"{self._line('warn', part, statistic)} (this is said once; see all/agreement_warnings)")

    def _above(self, level: str, measured: Sequence[Part]) -> list[tuple[Part, str]]:
        """Parts above a threshold, farthest first, each with the statistic that is."""
        limits = self.thresholds[level], self.thresholds[f"{level}_kl"]
        excesses = [(part.excess(*limits), part) for part in measured]
        ordered = sorted(excesses, key=lambda pair: -pair[0][0])
        return [(part, statistic) for (excess, statistic), part in ordered if excess > 1]

    def _line(self, level: str, part: Part, statistic: str) -> str:
        worst = max(parts_by_sample(part.groups), key=lambda sample: _or_infinite(sample.mean))
        (group,) = worst.groups
        value = f"KL {part.kl:.2g}" if statistic else f"mean |logprob difference| {part.mean:.2g}"
        threshold = f"the threshold {level}{statistic} = {self.thresholds[level + statistic]:g}"
        return (
            f"step {group.rollouts[0].version + 1}: engine and learner disagree on {part.level} {part.name!r}: {value} "
            f"over {part.tokens} tokens is above {threshold} (worst: sample {group.sample.id!r}, source "
            f"{group.sample.source!r}, modality {group.prompt.modality!r}: {worst.mean:.2g})"
        )

    def _keep(self, groups: Sequence[Group]) -> None:
        worst = sorted(parts_by_sample(groups), key=lambda part: -_or_infinite(part.mean))[:KEPT_GROUPS]
        with whole_file(self.path) as partial:
            lines = [json.dumps(_row(part), ensure_ascii=True, allow_nan=False) for part in worst]
            partial.write_text("\n".join(lines) + "\n", encoding="utf-8")


def parts(groups: Sequence[Group]) -> Iterator[Part]:
    """Every modality, source and sample with measured tokens."""
    yield from _parts("modality", by(groups, lambda group: group.prompt.modality))
    yield from _parts("source", by(groups, lambda group: group.sample.source))
    yield from parts_by_sample(groups)


def parts_by_sample(groups: Sequence[Group]) -> Iterator[Part]:
    """Each group by itself."""
    for group in groups:
        yield from _parts("sample", {group.sample.id: [group]})


def _parts(level: str, groups: dict[str, list[Group]]) -> Iterator[Part]:
    for name, members in groups.items():
        measured = agreement_metrics(members)
        mean, kl, tokens = measured["diff_mean"], measured["kl"], measured["tokens"]
        if mean is not None and kl is not None and tokens is not None:
            yield Part(level, name, members, int(tokens), mean, kl)


def likely_causes(part: Part, measured: Sequence[Part], agrees: float) -> str:
    """Where to look first: what agrees is not a cause."""
    by_name = {(other.level, other.name): other.mean for other in measured}
    if part.level == "sample":
        return "Other samples agree better: look at this one's media, and at its embedding in the vision cache"
    if by_name.get(("modality", "text"), math.inf) <= agrees:
        return "Text agrees, so look at the engine's media: processor settings, vision cache, tower weights, positions"
    return (
        "Likely causes, in the engine: weights (a sync it missed) or their type, chat template, processor settings, "
        "vision cache, positions, temperature, or logprobs of another distribution than it samples from"
    )


def _row(part: Part) -> dict[str, Any]:
    (group,) = part.groups
    return {
        "step": group.rollouts[0].version + 1,
        "sample": group.sample.id,
        "source": group.sample.source,
        "modality": group.prompt.modality,
        "prompt": group.sample.prompt[-1].content,
        "prompt_ids": group.prompt.input_ids.tolist(),
        "diff_mean": _plain(part.mean),
        "kl": _plain(part.kl),
        "rollouts": [
            {
                "text": rollout.text,
                "token_ids": rollout.token_ids,
                "engine_logprobs": [_plain(logprob) for logprob in rollout.logprobs],
                "diff_mean": _plain(stats.diff_mean),
                "diff_max": _plain(stats.diff_max),
                "kl": _plain(stats.behaviour_kl),
            }
            for rollout, stats in zip(group.rollouts, group.stats, strict=True)
            if stats is not None
        ],
    }


def _plain(value: float | None) -> float | str | None:
    """A number as JSON has it; NaN and infinities as text."""
    return value if value is None or math.isfinite(value) else str(value)


def _or_infinite(value: float) -> float:
    """NaN counts as a disagreement."""
    return math.inf if math.isnan(value) else value
