"""The amount that free text commits to. More of it: tests/verifiers/test_numeric.py."""

from fractions import Fraction

import pytest

from vlmrl.reading.amounts import committed, plain, same_unit, without_asides


@pytest.mark.parametrize(("text", "value", "unit"), [
    (r"so it is $1.5 \times 10^{3}$ cm", 1500, ("cm",)), ("2.5 million", 2_500_000, ()), ("1 1/2 cups", Fraction(3, 2),
     ("cup",)), ("three quarters", Fraction(3, 4), ()), ("it costs $5", 5, ("$",)), ("I count 3, so 4.", 4, ()),
    ("−7", -7, ()), ("½", Fraction(1, 2), ()),
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


def test_percent() -> None:
    amount = committed(plain("5 %"))
    assert amount is not None
    assert amount.percent


def test_asides() -> None:
    assert without_asides("3 dogs (two black, one white)").split() == ["3", "dogs"]
    assert without_asides("3 dogs (or 4)") == "3 dogs (or 4)"
    assert without_asides("(3)") == "(3)"


@pytest.mark.parametrize(("said", "true", "may_lack", "same"), [
    (("cm",), ("cm",), False, True), (("m",), ("cm",), True, False), ((), ("cm",), True, True),
    ((), ("cm",), False, False),
    (("apple",), (), False, True), (("because",), ("cm",), True, True), (("m", "per", "s"), ("m",), True, False),
])  # fmt: skip
def test_same_unit(said: tuple[str, ...], true: tuple[str, ...], may_lack: bool, same: bool) -> None:
    assert same_unit(said, true, may_lack) == same
