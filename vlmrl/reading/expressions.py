r"""Are two mathematical expressions the same answer? Exactly, by shape, and by value, in bounded time.

    equal(clean("x^2 + 2x + 1"), clean("(x+1)^2"))     -> True
    equal(clean(r"\{2, 1\}"), clean(r"\{1, 2\}"))      -> True
    equal(clean("(1, 2)"), clean("(2, 1)"))            -> False

Equal strings and numbers are decided first, without sympy. What is left is taken apart by its outer shape:
lists, tuples, sets, matrices, subsets of the real line (`vlmrl.reading.regions`), ratios and times, equations and
inequalities; only single expressions are compared by value (`vlmrl.reading.values`).
"""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import zip_longest
from typing import NamedTuple

from vlmrl.reading import latex, values
from vlmrl.reading.equations import answer_of, same_name
from vlmrl.reading.listings import Listing, is_matrix, listing, matrix_rows, squeezed
from vlmrl.reading.quantities import equal_quantities, quantity, without_unit
from vlmrl.reading.regions import FLIPPED, region, same, sides

MAX_MEMBERS = 20

_CLOCK = re.compile(r"(\d{1,2}):(\d{2}) ?(?:\\text ?\{)? ?(?:([ap])\.? ?m\.?)? ?\}?", re.IGNORECASE)
_RATIO = re.compile(r"\d{1,30}(?:\.\d{1,30})?(?: ?: ?\d{1,30}(?:\.\d{1,30})?){1,9}")
_NUMERIC = re.compile(r"[\d\\]|(?<![a-zA-Z])[ei](?![a-zA-Z])")
_WORDS = re.compile(r"[a-zA-Z]{3,}(?: [a-zA-Z]+)*|no", re.IGNORECASE)


class Rules(NamedTuple):
    """Conventions of a comparison."""

    tolerance: float = 1e-6
    """Relative to the true value; for decimals only."""
    percent: str = "either"
    """One of `vlmrl.reading.quantities.PERCENT`."""
    ordered: bool = False
    """Whether a bare list ("2, 3") has an order."""


def equal(said: str, true: str, rules: Rules = Rules()) -> bool:  # noqa: B008 - immutable
    """Whether two clean texts are the same answer."""
    if squeezed(said) == squeezed(true):
        return True
    mine, theirs = quantity(said), quantity(true)
    if mine and theirs:
        return equal_quantities(mine, theirs, rules.tolerance, rules.percent)
    if _WORDS.fullmatch(said) and _WORDS.fullmatch(true):
        return said.casefold() == true.casefold()
    if theirs and not _NUMERIC.search(said):
        return False  # words or names alone never equal a number
    if max(len(said), len(true)) > latex.MAX_LENGTH or not said or not true:
        return False
    return _equal_shapes(said, true, rules)


# --- shapes -----------------------------------------------------------------------------------------------


def _equal_shapes(said: str, true: str, rules: Rules) -> bool:
    if is_matrix(said) and is_matrix(true):
        rows = zip_longest(matrix_rows(said), matrix_rows(true), fillvalue=[])
        return all(_same_order(mine, theirs, rules) for mine, theirs in rows)
    colons = _equal_colons(said, true)
    if colons is not None:
        return colons
    mine_region, theirs_region = (region(text, values.constant) for text in (said, true))
    if mine_region and theirs_region:
        return same(mine_region, theirs_region, rules.tolerance if "." in said + true else 1e-9)
    if "matrix}" in said and "matrix}" in true:
        return _equal_relations(said, true, rules)
    mine, theirs = listing(said), listing(true)
    if mine.brackets or theirs.brackets or len(mine.members) > 1 or len(theirs.members) > 1:
        return _equal_members(mine, theirs, rules)
    return _equal_relations(said, true, rules)


def _equal_colons(said: str, true: str) -> bool | None:
    """Whether two times of day or two ratios are equal; None if the texts are neither."""
    clocks = _CLOCK.fullmatch(said), _CLOCK.fullmatch(true)
    if clocks[0] and clocks[1]:
        hours = {(int(clock[1]), clock[2]) for clock in clocks if clock}
        halves = {clock[3].lower() for clock in clocks if clock and clock[3]}
        return len(hours) == 1 and len(halves) < 2
    said, true = re.sub(r"^.*= ?", "", said), re.sub(r"^.*= ?", "", true)
    if not (_RATIO.fullmatch(said) and _RATIO.fullmatch(true)):
        return _equal_quotients(said, true)
    mine, theirs = ([Fraction(part.strip()) for part in text.split(":")] for text in (said, true))
    return len(mine) == len(theirs) and all(
        a * theirs[0] == b * mine[0] for a, b in zip(mine, theirs, strict=True)
    ) and any(theirs) == any(mine)  # fmt: skip


