r"""LaTeX to sympy: the expression or matrix of a clean text, if it is small enough to be evaluated.

    read(r"\frac{x+1}{2}")     -> x/2 + 1/2, unevaluated
    read("9^{9^9}")             -> None

The parser is that of math-verify. A text that is too long or too deep, that the parser itself would evaluate at
length, or whose value could have more than `MAX_MAGNITUDE` digits is not read.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sympy

MAX_LENGTH = 500
"""Longer texts are compared as strings and numbers alone."""
MAX_DEPTH = 6
MAX_MAGNITUDE = 1e5
MAX_ENTRIES = 36
"""Entries of a matrix."""

# The parser evaluates binomials at once (so they become factorials here), needs seconds for ten chained powers, drops
# the base of 204_5; numbers side by side do not make one number.
_NOT_READ = re.compile(
    r"\\text|\d{40}|\d_\{?\d|(?<![_^]\d)(?<=\d) \d|[^\x00-\x7f]|(?:\^[^^+\-*/=<>,]{0,40}){8}|matrix\} ?\^"
    # What the parser evaluates at once, unless it is small.
    r"|\\(?:max|min|gcd|lcm|operatorname)(?! ?\([-\d., ]{1,60}\))|vmatrix(?=.*[\^!])"
    r"|vmatrix(?=(?:[^&]*&){7})|(?:[^|]*\|){9}"
    # Many factorials, binomials in binomials, chained divisions and remainders, integrals of nothing or in integrals.
    r"|\\[dt]?binom|(?:[:/][^+\-=<>,]{0,40}){6}|(?:%[^%]*){4}|(?:[^!]*!){13}"
    r"|(?:\\i*o?int(?![a-z]).*){4}|\\i*o?int(?!.*(?<![a-z\\])d ?\\?[a-zA-Z](?![a-z]))"
)
_BINOMIAL = re.compile(r"\\[dt]?binom ?\{([^{}]*)\} ?\{([^{}]*)\}")
_DEGREES = re.compile(r"(\d+(?:\.\d+)?) degrees")
_NAMED = re.compile(r"\\(?:text|overrightarrow|overline) ?\{ ?([A-Z]{1,3}) ?\}")
"""Vectors and segments, which have names of several letters."""
_OPEN, _CLOSE = "([{", ")]}"


@lru_cache(maxsize=256)
def read(text: str) -> sympy.Basic | None:
    """The expression or matrix of a clean text; None if it is none, or too large to evaluate."""
    text = _BINOMIAL.sub(r"\\frac{(\1)!}{(\2)!((\1)-(\2))!}", text)
    degrees = r"(\\frac{\1 \\pi}{180})" if re.search(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])", text) else r"\1"
    text = _NAMED.sub(r"V_{\1}", _DEGREES.sub(degrees, text))
    if len(text) > MAX_LENGTH or _NOT_READ.search(text) or _depth(text) > MAX_DEPTH:
        return None
    import sympy
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy

    try:
        expression = latex2sympy(text, conversion_config=ConversionConfig(lowercase_symbols=False))
        if isinstance(expression, (sympy.MatrixBase, sympy.MatrixExpr)):
            return _small_matrix(expression)
    except Exception:  # the parser raises bare exceptions for what it cannot read
        return None
    if not isinstance(expression, sympy.Expr):
        return None
    # Terms of sums are exact numbers, which are slower.
    bound = MAX_MAGNITUDE / 50 if expression.has(*taken_apart()) else MAX_MAGNITUDE
    return expression if magnitude(expression) <= bound else None


def _depth(text: str) -> int:
    depth = deepest = 0
    for char in text:
        depth += (char in _OPEN) - (char in _CLOSE)
        deepest = max(deepest, depth)
    return deepest


def _small_matrix(expression: Any) -> sympy.Basic | None:
    """The sums and products of matrices multiplied out."""
    import sympy

    parts = [part for part in sympy.preorder_traversal(expression) if isinstance(part, sympy.MatrixBase)]
    entries = [entry for part in parts for entry in part.flat()]
    known = (sympy.MatrixBase, sympy.MatAdd, sympy.MatMul)
    if not isinstance(expression, known) or len(entries) > MAX_ENTRIES:
        return None
    if any(magnitude(entry) > MAX_MAGNITUDE for entry in entries):
        return None
    return sympy.ImmutableDenseMatrix(expression.doit())


def entries(expression: Any) -> tuple[tuple[int, int], list[Any]] | None:
    import sympy

    return (expression.shape, expression.flat()) if isinstance(expression, sympy.MatrixBase) else None


def magnitude(expression: Any, symbol: float = 1.05) -> float:
    """An upper bound on log10 of |value| + 1, of it and all its parts, given that of symbols; inf if unknown."""
    import sympy

    if isinstance(expression, sympy.Rational):
        size = max(abs(expression.p), expression.q)
        return math.log10(size + 1)
    if isinstance(expression, sympy.Symbol):
        return 0.3 if expression.name == "i" else symbol
    if expression.is_Float or isinstance(expression, sympy.NumberSymbol):
        return min(300.0, math.log10(abs(expression.evalf(3)) + 1))
    if isinstance(expression, (sympy.Sum, sympy.Product, sympy.Integral)):
        bounds = [part for limit in expression.args[1:] for part in limit.args[1:] if not part.is_infinite]
        return 1 + magnitude(expression.function, symbol) + sum(magnitude(bound, symbol) for bound in bounds)
    if isinstance(expression, (sympy.Limit, sympy.Derivative)):
        return magnitude(expression.args[0], symbol) + 1
    if not isinstance(expression, sympy.Expr) or isinstance(expression, sympy.core.function.AppliedUndef):
        return math.inf
    if not expression.args:  # nan, infinities, I
        return 0.3 if expression is sympy.I else math.inf
    inner = [magnitude(arg, symbol) for arg in expression.args]
    if isinstance(expression, sympy.Pow):
        return (inner[0] + 1) * 10 ** inner[1] if inner[1] < 6 else math.inf
    if isinstance(expression, (sympy.exp, sympy.sinh, sympy.cosh)):
        return 10 ** inner[0] if inner[0] < 6 else math.inf
    if isinstance(expression, (sympy.factorial, sympy.gamma)):
        return 10 ** (inner[0] + 1) if inner[0] < 6 else math.inf
    return sum(inner)


def taken_apart() -> tuple[type, ...]:
    import sympy

    return (sympy.Sum, sympy.Product, sympy.Integral, sympy.Limit, sympy.Derivative)
