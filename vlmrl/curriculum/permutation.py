"""A shuffled order that is never stored: which of n things stands at a place is computed when it is asked for.

    shuffled(np.arange(512), 10_000_000, seed=(0, 3))       # the first 512 of ten million; another seed, another order

A place becomes a pair of numbers below about the square root of n, and each round adds to one of them a hash of the
other: a Feistel network (Luby and Rackoff, SIAM J. Comput. 17(2), 1988) on Z_a x Z_b, as in the generalized Feistel
cipher of Black and Rogaway (Ciphers with Arbitrary Finite Domains, CT-RSA 2002). That permutes a x b >= n numbers; what
lands at n or above goes through it again until it does not (their cycle walking), which a share of at most about
1 / sqrt(n) has to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

ROUNDS = 24
"""With ideal hashes, all orders of up to 8 things are then equally likely, but for 0.004 in total variation."""


def shuffled(places_P: np.ndarray, n: int, seed: Sequence[int]) -> np.ndarray:
    """What stands at these places, from 0, of the seed's order of 0 ... n - 1; the same on every machine. Int64."""
    width = math.isqrt(n - 1) + 1
    width += width % 2  # rounds in columns and rows of odd length would be even permutations, all of them
    height = -(-n // width)
    keys = np.random.SeedSequence(seed).generate_state(ROUNDS, np.uint64)
    numbers_P = _encipher(places_P.astype(np.uint64), width, height, keys)
    while len(outside := np.flatnonzero(numbers_P >= n)):
        numbers_P[outside] = _encipher(numbers_P[outside], width, height, keys)
    return numbers_P.astype(np.int64)


def _encipher(numbers_P: np.ndarray, width: int, height: int, keys: np.ndarray) -> np.ndarray:
    """A permutation of the numbers below width x height."""
    row_P, column_P = np.divmod(numbers_P, width)
    for column_key, row_key in keys.reshape(-1, 2):
        column_P = (column_P + _hash(row_P ^ column_key)) % width
        row_P = (row_P + _hash(column_P ^ row_key)) % height
    return row_P * width + column_P


def _hash(bits_P: np.ndarray) -> np.ndarray:
    """32 bits of the finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    bits_P = (bits_P ^ (bits_P >> 30)) * np.uint64(0xBF58476D1CE4E5B9)
    bits_P = (bits_P ^ (bits_P >> 27)) * np.uint64(0x94D049BB133111EB)
    return (bits_P ^ (bits_P >> 31)) >> 32
