"""Time: the seconds of each phase of a step, and how far a run with a time limit will come."""

from __future__ import annotations

import time
from collections.abc import Callable

from vlmrl.config.run import RunSettings


def time_is_over(step: int, config: RunSettings) -> str:
    """Says why a run ended before its last step, and how it goes on."""
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
