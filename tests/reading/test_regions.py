"""Subsets of the real line."""

import pytest

from vlmrl.reading.regions import region, same, sides
from vlmrl.reading.values import constant


def read(text: str):
    return region(text, constant)


@pytest.mark.parametrize(("one", "other", "equal"), [
    (r"(-\infty, 2) \cup (3, \infty)", r"(3, \infty) \cup (-\infty, 2)", True), ("(0, 1)", "[0, 1)", False),
    (r"(0, 1] \cup [1, 2)", "(0, 2)", True), (r"\mathbb{R} \setminus \{0\}", r"(-\infty, 0) \cup (0, \infty)", True),
    ("x < 2", r"(-\infty, 2)", True), (r"x \le 2", r"(-\infty, 2)", False), ("1 < x < 2", "(1, 2)", True),
    ("2 > x > 1", "1 < x < 2", True), (r"|x| \ge 1", r"(-\infty, -1] \cup [1, \infty)", True),
    (r"x \ne 3", r"(-\infty, 3) \cup (3, \infty)", True), ("x < 2", "y < 2", False), ("x < 2", "x > 2", False),
])  # fmt: skip
def test_same(one: str, other: str, equal: bool) -> None:
    mine, theirs = read(one), read(other)
    assert mine is not None
    assert theirs is not None
    assert same(mine, theirs) == equal


@pytest.mark.parametrize("text", ["(a, b)", "(2, 1)", "3", "x + 1", ""])
def test_what_is_no_region(text: str) -> None:
    assert read(text) is None


def test_sides() -> None:
    assert [side.strip() for side in sides(r"1 < x \le 2")] == ["1", "<", "x", r"\le", "2"]
    assert len(sides(r"\sum_{k=1}^{3} k = 6")) == 3
