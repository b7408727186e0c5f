"""The order that is never stored: of every size a permutation, one of the published network, and like a random one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from vlmrl.curriculum.permutation import ROUNDS, shuffled

M64 = 2**64 - 1


def order_of(n: int, *seed: int) -> np.ndarray:
    return shuffled(np.arange(n), n, seed)


def reference(place: int, n: int, seed: tuple[int, ...]) -> int:
    """The same network in Python's own integers, one place at a time."""

    def finalize(z: int) -> int:
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & M64
        z = (z ^ z >> 27) * 0x94D049BB133111EB & M64
        return (z ^ z >> 31) >> 32

    width = math.ceil(math.ceil(math.sqrt(n)) / 2) * 2
    sides = width, math.ceil(n / width)
    keys = [int(key) for key in np.random.SeedSequence(seed).generate_state(ROUNDS, np.uint64)]
    while True:
        pair = [place % sides[0], place // sides[0]]
        for number, key in enumerate(keys):
            changed, other = number % 2, 1 - number % 2
            pair[changed] = (pair[changed] + finalize(pair[other] ^ key)) % sides[changed]
        place = pair[1] * sides[0] + pair[0]
        if place < n:
            return place


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 10, 1000, 1024, 4096, 4097, 65_537])
def test_every_number_comes_once(n: int) -> None:
    for seed in range(3):
        assert np.bincount(order_of(n, seed), minlength=n).tolist() == [1] * n


def test_a_place_of_ten_million_is_computed_alone() -> None:
    n = 10_000_000
    places = np.array([0, 1, 2, 4_999_999, n - 1])
    together = shuffled(places, n, (3, 1)).tolist()
    assert together == [shuffled(np.array([place]), n, (3, 1))[0] for place in places]
    assert together == [reference(int(place), n, (3, 1)) for place in places]


def test_it_is_the_network_it_says() -> None:
    for n in (1, 2, 3, 11, 1000):
        assert order_of(n, 5, 2).tolist() == [reference(place, n, (5, 2)) for place in range(n)]


@pytest.mark.parametrize("n", [3, 4, 5])
def test_every_order_of_a_few_is_equally_likely(n: int) -> None:
    counts = dict.fromkeys(itertools.permutations(range(n)), 0)
    for seed in range(10 * len(counts)):
        counts[tuple(order_of(n, seed).tolist())] += 1
    assert stats.chisquare(list(counts.values())).pvalue > 0.01


@pytest.mark.parametrize("n", [7, 9, 25])
def test_even_and_odd_orders_are_equally_likely(n: int) -> None:
    """As they would not be in squares of odd sides, where every round is even."""
    orders = [order_of(n, seed) for seed in range(400)]
    odd = [np.triu(order[:, None] > order).sum() % 2 for order in orders]
    assert np.mean(odd) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("n", [3, 6, 7, 8, 9, 10, 50])
def test_every_number_is_equally_often_at_every_place(n: int) -> None:
    epochs = 500
    orders = np.stack([order_of(n, 7, epoch) for epoch in range(epochs)])
    at_place = np.stack([np.bincount(orders[:, place], minlength=n) for place in range(n)])
    # Rows and columns both sum to the number of epochs, so that (n - 1)^2 counts are free.
    statistic = ((at_place - epochs / n) ** 2).sum() * (n - 1) / epochs
    assert 0.001 < stats.chi2.sf(statistic, (n - 1) ** 2) < 0.999


def test_neighbours_are_strangers_and_epochs_differ() -> None:
    n = 10_000
    first, second = order_of(n, 0, 0), order_of(n, 0, 1)
    for x, y in ((first[:-1], first[1:]), (np.arange(n), first), (first, second)):
        assert abs(np.corrcoef(x, y)[0, 1]) < 3 / math.sqrt(n)
        # Of a random order, the number of pairs a fixed step apart is Poisson with mean 1.
        steps = np.bincount((y - x) % n, minlength=n)
        assert steps.max() < 10
        assert stats.chisquare(np.bincount(steps.clip(max=5)), n * poisson_up_to_5()).pvalue > 0.01
    assert not np.array_equal(first, order_of(n, 1, 0))


def poisson_up_to_5() -> np.ndarray:
    return np.append(stats.poisson.pmf(np.arange(5), 1), stats.poisson.sf(4, 1))
