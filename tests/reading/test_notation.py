"""One spelling for LaTeX, Unicode and plain text."""

import pytest

from vlmrl.reading.notation import clean, is_prose


@pytest.mark.parametrize(("one", "other"), [
    (r"\dfrac12", r"\frac{1}{2}"), (r"\left( x \right)", "(x)"), ("x²", "x^{2}"), ("−5", "-5"), ("≤", r"\le"),
    (r"\leq 3", "≤ 3"), ("１２", "12"), ("√2", r"\sqrt{2}"), (r"\text{odd}", "odd"), ("π", r"\pi"),
    ("2·3", r"2\cdot 3"),
])  # fmt: skip
def test_two_spellings_become_one(one: str, other: str) -> None:
    assert clean(one).replace(" ", "") == clean(other).replace(" ", "")


@pytest.mark.parametrize(("one", "other"), [("x", "y"), ("12", "21"), (r"\frac{1}{2}", r"\frac{2}{1}"), ("A", "a")])
def test_what_differs_stays_different(one: str, other: str) -> None:
    assert clean(one) != clean(other)


@pytest.mark.parametrize(("text", "prose"), [
    ("the largest n is 34", True), ("I think so", True), ("2x + 1", False), (r"25\text{ square units}", False),
    (r"\sin x + \cos x", False),
])  # fmt: skip
def test_is_prose(text: str, prose: bool) -> None:
    assert is_prose(clean(text)) == prose
