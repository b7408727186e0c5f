"""Values of single expressions at fixed points."""

import math

import pytest

from vlmrl.reading.values import constant, ratio, same_value


@pytest.mark.parametrize(("said", "true", "same"), [
    ("x^2 + 2x + 1", "(x+1)^2", True), (r"\sum_{k=1}^{n} k", "n(n+1)/2", True), ("x", "|x|", False),
    (r"\sin^2 x + \cos^2 x", "1", True), (r"\sqrt{6}", r"\sqrt{2}\sqrt{3}", True), ("x", "y", False),
    (r"\lim_{x \to 0} \frac{\sin x}{x}", "1", True), ("0.3333", r"\frac{1}{3}", False),
    (r"\begin{pmatrix}1&2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}", False), (r"\frac{1}{", "1", False),
])  # fmt: skip
def test_same_value(said: str, true: str, same: bool) -> None:
    assert same_value(said, true, 1e-6) == same


def test_tolerance_is_for_decimals_alone() -> None:
    assert same_value("0.3333", r"\frac{1}{3}", 1e-3)
    assert not same_value(r"\frac{333}{1000}", r"\frac{1}{3}", 1e-2)


@pytest.mark.parametrize(("text", "value"), [
    (r"2\sqrt{3}", 12**0.5), (r"\infty", math.inf), (r"-\infty", -math.inf), ("2x", None), (r"\sqrt{-1}", None),
])  # fmt: skip
def test_constant(text: str, value: float | None) -> None:
    assert constant(text) == (value if value is None else pytest.approx(value))


def test_ratio() -> None:
    assert ratio("2x + 4", "x + 2") == pytest.approx(2)
    assert ratio("2x", "x + 2") is None
    assert ratio("2x", "y") is None
    assert ratio("4", "2") is None, "no names"
