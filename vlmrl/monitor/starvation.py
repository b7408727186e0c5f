"""Starvation: a warning, once for each source, if nearly all of its groups have equal imperfect scores.

Such groups cost rollouts and teach nothing. The usual cause is a threshold that the policy cannot reach yet: with an
IoU of 0.99 from the start, 97 of 100 groups of a small detector have no spread.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable

from vlmrl.monitor.metrics import PERFECT, by
from vlmrl.rewards.composite import Overrides
from vlmrl.rollout.group import Group
from vlmrl.sample import RewardSpec

LATEST, ENOUGH = 256, 64
"""Number of latest groups of a source that count, and the fewest that suffice for a warning."""
STARVED = 0.8
"""Share of groups with equal imperfect scores that causes a warning."""


class StarvationWatch:
    """Counts, for each source, the groups whose answers all have the same imperfect score."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self._latest: dict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=LATEST))
        self._warned: set[str] = set()

    def observe(self, groups: Iterable[Group], scheduled: Callable[[str], Overrides]) -> None:
        """Counts a step's groups and warns; `scheduled` returns the current parameters of a source's verifiers."""
        for source, members in by(groups, lambda group: group.sample.source).items():
            latest = self._latest[source]
            latest.extend(_has_equal_imperfect_scores(group) for group in members)
            share = sum(latest) / len(latest)
            if source in self._warned or len(latest) < ENOUGH or share < STARVED:
                continue
            self._warned.add(source)
            thresholds = _thresholds(members[-1].sample.reward, scheduled(source))
            advice = f"{thresholds}: lower it, or match it to the policy (docs/verifiers.md, schedules)"
            easier = "give it easier prompts, a supervised start, or a reward for partial success"
            self.say(
                f"source {source!r} starves: in {share:.0%} of its last {len(latest)} groups all answers got the "
                f"same imperfect score, so they teach nothing; {advice if thresholds else easier}"
            )


def _has_equal_imperfect_scores(group: Group) -> bool:
    return len(set(group.own_scores)) == 1 and group.own_scores[0] < PERFECT


def _thresholds(reward: Iterable[RewardSpec], scheduled: Overrides) -> str:
    """The thresholds above 0, as text."""
    values = {spec.verifier: {**spec.params, **scheduled.get(spec.verifier, {})}.get("threshold") for spec in reward}
    return ", ".join(f"{verifier}.threshold is {value:g}" for verifier, value in values.items() if value)
