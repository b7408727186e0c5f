"""Are two expressions the same answer? Notation by notation: tests/verifiers/test_math.py."""

import pytest

from vlmrl.reading.expressions import Rules, equal
from vlmrl.reading.notation import clean


@pytest.mark.parametrize(("said", "true", "same"), [
    ("x^2 + 2x + 1", "(x+1)^2", True), (r"\{2, 1\}", r"\{1, 2\}", True), ("(1, 2)", "(2, 1)", False),
    ("x = 3", "3", True), ("2x = 3", "3", False), ("2:4", "1:2", True),
    ("1:00 pm", "1:00 am", False), ("1:00", "12:00", False),
    ("y = 2x", "2y = 4x", True), ("x < 5", "5 > x", True), ("x < 5", "x > 5", False), ("5 cm", "5 m", False),
])  # fmt: skip
def test_equal(said: str, true: str, same: bool) -> None:
    assert equal(clean(said), clean(true)) == same


def test_rules() -> None:
    assert equal("2, 3", "3, 2")
    assert not equal("2, 3", "3, 2", Rules(ordered=True))
    assert not equal("3.1", "3.0")
    assert equal("3.1", "3.0", Rules(tolerance=0.05))
    five = clean(r"5\%")
    assert equal(five, "5")
    assert not equal(five, "5", Rules(percent="share"))
