r"""Equations: the value that a clean chain of equations answers, and what it is given to.

answer_of("x = 3")                          -> ["3"], given to "x"
answer_of(r"\frac{BD}{DC} = \frac{2}{3}")   -> [r"\frac{2}{3}"], given to the ratio
answer_of("1 + 2 = 3")                      -> ["3", "1 + 2"], given to nothing
answer_of("2x = 6")                         -> nothing: it is a relation
"""

from __future__ import annotations

import re
from typing import NamedTuple

from vlmrl.reading import values
from vlmrl.reading.listings import squeezed
from vlmrl.reading.quantities import quantity, without_unit
from vlmrl.reading.regions import sides

_VARIABLE = re.compile(
    r"\(?(?:(?!\\(?:sum|prod|int|lim|frac|sqrt|log|ln)(?![a-z]))[^0-9+\-*/^<>=])*(?:_(?:\d|\{[\w, ]*\}))?"
    r"(?:\([\w, ]*\))?\)? ?"
)
_RATIO_OF = re.compile(r"\\frac ?\{([^{}]*)\} ?\{([^{}]*)\}|([^/]*)/([^/]*)")
_MEASURED = re.compile(r"\\angle|[A-Z]{2}")
_GREEK_NAME = re.compile(
    r"\\(?:alpha|beta|gamma|delta|epsilon|theta|lambda|mu|rho|sigma|tau|phi|omega|Delta|angle|triangle)(?![a-zA-Z])"
)
_CLOSED = re.compile(r"\\(?:sum|prod|int|lim|binom)(?![a-zA-Z])|\\frac ?\{d\w*\} ?\{d\w\}")


class EquationAnswer(NamedTuple):
    """What a single expression or a chain of equations answers."""

    name: str
    """What the values are given to, "" for a calculation or a lone value."""
    values: list[str]
    """The last value, and those before it that are as much; none if the text is a relation between unknowns."""


def answer_of(text: str) -> EquationAnswer:
    r"""What a clean text answers; of `a = b = 4` it is 4 and what equals it, of `4\sqrt{3} \approx 6.93` both sides."""
    exact, _, rounded = text.partition("\\approx")
    chain = sides(exact.strip())
    parts = chain[::2]
    if set(chain[1::2]) - {"="}:
        return EquationAnswer("", [])
    named = [part for part in parts if _is_name(part)] if len(parts) > 1 else []
    if len(parts) > 1 and not _CLOSED.match(parts[0]) and _has_names(parts[0] + parts[-1]):
        if not named or (len(parts) > 2 and named == parts[-1:]):
            # A formula, with numbers put in, and its value.
            calculated = len(parts) > 2 and not _has_names(parts[-2] + parts[-1]) and _rounds_to(*parts[-2:])
            return EquationAnswer("", parts[:-3:-1] if calculated else [])
        parts = parts[:-1] if named == parts[-1:] else parts[parts.index(named[0]) + 1 :]
    else:
        named = []
    found = [*parts[-1:], *(part for part in parts[:-1] if _rounds_to(part, parts[-1]))]
    last = rounded.rpartition("\\approx")[2].strip()
    return EquationAnswer(named[0] if named else "", found + ([last] if last and _rounds_to(parts[-1], last) else []))


def _rounds_to(exact: str, shown: str) -> bool:
    """Whether the second of two constants is the first, as far as its decimals say."""
    mine, theirs = (_constant(without_unit(text)[0]) for text in (exact, shown))
    decimals = re.search(r"\.(\d+)", shown)
    slack = 0.5001 * 0.1 ** len(decimals[1]) if decimals else 1e-9
    return mine is not None and theirs is not None and abs(mine - theirs) <= slack


def _constant(text: str) -> float | None:
    number = quantity(text)
    if number is None:
        return values.constant(text)
    return float(number.value) if abs(number.value) < 10**300 else None


def _has_names(text: str) -> bool:
    """Whether there is a letter other than the constants e, i and pi, or an angle."""
    unnamed = re.sub(r"\\text ?\{[^{}]*\}|\\[a-zA-Z]+|(?<![a-zA-Z])[ei](?![a-zA-Z])", "", text)
    return _GREEK_NAME.search(text) is not None or re.search(r"[a-zA-Z]", unnamed) is not None


def same_name(mine: str, theirs: str) -> bool:
    """Whether two values are given to one name, or one of them to none; y is what f(x) is called, too."""
    names = {squeezed(mine), squeezed(theirs)}
    return "" in names or len(names) == 1 or ("y" in names and any(re.fullmatch(r"\w\(x\)", name) for name in names))


def _is_name(text: str) -> bool:
    """Whether values are given to a text: `x`, `y_1`, `f(x)`, `(p, q)`, an angle, a ratio or a sum of lengths."""
    if len(text) > 80:
        return False
    text = re.sub(r"(?<=\\angle) ?\d|\^ ?\{?-1\}?", "", text)
    ratio = _RATIO_OF.fullmatch(text)
    parts = [part for part in ratio.groups() if part] if ratio else re.split(r"(?<=.)[+\-]", text)
    measured = ratio or len(parts) == 1 or all(_MEASURED.search(part) for part in parts)
    return bool(measured) and all(_VARIABLE.fullmatch(part.strip()) for part in parts)
