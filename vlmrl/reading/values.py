r"""Values: are two single expressions equal at fixed points? In bounded time.

    same_value("x^2 + 2x + 1", "(x+1)^2", 1e-6)             -> True
    same_value(r"\sum_{k=1}^{n} k", "n(n+1)/2", 1e-6)       -> True
    constant(r"2\sqrt{3}")                                  -> 3.46...

What `vlmrl.reading.latex` refuses to read equals nothing. Finite sums and products of up to `MAX_TERMS` terms are added
up, limits are taken by going close to them, derivatives are taken; any other sum, limit or integral equals only one of
the same parts. So nothing here stalls, and no signal, thread or process is needed for that.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from vlmrl.reading import latex

MAX_TERMS = 200

# Arbitrary positive points, in hundredths: expressions that agree on all of them are taken as equal, unless
# they differ where one symbol is negative and both are real (x and |x|). Sums need whole numbers.
_POINTS = ((71, 133, 42, 112), (190, 23, 172, 81), (33, 214, 92, 161))
_WHOLE_POINTS = ((400, 600, 500, 700), (700, 500, 900, 300), (500, 800, 600, 400))
_DIGITS = 30
_EXACT = 1e-18
_NEAR = 25
"""Limits are taken 1e-25 from their place, or at 1e25."""
Number = Any
"""A sympy number, perhaps complex."""


def same_value(said: str, true: str, tolerance: float) -> bool:
    """Whether two clean expressions, or matrices, have equal values; `tolerance` is for decimals only."""
    mine, theirs = latex.read(said), latex.read(true)
    if mine is None or theirs is None:
        return False
    slack = tolerance if "." in said + true else _EXACT
    a, b = latex.entries(mine), latex.entries(theirs)
    if a is None or b is None:
        return a is None and b is None and _agree(mine, theirs, slack)
    return a[0] == b[0] and all(_agree(x, y, slack) for x, y in zip(a[1], b[1], strict=True))


def constant(text: str) -> float | None:
    """The real value of a clean expression without names, infinities included; None if it has none."""
    infinite = {"\\infty": math.inf, "-\\infty": -math.inf}.get(text.replace(" ", ""))
    if infinite is not None:
        return infinite
    expression = latex.read(text)
    if expression is None or latex.entries(expression) or _free(expression):
        return None
    value = evaluate(expression, ())
    return float(value) if value is not None and value.is_real else None


def ratio(said: str, true: str) -> float | None:
    """The constant by which the first expression is a multiple of the second, or None; both with the same names."""
    mine, theirs = latex.read(said), latex.read(true)
    if (
        mine is None
        or theirs is None
        or latex.entries(mine)
        or latex.entries(theirs)
        or not _free(mine)
        or _free(mine) != _free(theirs)
    ):
        return None
    ratios = []
    for point in _points(mine, theirs)[:3]:
        a, b = evaluate(mine, point), evaluate(theirs, point)
        if not a or not b:
            return None
        ratios.append(complex(a / b))
    if any(abs(found - ratios[0].real) > 1e-9 * abs(ratios[0]) for found in ratios):
        return None
    return ratios[0].real


# --- values at points -------------------------------------------------------------------------------------

Point = tuple[tuple[Any, Any], ...]
"""A value for each symbol."""


def _agree(mine: Any, theirs: Any, slack: Any) -> bool:
    import sympy

    if mine.has(*latex.taken_apart()) or theirs.has(*latex.taken_apart()):
        slack = max(slack, 1e-12)  # a limit is only approached
    points = _points(mine, theirs)
    digits = _DIGITS
    whole = slack == _EXACT and not points[0] and _may_be_whole(mine) and _may_be_whole(theirs)
    if whole:  # numbers of up to 1,000 digits compare exactly
        digits += int(min(1000.0, max(latex.magnitude(mine), latex.magnitude(theirs))))
        slack = sympy.Float(10) ** (12 - digits)
    for place, point in enumerate(points):
        a, b = evaluate(mine, point, digits), evaluate(theirs, point, digits)
        if place >= len(_POINTS) and not (a is not None and b is not None and a.is_real and b.is_real):
            continue
        if a is None or b is None or not _close(a, b, slack, noise=1e-40 if point else 0.0):
            return False
    return True


def _may_be_whole(expression: Any) -> bool:
    """Not with pi in it, nor the factorial of a fraction, which takes seconds to a thousand digits."""
    import sympy

    factorials = expression.atoms(sympy.factorial)
    return not expression.has(sympy.NumberSymbol) and all(f.args[0].is_integer is not False for f in factorials)


def _close(a: Number, b: Number, slack: Any, noise: float) -> bool:
    """Whether two values agree to within a share of the second; below `noise` they are all zero."""
    import sympy

    size = max(abs(a), abs(b))
    # The value of an exact zero like sqrt(6) - sqrt(2) sqrt(3) comes without a significant digit.
    zeros = [value == 0 or abs(value) < noise or getattr(value, "_prec", 53) <= 10 for value in (a, b)]
    return all(zeros) or (not any(zeros) and bool(sympy.Abs(a - b) <= slack * size))


def _points(*expressions: Any) -> list[Point]:
    """The positive points, and those where one symbol is negative; `i` is the imaginary unit at all of them."""
    import sympy

    names = sorted({name for expression in expressions for name in _free(expression)}, key=str)
    sums = any(expression.has(sympy.Sum, sympy.Product) for expression in expressions)
    points = []
    for place, values in enumerate(_WHOLE_POINTS if sums else _POINTS):
        whole = sympy.Integer if sums else lambda value: sympy.Float(value, 2 * _DIGITS)
        point = [(name, whole(values[i % 4]) / 100 + i // 4) for i, name in enumerate(names)]
        points.insert(place, tuple(point))
        if place < 2 and not sums:
            points += [(*point[:i], (name, -value), *point[i + 1 :]) for i, (name, value) in enumerate(point[:4])]
    return [tuple((name, sympy.I if str(name) == "i" else value) for name, value in point) for point in points]


def _free(expression: Any) -> set[Any]:
    return {name for name in expression.free_symbols if str(name) != "dummy"}


@lru_cache(maxsize=1024)
def evaluate(expression: Any, point: Point, digits: int = _DIGITS) -> Number | None:
    """The value at a point, to so many digits; None if there is none."""
    try:
        value = _with_parts_evaluated(expression, point, MAX_TERMS).subs(point).evalf(digits)
        real, imaginary = value.as_real_imag()
    except (TypeError, ValueError, ArithmeticError, RecursionError, AttributeError):
        return None
    if not (real.is_Float or real.is_Rational) or not (imaginary.is_Float or imaginary.is_Rational):
        return None
    if not (real.is_finite and imaginary.is_finite):
        return None
    return real if abs(imaginary) <= abs(real) * 1e-25 else value


def _with_parts_evaluated(expression: Any, point: Point, terms: int) -> Any:
    """The expression with the values of its sums, products, limits and derivatives in their places."""
    import sympy

    if not expression.has(*latex.taken_apart()):
        return expression
    if isinstance(expression, sympy.Derivative):
        order = expression.derivative_count
        return _with_parts_evaluated(expression.doit(), point, terms) if order <= 3 else sympy.nan
    if isinstance(expression, sympy.Limit):
        return _limit(expression, point)
    if isinstance(expression, (sympy.Sum, sympy.Product, sympy.Integral)):
        return _sum(expression, point, terms)
    return expression.func(*[_with_parts_evaluated(arg, point, terms) for arg in expression.args])


def _sum(expression: Any, point: Point, terms: int) -> Any:
    import sympy

    name, *bounds = expression.limits[-1]
    body = (
        expression.func(expression.function, *expression.limits[:-1]) if expression.limits[1:] else expression.function
    )
    bounds = [_with_parts_evaluated(bound, point, terms).subs(point) for bound in bounds]
    inner = tuple(pair for pair in point if pair[0] != name)
    whole = len(bounds) == 2 and all(bound.is_Integer and abs(bound) <= 1000 for bound in bounds)
    if isinstance(expression, sympy.Integral) or not whole or not 0 <= bounds[1] - bounds[0] < terms:
        inside = (*inner, (name, sympy.Rational(73, 100)))
        return _same_parts_only(expression, [_with_parts_evaluated(body, inside, terms).subs(inside), *bounds])
    count = int(bounds[1] - bounds[0]) + 1
    values = [
        _with_parts_evaluated(body, (*inner, (name, bounds[0] + k)), terms // count)
        .subs((*inner, (name, bounds[0] + k)))
        .evalf(_DIGITS)
        for k in range(count)
    ]
    return sympy.Add(*values) if isinstance(expression, sympy.Sum) else sympy.Mul(*values)


def _same_parts_only(expression: Any, parts: list[Any]) -> Any:
    """A number that depends on the kind of an expression and on the values of its parts, and on nothing else."""
    import sympy

    kinds = {"Sum": 11, "Product": 13, "Integral": 17, "Limit": 7}
    mixed = sympy.sqrt(kinds[type(expression).__name__])
    for place, part in enumerate(parts):
        finite = {sympy.oo: sympy.pi**9, -sympy.oo: -(sympy.pi**7)}.get(part, part)
        mixed += finite * sympy.sqrt(19 + 2 * place)
    return mixed


def _limit(expression: Any, point: Point) -> Any:
    """The value close to the limit, from both sides the same; of what grows too fast, not even tried."""
    import sympy

    body, name, place = expression.args[:3]
    inner = tuple(pair for pair in point if pair[0] != name)
    place = place.subs(inner)
    if body.has(*latex.taken_apart()) or latex.magnitude(body, _NEAR + 1) > latex.MAX_MAGNITUDE / 50:
        return _same_parts_only(expression, [body.subs((*inner, (name, sympy.Rational(73, 100)))), place])
    near = sympy.Float(f"1e{_NEAR}", 4 * _DIGITS)
    places = [near, near * 2] if place is sympy.oo else [-near, -near * 2] if place is -sympy.oo else None
    places = places or [place + 1 / near, place - 1 / near]
    values = [body.subs((*inner, (name, x))).evalf(_DIGITS) for x in places]
    close = abs(values[0] - values[1]) <= sympy.Float("1e-15") * (1 + abs(values[0]))
    return sympy.re(values[0]).round(15) if close == True and values[0].is_real else sympy.nan  # noqa: E712
