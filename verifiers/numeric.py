r"""Numeric: the one number that the answer commits to, within an absolute or relative tolerance.

Read are digits and words, thousands separators, fractions (`1 1/2`, `\frac{3}{2}`, `½`, "three quarters"),
scientific notation (`1.5e3`, `1.5 \times 10^{3}`), percent, "2.5 million", "250万", "a dozen", currencies and units. In
free text the number right after "answer:" or the like counts, else one that is the sum of those that follow it ("3
dogs: one left, two right"), else the last one. An answer that keeps several numbers open ("3 or 4", "3-5", "between 0
and 10"), a bound ("at least 3", "almost 3") or a calculation ("3 * 4", "√2") is none.

Conventions: what either tolerance allows is right; units are compared, never converted; with `exact_years`
two whole numbers of 1000 to 3000 in size must be equal whatever the tolerance, as in the chart reward of
GLM-4.1V (arXiv 2507.01006; released settings: `relative` 0.025 for charts, 1e-6 for mathematics).

    vlmrl check numeric
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import lru_cache
from typing import Any

from vlmrl.reading import answers
from vlmrl.reading.amounts import Amount, plain, same_unit
from vlmrl.reading.assertion import asserted
from vlmrl.reading.checks import one_of
from vlmrl.reading.commitments import committed
from vlmrl.reading.texts import is_unmarked
from vlmrl.verdict import Example, Verdict, bad_target, unparsed

_CHART = {"relative": 0.025}

EXAMPLES = [
    Example("<think>6 * 7</think><answer>42</answer>", 42, 1.0),
    Example("It is forty-two.", 42, 1.0),
    Example(r"so $x = 1.5 \times 10^{3}$", "1,500", 1.0),
    Example(r"\boxed{\frac{1}{2}}", 0.5, 1.0),
    Example("about 2.5 million people", 2_500_000, 1.0),
    Example("101", 100, 1.0, _CHART),
    Example("2001", 2000, 0.0, _CHART),
    Example("2001", 2000, 1.0, _CHART | {"exact_years": False}),
    Example("50%", 0.5, 1.0),
    Example("50%", 50, 0.0, {"percent": "share"}),
    Example("5 m", "5 cm", 0.0),
    Example("5", "5 cm", 1.0),
    Example("5", "5 cm", 0.0, {"unit": "require"}),
    Example("41 or 42", 42, 0.0),
    Example("a number between 0 and 42", 42, 0.0),
    Example("42", "many", None),
]

# The commitment stands right after a cue, or at the end: what is further away than this is not read.
_TAIL = 2000
_LARGEST = 10**30
_NOTHING_ELSE = re.compile(r"[\s$€£¥]*\|(?:[^\W\d_]|[\s°$€£¥/*·-]|\^-?\d){0,40}\.?")


def verify(
    response: str,
    target: Any,
    *,
    relative: float = 0.0,
    absolute: float = 0.0,
    exact_years: bool = True,
    percent: str = "either",
    unit: str = "agree",
) -> Verdict:
    """1 if the committed number is near enough to `target`, else 0.

    `target`: a number, a text that is one ("12.5 cm", "30%", "1/3"), or a list of which any may be met.
    `relative`: a share of the target; `absolute`: in its unit. `percent`: 50% is 0.5 (`share`), 50
    (`ignore`), or, against a number without the sign, one of them (`either`). `unit`: a unit may be missing
    but not differ (`agree`), must be there (`require`), or is not read (`ignore`).
    """
    try:
        truths = _truths(target, relative=relative, absolute=absolute, percent=percent, unit=unit)
    except ValueError as error:
        return bad_target(str(error))
    answer = answers.extract(response)
    if answer is None:
        return unparsed("the thinking never ended")
    text = answer.text[:_TAIL] if answer.cued else answer.text[-_TAIL:]
    said = committed(plain(asserted(text)), answer.cued)
    if said is None:
        return Verdict(0.0, "unparsed", answer=text[-200:], why="the answer commits to no number")
    shown = _show(said.value) + "%" * said.percent
    for true in truths:
        near = _near(said, true, relative, absolute, exact_years, percent)
        if near and (unit == "ignore" or same_unit(said.unit, true.unit, unit == "agree")):
            return Verdict(1.0, answer=shown)
    return Verdict(0.0, answer=shown, why=f"{shown} {' '.join(said.unit[:1])} is not {target}"[:100])


def gold(target: Any, **_: Any) -> str:
    """The target, the first of several."""
    return str(target[0] if isinstance(target, list) else target)


def check_target(
    target: Any,
    *,
    relative: float = 0.0,
    absolute: float = 0.0,
    percent: str = "either",
    unit: str = "agree",
    **_: Any,
) -> None:
    """ValueError unless every target is a number with at most a unit, and the params are known."""
    _truths(target, relative=relative, absolute=absolute, percent=percent, unit=unit)


def _truths(target: Any, *, relative: float, absolute: float, percent: str, unit: str) -> list[Amount]:
    one_of("percent", percent, ("either", "share", "ignore"))
    one_of("unit", unit, ("agree", "require", "ignore"))
    for name, size in (("relative", relative), ("absolute", absolute)):
        if not isinstance(size, (int, float)) or not 0 <= size < math.inf:
            raise ValueError(f"{name} {size!r} is not a tolerance; give a number >= 0")
    items = target if isinstance(target, list) else [target]
    if not items:
        raise ValueError("target is an empty list; give the true number")
    return [_truth(item) for item in items]


def _truth(item: Any) -> Amount:
    if not isinstance(item, str) and not (type(item) in (int, float) and abs(item) < _LARGEST):
        raise ValueError(f"target of type {type(item).__name__} is not a number below 1e30; give one, or a text")
    return _read_target(str(item).strip())


@lru_cache(maxsize=4096)
def _read_target(text: str) -> Amount:
    bare = plain(text) if len(text) <= 100 else ""
    said = committed(bare)
    outside = bare[: said.start] + "|" + bare[said.end :] if said else ""
    if said is None or not _NOTHING_ELSE.fullmatch(outside) or not is_unmarked(text):
        raise ValueError(f"target {text[:60]!r} is not a number; give one, with at most a unit")
    return said


def _near(said: Amount, true: Amount, relative: float, absolute: float, exact_years: bool, percent: str) -> bool:
    a, b = (n.value / 100 if n.percent and percent == "share" else n.value for n in (said, true))
    scales = [Fraction(1)]
    if percent == "either" and said.percent != true.percent:
        scales.append(Fraction(1, 100) if said.percent else Fraction(100))
    if exact_years and all(n.value.denominator == 1 and 1000 <= abs(n.value) <= 3000 for n in (said, true)):
        return a == b
    slack = max(Fraction(str(relative)) * abs(b), Fraction(str(absolute)))
    return any(abs(a * scale - b) <= slack for scale in scales)


def _show(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 and abs(value) < _LARGEST else f"{float(value):g}"