def _equal_quotients(said: str, true: str) -> bool | None:
    """Whether a ratio of two and a number are the same quotient; None if the texts are not these."""
    ratio, other = (said, true) if _RATIO.fullmatch(said) else (true, said)
    number = quantity(other)
    if not number or number.kind or not _RATIO.fullmatch(ratio) or ratio.count(":") != 1:
        return None
    above, below = (Fraction(part.strip()) for part in ratio.split(":"))
    return above == number.value * below and below != 0


def _equal_members(mine: Listing, theirs: Listing, rules: Rules) -> bool:
    """Tuples and intervals have an order, sets have none; a bare list agrees with either."""
    kinds = {mine.brackets, theirs.brackets}
    if len(kinds) == 2 and ("" not in kinds or kinds & {"(]", "[)"}):
        return False
    one_labelled = _all_labelled(mine) != _all_labelled(theirs)
    if "{}" in kinds:
        return not one_labelled and _same_members(_distinct(mine.members), _distinct(theirs.members), rules)
    if mine.brackets or theirs.brackets or rules.ordered or one_labelled:
        return _same_order(mine.members, theirs.members, rules)
    return _same_members(mine.members, theirs.members, rules)


def _all_labelled(found: Listing) -> bool:
    """Whether each member is assigned to a name of its own: such a list has an order."""
    return len(set(found.labels) - {""}) == len(found.members) > 1


def _distinct(members: list[str]) -> list[str]:
    return list({squeezed(member): member for member in members}.values())


def _same_order(said: list[str], true: list[str], rules: Rules) -> bool:
    return len(said) == len(true) <= MAX_MEMBERS and all(
        equal(mine.strip(), theirs.strip(), rules) for mine, theirs in zip(said, true, strict=True)
    )


def _same_members(said: list[str], true: list[str], rules: Rules) -> bool:
    """Whether two lists hold the same members, in any order."""
    if len(said) != len(true) or len(true) > MAX_MEMBERS:
        return False
    left = list(said)
    for member in true:
        found = next((i for i, piece in enumerate(left) if equal(piece, member, rules)), None)
        if found is None:
            return False
        left.pop(found)
    return True


# --- relations --------------------------------------------------------------------------------------------


def _equal_relations(said: str, true: str, rules: Rules) -> bool:
    """Equations and inequalities; `x = 3` and `1 + 2 = 3` answer 3, `2x = 3` does not."""
    mine, theirs = answer_of(said), answer_of(true)
    if same_name(mine.name, theirs.name) and any(
        _equal_values(a, b, rules) for a in mine.values for b in theirs.values
    ):
        return True
    chain, true_chain = sides(said), sides(true)
    if len(chain) != len(true_chain) or len(chain) == 1:
        return False
    return _same_relation(chain, true_chain) if len(chain) == 3 else _same_chain(chain, true_chain, rules)


def _same_relation(said: list[str], true: list[str]) -> bool:
    """Whether two equations or inequalities say the same: the differences of their sides are proportional."""
    factor = values.ratio(*(f"({chain[0]})-({chain[2]})" for chain in (said, true)))
    return factor is not None and true[1] == (said[1] if factor > 0 else FLIPPED[said[1]])


def _same_chain(said: list[str], true: list[str], rules: Rules) -> bool:
    """Whether two chains of inequalities have the same sides, in either direction."""
    flipped = [FLIPPED.get(side, side) for side in reversed(said)]
    return any(chain[1::2] == true[1::2] and _same_order(chain[::2], true[::2], rules) for chain in (said, flipped))


def _equal_values(said: str, true: str, rules: Rules) -> bool:
    """Single expressions, of which one may end in a unit, or both in the same one."""
    mine, my_unit = without_unit(said)
    theirs, their_unit = without_unit(true)
    if my_unit and their_unit and (my_unit.kind, my_unit.factor) != (their_unit.kind, their_unit.factor):
        return False
    if (my_unit or their_unit) and equal(mine, theirs, rules):
        return True
    return values.same_value(said, true, rules.tolerance)
