"""LaTeX to sympy, of what is small enough to be evaluated."""

import pytest
import sympy

from vlmrl.reading import latex


def test_read() -> None:
    x = sympy.Symbol("x")
    expression = latex.read(r"\frac{x+1}{2}")
    assert expression is not None
    assert sympy.simplify(expression.subs(dict.fromkeys(expression.free_symbols, x)) - (x + 1) / 2) == 0
    matrix = latex.read(r"\begin{pmatrix}1&2\\3&4\end{pmatrix}")
    assert latex.entries(matrix) == ((2, 2), [1, 2, 3, 4])
    assert latex.entries(expression) is None


@pytest.mark.parametrize(
    "text", ["9^{9^{9^9}}", "x" * (latex.MAX_LENGTH + 1), r"\sqrt{" * 30 + "2" + "}" * 30, r"\frac{1}{", ""]
)
def test_what_is_not_read(text: str) -> None:
    assert latex.read(text) is None


@pytest.mark.parametrize(("expression", "least"), [(sympy.Integer(1000), 3), (sympy.Integer(10) ** 50, 50)])
def test_magnitude_is_an_upper_bound(expression: sympy.Basic, least: float) -> None:
    assert least <= latex.magnitude(expression) <= least + 1


def test_what_is_taken_apart() -> None:
    assert set(latex.taken_apart()) >= {sympy.Sum, sympy.Integral, sympy.Limit, sympy.Derivative}
