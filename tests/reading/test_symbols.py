"""Unicode mathematics becomes LaTeX; what is not mathematics stays."""

import pytest

from vlmrl.reading.symbols import latex_symbols


@pytest.mark.parametrize(("text", "latex"), [
    ("2θ", r"2\theta"), ("λ", r"\lambda"), ("Ω", r"\Omega"), ("ϕ", r"\phi"), ("10⁻¹²", "10^{-12}"), ("x₁₂", "x_{12}"),
    ("xⁿ", "x^{n}"), ("∠A", r"\angleA"), ("3≤x", r"3\lex"), ("∅", r"\emptyset"), ("𝑥", "x"), ("½", r"\frac{1}{2}"),
    ("2⋅3∙4·5", r"2\cdot3\cdot4\cdot5"), ("3⁄4", "3/4"), ("⌊x⌋", r"\lfloorx\rfloor"), ("120º", r"120^\circ"),
    ("5 米", "5米"), ("①", "①"),
])  # fmt: skip
def test_symbols(text: str, latex: str) -> None:
    assert latex_symbols(text).replace(" ", "") == latex.replace(" ", "")
