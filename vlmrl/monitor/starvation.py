"""Starvation: a source whose groups nearly all fail alike is paid for and teaches nothing. Say so, once a source.

A threshold that the policy cannot reach yet is the usual cause: at an IoU of 0.99 from the start, 97 of 100 groups of
a small detector have no spread.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable

from vlmrl.monitor.metrics import PERFECT, by
from vlmrl.rewards.composite import Overrides
from vlmrl.rollout.group import Group
from vlmrl.sample import RewardSpec

LATEST, ENOUGH = 256, 64
"""Groups of a source that are looked back on, and the fewest that allow a judgement."""
STARVED = 0.8
"""Share of groups that fail alike."""


class StarvationWatch:
    """Counts, source by source, groups whose answers all have one and the same imperfect score."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self._latest: dict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=LATEST))
        self._said: set[str] = set()

    def observe(self, groups: Iterable[Group], scheduled: Callable[[str], Overrides]) -> None:
        """Takes note of a step's groups; `scheduled` gives the parameters that were in force for a source."""
        for source, members in by(groups, lambda group: group.sample.source).items():
            latest = self._latest[source]
            latest.extend(_fails_alike(group) for group in members)
            share = sum(latest) / len(latest)
            if source in self._said or len(latest) < ENOUGH or share < STARVED:
                continue
            self._said.add(source)
            thresholds = _thresholds(members[-1].sample.reward, scheduled(source))
            advice = f"{thresholds}: lower it, or match it to the policy (docs/verifiers.md, schedules)"
            easier = "give it easier prompts, a supervised start, or a reward for partial success"
            self.say(
                f"source {source!r} starves: in {share:.0%} of its last {len(latest)} groups all answers got the "
                f"same imperfect score, so they teach nothing; {advice if thresholds else easier}"
            )


def _fails_alike(group: Group) -> bool:
    return len(set(group.own_scores)) == 1 and group.own_scores[0] < PERFECT


def _thresholds(reward: Iterable[RewardSpec], scheduled: Overrides) -> str:
    """The thresholds above 0 that answers are held to, as text."""
    values = {spec.verifier: {**spec.params, **scheduled.get(spec.verifier, {})}.get("threshold") for spec in reward}
    return ", ".join(f"{verifier}.threshold is {value:g}" for verifier, value in values.items() if value)
