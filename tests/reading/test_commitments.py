"""The amount that a text commits to. More of it: tests/verifiers/test_counting.py and test_numeric.py."""

from fractions import Fraction

import pytest

from vlmrl.reading.amounts import plain
from vlmrl.reading.commitments import committed


@pytest.mark.parametrize(("text", "value", "unit"), [
    (r"so it is $1.5 \times 10^{3}$ cm", 1500, ("cm",)), ("2.5 million", 2_500_000, ()),
    ("1 1/2 cups", Fraction(3, 2),
     ("cup",)), ("three quarters", Fraction(3, 4), ()), ("it costs $5", 5, ("$",)), ("I count 3, so 4.", 4, ()),
    ("−7", -7, ()), ("½", Fraction(1, 2), ()), ("12, since 13 is not divisible by 3", 12, ()), ("3, not 4", 3, ()),
    ("12 dogs because 3 of 4 rows are full", 12, ("dog", "because")),
    ("2, because 3 - 1 = 2, so 5 in all", 5, ("in", "all")),
])  # fmt: skip
def test_committed(text: str, value: Fraction, unit: tuple[str, ...]) -> None:
    amount = committed(plain(text))
    assert amount is not None
    assert (amount.value, amount.unit) == (value, unit)


def test_after_a_cue_the_first_number_counts() -> None:
    first, last = committed("3, of 10", cued=True), committed("3, of 10")
    assert first
    assert last
    assert (first.value, last.value) == (3, 10)


@pytest.mark.parametrize(
    "text", ["3 or 4", "3-5", "between 3 and 5", "at least 3", "3 * 4", "not 3", "none", "1, 2, 3"]
)
def test_what_is_left_open(text: str) -> None:
    assert committed(plain(text)) is None


def test_a_total_is_the_sum_of_all_that_follow_it() -> None:
    total = committed(plain("5 people. Two are sitting and three standing."))
    assert total
    assert total.value == 5
    other = committed(plain("5 people. Two are sitting and two standing."))
    assert other
    assert other.value == 2


def test_an_approximation_is_not_exact() -> None:
    assert committed(plain("about 3"))
    assert committed(plain("about 3"), exact=True) is None


@pytest.mark.parametrize(
    "piece",
    ["1 ", "one ", "3: ", "1. x\n", "three of them ", "wait 1 ", "about ", "3?", "一", "三到", "1,", "2 of ", "1 x\n"],
)
def test_a_hostile_text_is_read_in_linear_time(piece: str) -> None:
    """Quadratic time would be minutes."""
    text = piece * (100_000 // len(piece))
    committed(plain(text))
    committed(plain(text + "3"), cued=True)


def test_digits_of_other_scripts_are_no_number() -> None:
    assert committed("٣") is None
    assert committed("3") is not None
