"""Timing: the interval of a median is that of the tables, and things compared take turns."""

from __future__ import annotations

import pytest

from vlmrl.bench.timing import estimate, take_turns


@pytest.mark.parametrize(("n", "low", "high"), [(1, 1, 1), (5, 1, 5), (6, 1, 6), (9, 2, 8), (20, 6, 15), (100, 40, 61)])
def test_the_interval_of_a_median_is_that_of_the_tables(n, low, high) -> None:
    """Ranks of the 95 % interval of a median, as in Conover, Practical Nonparametric Statistics, section 3.2."""
    found = estimate(list(range(n, 0, -1)))
    assert (found.median, found.low, found.high) == ((n + 1) / 2, low, high)


def test_things_compared_take_turns() -> None:
    done: list[str] = []
    table = take_turns([lambda: done.append("a"), lambda: done.append("b")], rounds=3, warmups=1)
    assert "".join(done) == "ab" * 4
    assert [len(column) for column in table] == [3, 3]
