"""Schedules: parameters of verifiers that change over a run, with its progress or with the policy's success.

    [reward.schedules.dynamic_iou]
    threshold = [[0.0, 0.85], [0.10, 0.95], [0.25, 0.99]]       # by progress: V-Triune, arXiv 2505.18129, section 4.2
    threshold = { part = "iou", reached_by = 0.5, most = 0.99 }  # matched: what half of the latest answers reach

A matched value is a quantile of what the policy scored lately, source by source, so that a threshold never leaves all
answers of most groups on one side, where they would teach nothing.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vlmrl import catalog
from vlmrl.config.reward import MatchedSchedule, Schedule
from vlmrl.errors import UserError, nearest
from vlmrl.rewards.composite import Overrides
from vlmrl.verdict import Verdict

LATEST = 512
"""Answers of a source that a matched value looks back on."""


class Schedules:
    """The schedules of a run and, for matched ones, what the policy scored lately; `UserError` for unknown names.

    Values change between steps, in `advance`, never within one.
    """

    def __init__(self, schedules: Mapping[str, Mapping[str, Schedule]]) -> None:
        for verifier, scheduled in schedules.items():
            known = catalog.parameters(verifier)
            for name, schedule in scheduled.items():
                if name not in known:
                    raise UserError(f"reward.schedules.{verifier}: no parameter {name!r}{nearest(name, known)}")
                if isinstance(schedule, MatchedSchedule):
                    _check_part(f"reward.schedules.{verifier}.{name}", verifier, schedule.part)
        self.schedules = schedules
        self._parts = {f"{v}/{s.part}" for v, _, s in self._entries() if isinstance(s, MatchedSchedule)}
        self._latest: dict[tuple[str, str], deque[float]] = defaultdict(lambda: deque(maxlen=LATEST))
        self._observed: list[tuple[tuple[str, str], float]] = []

    def values(self, source: str, progress: float) -> Overrides:
        """Parameters in force for the rows of a source, by verifier; `progress` is steps done / steps."""
        values: dict[str, dict[str, float]] = defaultdict(dict)
        for verifier, name, schedule in self._entries():
            values[verifier][name] = self._value(verifier, schedule, source, progress)
        return values

    def metrics(self, progress: float) -> dict[str, float]:
        """The values in force: `schedule/<verifier>/<name>`, of a matched one with the source behind it."""
        metrics: dict[str, float] = {}
        for verifier, name, schedule in self._entries():
            key = f"schedule/{verifier}/{name}"
            if not isinstance(schedule, MatchedSchedule):
                metrics[key] = schedule_value(schedule, progress)
                continue
            for source, part in self._latest:
                if part == f"{verifier}/{schedule.part}":
                    metrics[f"{key}/{source}"] = self._value(verifier, schedule, source, progress)
        return metrics

    def observe(self, source: str, verdicts: Iterable[Verdict]) -> None:
        """Takes note of a group's verdicts."""
        for verdict in verdicts:
            for part in self._parts & verdict.parts.keys():
                self._observed.append(((source, part), verdict.parts[part]))

    def advance(self) -> None:
        """Ends a step: its answers count from now on."""
        for key, value in self._observed:
            self._latest[key].append(value)
        self._observed.clear()

    def state_dict(self) -> list[tuple[str, str, list[float]]]:
        return [(source, part, list(values)) for (source, part), values in self._latest.items()]

    def load_state_dict(self, state: Sequence[tuple[str, str, list[float]]]) -> None:
        for source, part, values in state:
            self._latest[source, part].extend(values)

    def _entries(self) -> Iterable[tuple[str, str, Schedule]]:
        return ((v, name, schedule) for v, scheduled in self.schedules.items() for name, schedule in scheduled.items())

    def _value(self, verifier: str, schedule: Schedule, source: str, progress: float) -> float:
        if not isinstance(schedule, MatchedSchedule):
            return schedule_value(schedule, progress)
        latest = self._latest.get((source, f"{verifier}/{schedule.part}"))
        return 0.0 if not latest else matched_value(schedule, latest)


def schedule_value(schedule: Sequence[tuple[float, float]], progress: float) -> float:
    """The value of a step schedule at `progress` = step / total steps, in [0, 1].

    `schedule` lists (after, value), sorted: the last value whose `after` has been passed holds, and the first
    holds from the start. V-Triune's thresholds, [(0, 0.85), (0.10, 0.95), (0.25, 0.99)], are 0.85 up to and
    including progress 0.10, 0.95 up to and including 0.25, then 0.99.
    """
    passed = [value for after, value in schedule if after < progress]
    return passed[-1] if passed else schedule[0][1]


def matched_value(schedule: MatchedSchedule, latest: Iterable[float]) -> float:
    """What the share `reached_by` of these scores reaches, within the bounds."""
    reached = float(np.quantile(np.fromiter(latest, np.float64), 1 - schedule.reached_by, method="higher"))
    return min(max(reached, 0.0), schedule.most)


def _check_part(where: str, verifier: str, part: str) -> None:
    module: Any = catalog.load("verifiers", verifier)
    if not module.EXAMPLES:
        raise UserError(
            f"{where}: {verifier} is a reward function, whose parts nobody knows; use [progress, value] steps"
        )
    example = module.EXAMPLES[0]
    parts = module.verify(example.response, example.target, **example.params).parts
    if part not in parts:
        raise UserError(f"{where}: verdicts of {verifier} have no part {part!r}{nearest(part, parts)}")
