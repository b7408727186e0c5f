"""Counting: which number an answer commits to, and what leaves several open."""

from typing import Any

import pytest

from vlmrl import catalog
from vlmrl.verdict import Verdict


def verify(response: str, target: Any, **params: Any) -> Verdict:
    return catalog.load("verifiers", "counting").verify(response, target, **params)


def score(response: str, target: Any, **params: Any) -> float | None:
    return verify(response, target, **params).score


@pytest.mark.parametrize("said", [
    "3", " 3\n", "**3**", "three", "Three.", "<answer>3</answer>", "There are 3 dogs, so 3.", "3.0",
    "Of 10 boxes, 3 are open.", "I count 1, 2, 3. So 3.", "<think>2 or 4?</think>3", "３", "There are three of them",
    "I see 3 dogs (two black, one white).", "about 3", "one, two, three: 3 dogs",
    "<think>x</think>\n<answer>\nThere are 3.\n</answer>\n",
])  # fmt: skip
def test_counts_that_are_right(said: str) -> None:
    assert score(said, 3) == 1.0


@pytest.mark.parametrize("said", [
    "2 or 3", "3 or 2", "between 0 and 3", "a correct number between 0 and 3", "2-3", "2 to 3", "at least 3",
    "3 or more", "more than 3", "1, 2, 3", "not 3", "[number]", "-3", "3.5", "13", "3rd", "<think>3",
    "maybe 2, maybe 3", "3 (or 4)", "<3", "up to 3",
])  # fmt: skip
def test_counts_that_hedge_or_err(said: str) -> None:
    assert score(said, 3) == 0.0


def test_count_tolerance_is_a_share() -> None:
    assert score("105", 100, tolerance=0.05) == 1.0
    assert score("106", 100, tolerance=0.05) == 0.0
    assert score("1", 0, tolerance=0.05) == 0.0
