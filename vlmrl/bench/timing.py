"""Timing: the compared sides alternate in rounds; the result is the median of their ratio with its interval."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Estimate(NamedTuple):
    """A median and the bounds of its confidence interval."""

    median: float
    low: float
    high: float


def seconds(run: Callable[[], Any]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def take_turns(runs: Sequence[Callable[[], Any]], rounds: int, warmups: int = 2) -> list[list[float]]:
    """Seconds of each run in each of `rounds` rounds (A B ... A B ...), after `warmups` rounds without timing."""
    for run in [*runs] * warmups:
        run()
    table = [[seconds(run) for run in runs] for _ in range(rounds)]
    return [list(column) for column in zip(*table, strict=True)]


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate:
    """The median of the ratios of all rounds, with its 95 % interval."""
    return estimate([a / b for a, b in zip(numerators, denominators, strict=True)])


def estimate(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Median with an interval between two order statistics, which is valid for any distribution.

    The k-th smallest and the k-th largest of n values enclose the median with probability
    1 - 2 P(Binomial(n, 1/2) < k). The result is the innermost pair that reaches `confidence`, or the extremes if none
    does (n < 6).
    """
    ordered, n = sorted(values), len(values)
    tail, k = 0.0, 0
    while k < (n - 1) // 2:
        tail += math.comb(n, k) / 2**n
        if 1 - 2 * tail < confidence:
            break
        k += 1
    outer = max(k - 1, 0)
    return Estimate(statistics.median(ordered), ordered[outer], ordered[n - 1 - outer])
