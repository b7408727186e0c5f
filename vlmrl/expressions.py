r"""Are two mathematical expressions equal? Exactly, by shape, and by value, in bounded time.

    equal(clean("x^2 + 2x + 1"), clean("(x+1)^2"))     -> True
    equal(clean(r"\{2, 1\}"), clean(r"\{1, 2\}"))      -> True
    equal(clean("(1, 2)"), clean("(2, 1)"))            -> False

Equal strings and numbers are decided first, without sympy. What is left is taken apart by its outer shape
(lists, tuples, sets, intervals, unions, matrices, equations, inequalities), and only single expressions
reach the LaTeX parser of math-verify, to be compared by value at fixed points. An expression that is too
long or too deep, or whose value could have more than `MAX_MAGNITUDE` digits (`9^{9^9}`), is not evaluated:
it equals nothing but itself. So nothing here stalls, and no signal, thread or process is needed for that.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from itertools import zip_longest
from typing import TYPE_CHECKING

from vlmrl.notation import equal_quantities, quantity

if TYPE_CHECKING:
    import sympy

MAX_LENGTH = 500
"""Longer texts are compared as strings and numbers alone."""
MAX_MEMBERS = 20
MAX_DEPTH = 6
MAX_MAGNITUDE = 1e5

_OPEN, _CLOSE = "([{", ")]}"
_RELATION = re.compile(r"(\\le(?![a-zA-Z])|\\ge(?![a-zA-Z])|[<>=])")
_FLIPPED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le", "=": "="}
_VARIABLE = re.compile(r"\(?[^0-9+\-*/^<>=]*(?:_(?:\d|\{[\w, ]*\}))?(?:\([\w, ]*\))?\)? ?")
_MATRIX = re.compile(r"\\begin\{pmatrix\}(.*)\\end\{pmatrix\}")


def equal(said: str, true: str, tolerance: float = 1e-6) -> bool:
    """Whether two clean texts are the same answer; `tolerance` is relative and for decimals only."""
    if _squeezed(said) == _squeezed(true):
        return True
    mine, theirs = quantity(said), quantity(true)
    if mine and theirs:
        return equal_quantities(mine, theirs, tolerance)
    if theirs and not re.search(r"[\d\\]", said):
        return False  # mere words or names are no number
    if max(len(said), len(true)) > MAX_LENGTH or not said or not true:
        return False
    return _equal_shapes(said, true, tolerance)


def _squeezed(text: str) -> str:
    r"""Without spaces, the marks of `\text{}`, and the backslash of braces."""
    return re.sub(r"\\text\{([^{}]*)\}| |\\(?=[{}])", r"\1", text).replace(" ", "")


# --- shapes -----------------------------------------------------------------------------------------------


def _equal_shapes(said: str, true: str, tolerance: float) -> bool:
    if _MATRIX.fullmatch(said) and _MATRIX.fullmatch(true) and said.count("pmatrix") == true.count("pmatrix") == 2:
        rows = zip_longest(_rows(said), _rows(true), fillvalue=[])
        return all(_same_order(mine, theirs, tolerance) for mine, theirs in rows)
    for separator in (",", "\\cup"):
        mine, theirs = _split(said, separator), _split(true, separator)
        if len(mine) > 1 or len(theirs) > 1:
            if separator == "," and len(mine) != len(theirs):
                # A bare list may be answered in brackets, and the other way round.
                mine, theirs = _members(said), _members(true)
            return _same_members(mine, theirs, tolerance)
    said, true = _as_interval(said), _as_interval(true)
    mine_in, theirs_in = _brackets(said), _brackets(true)
    if mine_in and theirs_in:
        compare = _same_members if mine_in == "{}" else _same_order
        return mine_in == theirs_in and compare(_members(said), _members(true), tolerance)
    return _equal_relations(said, true, tolerance)


def _rows(matrix: str) -> list[list[str]]:
    match = _MATRIX.fullmatch(matrix)
    assert match
    return [row.split("&") for row in match[1].strip(" \\").split("\\\\")]


def _as_interval(text: str) -> str:
    r"""`a < x \le b` as `(a, b]`, and `\{...\}` as `{...}`; all else as it is."""
    sides = _RELATION.split(text)
    if len(sides) == 5 and {sides[1], sides[3]} <= {"<", "\\le"} and _is_variable(sides[2]):
        start, end = "(" if sides[1] == "<" else "[", ")" if sides[3] == "<" else "]"
        return f"{start}{sides[0].strip()}, {sides[4].strip()}{end}"
    return "{" + text[2:-2] + "}" if text.startswith("\\{") and text.endswith("\\}") else text


def _is_variable(text: str) -> bool:
    """Whether a text is a name that values are given to: `x`, `y_1`, `f(x)`, `(p, q)`, an angle."""
    return len(text) <= 40 and _VARIABLE.fullmatch(text) is not None


def _brackets(text: str) -> str:
    """The brackets around the whole text if they make it a tuple, an interval or a set, else ""."""
    if len(text) < 2 or text[0] not in _OPEN or text[-1] not in _CLOSE:
        return ""
    depth = 0
    for place, char in enumerate(text):
        depth += (char in _OPEN) - (char in _CLOSE)
        if depth == 0 and place < len(text) - 1:
            return ""
    kind = text[0] + text[-1]
    return kind if kind == "{}" or len(_split(text[1:-1], ",")) > 1 else ""


def _members(text: str) -> list[str]:
    return _split(text[1:-1] if _brackets(text) else text, ",")


def _split(text: str, separator: str) -> list[str]:
    """The pieces between the separators that stand in no bracket."""
    pieces, depth, start, place = [], 0, 0, 0
    while place < len(text):
        depth += (text[place] in _OPEN) - (text[place] in _CLOSE)
        if depth == 0 and text.startswith(separator, place):
            pieces.append(text[start:place])
            start = place = place + len(separator)
        else:
            place += 1
    return [stripped for piece in (*pieces, text[start:]) if (stripped := piece.strip())]


def _same_order(said: list[str], true: list[str], tolerance: float) -> bool:
    return len(said) == len(true) and all(
        equal(mine.strip(), theirs.strip(), tolerance) for mine, theirs in zip(said, true, strict=True)
    )


def _same_members(said: list[str], true: list[str], tolerance: float) -> bool:
    """Whether two lists hold the same members, in any order."""
    if len(said) != len(true) or len(true) > MAX_MEMBERS:
        return False
    left = list(said)
    for member in true:
        found = next((i for i, piece in enumerate(left) if equal(piece, member, tolerance)), None)
        if found is None:
            return False
        left.pop(found)
    return True


# --- relations --------------------------------------------------------------------------------------------


def _equal_relations(said: str, true: str, tolerance: float) -> bool:
    """Equations and inequalities; `x = 3` and `1 + 2 = 3` are worth 3, `2x = 3` is not."""
    mine, theirs = [side.strip() for side in _RELATION.split(said)], [side.strip() for side in _RELATION.split(true)]
    signs, true_signs = mine[1::2], theirs[1::2]
    if not signs and not true_signs:
        return _equal_values(said, true, tolerance)
    if true_signs and set(true_signs) == {"="} and (not signs or _same_variable(mine, theirs)):
        value = _given_value(theirs)
        return value is not None and equal(mine[-1], value, tolerance)
    if signs and set(signs) == {"="} and not true_signs:
        return _yields_a_value(mine[0]) and equal(mine[-1], true, tolerance)
    return len(signs) == len(true_signs) == 1 and _same_relation(mine, theirs)


def _same_variable(said: list[str], true: list[str]) -> bool:
    return set(said[1::2]) == {"="} and _squeezed(said[0]) == _squeezed(true[0]) and _is_variable(true[0])


def _given_value(sides: list[str]) -> str | None:
    """The value that an equation, or the end of a chain of them, gives to a variable."""
    if any(map(_is_variable, sides[:-1:2])):
        return sides[-1]
    return sides[0] if len(sides) == 3 and _is_variable(sides[-1]) else None


def _yields_a_value(left: str) -> bool:
    """Whether an equation with this left side states a value: of a name, or of an expression without names."""
    return _is_variable(left) or not re.search(r"[a-zA-Z]", re.sub(r"\\[a-zA-Z]+", "", left))


def _same_relation(said: list[str], true: list[str]) -> bool:
    """Whether two equations or inequalities say the same: the differences of their sides are proportional."""
    mine, theirs = (_read(f"({sides[0]})-({sides[2]})") for sides in (said, true))
    if mine is None or theirs is None or mine.free_symbols != theirs.free_symbols:
        return False
    ratios = []
    for point in _POINTS:
        a, b = _value(mine, point), _value(theirs, point)
        if not a or not b:
            return False
        ratios.append(a / b)
    if any(abs(ratio - ratios[0].real) > 1e-9 * abs(ratios[0]) for ratio in ratios):
        return False
    return true[1] == (said[1] if ratios[0].real > 0 else _FLIPPED[said[1]])


# --- values -----------------------------------------------------------------------------------------------

# Arbitrary positive points: expressions that agree on all of them are taken as equal.
_POINTS = ((0.7134, 1.3271, 0.4219, 1.1173), (1.9021, 0.2313, 1.7177, 0.8087), (0.3343, 2.1391, 0.9151, 1.6067))
# The parser evaluates binomials at once, needs seconds for ten chained powers and drops the base of 204_5;
# sums and integrals can take for ever.
_NOT_READ = re.compile(r"\\(?:int|sum|prod|lim|binom|text)|\d{40}|\d_\{?\d|[^\x00-\x7f]|(?:\^[^^+\-*/=<>,]{0,40}){8}")


def _equal_values(said: str, true: str, tolerance: float) -> bool:
    mine, theirs = _read(said), _read(true)
    if mine is None or theirs is None or mine.free_symbols != theirs.free_symbols:
        return False
    slack = tolerance if "." in said + true else 1e-12
    signs = (1, -1) if ("|" in said) != ("|" in true) else (1,)
    for point in (tuple(sign * x for x in point) for sign in signs for point in _POINTS):
        a, b = _value(mine, point), _value(theirs, point)
        if a is None or b is None or abs(a - b) > slack * max(abs(b), 1e-9):
            return False
    return True


@lru_cache(maxsize=256)
def _read(text: str) -> sympy.Expr | None:
    """The expression of a clean text; None if it is none, or too large to evaluate."""
    if len(text) > MAX_LENGTH or _NOT_READ.search(text) or _depth(text) > MAX_DEPTH:
        return None
    import sympy
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy

    try:
        expression = latex2sympy(text, conversion_config=ConversionConfig(lowercase_symbols=False))
    except Exception:  # the parser raises bare exceptions for what it cannot read
        return None
    if isinstance(expression, sympy.Expr) and _magnitude(expression) <= MAX_MAGNITUDE:
        return expression
    return None


def _depth(text: str) -> int:
    depth = deepest = 0
    for char in text:
        depth += (char in _OPEN) - (char in _CLOSE)
        deepest = max(deepest, depth)
    return deepest


def _magnitude(expression: sympy.Basic) -> float:
    """An upper bound on log10 of |value|, of it and all its parts, with every symbol 10; inf if unknown."""
    import sympy

    if isinstance(expression, sympy.Number):
        if not expression.is_finite:  # nan and the infinities of 1/0
            return math.inf
        return math.log10(abs(float(expression)) + 1) if abs(expression) < 10**300 else 300.0
    if not isinstance(expression, sympy.Expr) or isinstance(expression, sympy.core.function.AppliedUndef):
        return math.inf
    inner = [_magnitude(arg) for arg in expression.args]
    if isinstance(expression, sympy.Pow):
        return (inner[0] + 1) * 10 ** inner[1] if inner[1] < 6 else math.inf
    if isinstance(expression, (sympy.factorial, sympy.gamma, sympy.exp, sympy.sinh, sympy.cosh)):
        return 10 ** (inner[0] + 1) if inner[0] < 6 else math.inf
    return sum(inner) + 1


@lru_cache(maxsize=1024)
def _value(expression: sympy.Expr, point: tuple[float, ...]) -> complex | None:
    """The value at a point, its coordinates going to the symbols by name; None if there is none."""
    names = sorted(expression.free_symbols, key=str)
    values = [(name, point[i % len(point)] + i // len(point)) for i, name in enumerate(names)]
    try:
        value = complex(expression.subs(values).evalf(25))
    except (TypeError, ValueError, ArithmeticError, RecursionError, AttributeError):
        return None
    return value if math.isfinite(abs(value)) else None
