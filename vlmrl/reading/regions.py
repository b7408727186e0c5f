r"""Regions: subsets of the real line, written as intervals, unions, inequalities or set builders.

    region(r"(-\infty, 2) \cup (3, \infty)") == region("x < 2, x > 3")      -> True
    region(r"\mathbb{R} \setminus \{0\}")                                   -> two open rays
    region("(a, b)")                                                        -> None

Ends are numbers. Several inequalities of one name that can hold together all hold, else any may.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import NamedTuple

RELATION = re.compile(r"(\\le(?![a-zA-Z])|\\ge(?![a-zA-Z])|\\ne(?![a-zA-Z])|[<>=])")
FLIPPED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le", "=": "=", "\\ne": "\\ne"}
MAX_PIECES = 12

_NAME = re.compile(r"\\?[a-zA-Z](?:_\w)?(?:\([a-zA-Z]\))?")
_ABSOLUTE = re.compile(rf"\|({_NAME.pattern})\|")
_BUILDER = re.compile(r"\\?\{ ?(?:.{1,20}?)(?:\\mid|\\vert|\||:) ?(.*?)\\?\}")
_BRACKETS = re.compile(r"([\[\](]) ?([^,\[\]]+), ?([^,\[\]]+?) ?([\[\])])")


def sides(text: str) -> list[str]:
    r"""The sides of a chain of relations, with the signs between them; the `=` of `\sum_{k=1}` is none."""
    found, depth, start = [], 0, 0
    for match in re.finditer(rf"{RELATION.pattern}|\\?[{{}}]", text):
        depth += (match[0] == "{") - (match[0] == "}")
        if depth <= 0 and match[1]:
            found += [text[start : match.start()].strip(), match[1]]
            start = match.end()
    return [*found, text[start:].strip()]


class Piece(NamedTuple):
    """An interval of more than one point."""

    start: float
    end: float
    closed_start: bool
    closed_end: bool


Pieces = tuple[Piece, ...]
"""Disjoint pieces in order; single points are closed pieces of no length."""
ALL: Pieces = (Piece(-math.inf, math.inf, False, False),)


class Region(NamedTuple):
    """A subset of the real line."""

    pieces: Pieces
    name: str = ""
    """What lies in it, "" if that is not said."""


Value = Callable[[str], float | None]


def region(text: str, value: Value) -> Region | None:
    """The region a clean text describes, `value` reading its numbers; None if it describes none, or an empty one."""
    if len(text) > 300:
        return None
    builder = _BUILDER.fullmatch(text.strip())
    text = builder[1] if builder else text
    if len(sides(text)) > 1:
        return _relations(text, value)
    whole, *removed = re.split(r"\\setminus(?![a-zA-Z])|\\backslash(?![a-zA-Z])|(?<=\\mathbb\{R\}) ?-", text)
    found = _union(whole, value)
    for points in removed:
        out = _union(points, value)
        found = _intersection(found, _complement(out)) if found and out else None
    return Region(found) if found else None


def _union(text: str, value: Value) -> Pieces | None:
    pieces: list[Piece] = []
    parts = re.split(r"\\cup(?![a-zA-Z])", text)
    for part in parts[: MAX_PIECES + 1]:
        found = _part(part.strip(), value)
        if found is None:
            return None
        pieces += found
    return _merged(pieces) if len(parts) <= MAX_PIECES else None


def _part(text: str, value: Value) -> Pieces | None:
    if text.replace(" ", "") in ("\\mathbb{R}", "\\Reals"):
        return ALL
    if text.startswith(("\\{", "{")) and text.endswith("}"):
        inside = text.removeprefix("\\")[1:-1].removesuffix("\\")
        points = [value(member.strip()) for member in inside.split(",")[:MAX_PIECES]]
        return tuple(Piece(x, x, True, True) for x in points if x is not None) if None not in points else None
    match = _BRACKETS.fullmatch(text)
    start, end = (value(match[2].strip()), value(match[3].strip())) if match else (None, None)
    if match is None or start is None or end is None or start >= end:
        return None
    return (Piece(start, end, match[1] == "[", match[4] == "]"),)


def _relations(text: str, value: Value) -> Region | None:
    """The region of inequalities of one name."""
    found: list[Region] = []
    for clause in text.replace("\\mathbb{R},", "").split(",")[: MAX_PIECES + 1]:
        one = _chain(sides(clause), value)
        if one is None:
            return None
        found.append(one)
    if len({part.name for part in found}) != 1 or len(found) > MAX_PIECES:
        return None
    together = ALL
    for part in found:
        together = _intersection(together, part.pieces)
    return Region(together or _merged([piece for part in found for piece in part.pieces]), found[0].name)


def _chain(chain: list[str], value: Value) -> Region | None:
    """The region of `x < 2`, `1 < x \\le 2` or `|x| \\ge 1`."""
    signs = chain[1::2]
    if len(chain) == 3 and not _is_name(chain[0]):
        chain, signs = [chain[2], FLIPPED[signs[0]], chain[0]], [FLIPPED[signs[0]]]
    if len(chain) == 3:
        chain, signs = ["", "", *chain], ["", *signs]
    if len(chain) != 5 or not _is_name(chain[2]) or "=" in signs:
        return None
    found = ALL
    for sign, end in ((FLIPPED.get(signs[0], ""), chain[0]), (signs[1], chain[4])):
        if not sign:
            continue
        x = value(end)
        if x is None:
            return None
        found = _intersection(found, _ray(sign, x))
    absolute = _ABSOLUTE.fullmatch(chain[2])
    if absolute:
        upper = _intersection(found, (Piece(0, math.inf, True, False),))
        lower = [Piece(-p.end, -p.start, p.closed_end, p.closed_start) for p in upper]
        return Region(_merged([*lower, *upper]), absolute[1])
    return Region(found, chain[2])


def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None or _ABSOLUTE.fullmatch(text) is not None


def _ray(sign: str, x: float) -> Pieces:
    if sign == "\\ne":
        return (Piece(-math.inf, x, False, False), Piece(x, math.inf, False, False))
    if sign in (">", "\\ge"):
        return (Piece(x, math.inf, sign == "\\ge", False),)
    return (Piece(-math.inf, x, False, sign == "\\le"),)


# --- sets -------------------------------------------------------------------------------------------------


def same(mine: Region, theirs: Region, slack: float = 1e-9) -> bool:
    """Whether two regions have the same pieces, their ends within a share of them, and no different names."""
    if mine.name and theirs.name and mine.name != theirs.name:
        return False
    return len(mine.pieces) == len(theirs.pieces) and all(
        a[2:] == b[2:] and _close(a.start, b.start, slack) and _close(a.end, b.end, slack)
        for a, b in zip(mine.pieces, theirs.pieces, strict=True)
    )


def _close(a: float, b: float, slack: float) -> bool:
    return a == b or (math.isfinite(a) and math.isfinite(b) and abs(a - b) <= slack * abs(b) + 1e-9)


def _merged(pieces: list[Piece]) -> Pieces:
    """In order, touching ones joined."""
    joined: list[Piece] = []
    for piece in sorted(pieces, key=lambda piece: (piece.start, not piece.closed_start)):
        last = joined[-1] if joined else None
        touches = last and (
            piece.start < last.end or (piece.start == last.end and (piece.closed_start or last.closed_end))
        )
        if last and touches:
            end, closed = max((last.end, last.closed_end), (piece.end, piece.closed_end))
            joined[-1] = Piece(last.start, end, last.closed_start, closed)
        else:
            joined.append(piece)
    return tuple(joined)


def _intersection(mine: Pieces, theirs: Pieces) -> Pieces:
    found = []
    for a in mine:
        for b in theirs:
            start, closed_start = max((a.start, not a.closed_start), (b.start, not b.closed_start))
            end, closed_end = min((a.end, a.closed_end), (b.end, b.closed_end))
            if start < end or (start == end and not closed_start and closed_end):
                found.append(Piece(start, end, not closed_start, closed_end))
    return _merged(found)


def _complement(pieces: Pieces) -> Pieces:
    found = ALL
    for piece in pieces:
        below = Piece(-math.inf, piece.start, False, not piece.closed_start)
        above = Piece(piece.end, math.inf, not piece.closed_end, False)
        found = _intersection(found, tuple(ray for ray in (below, above) if ray.start < ray.end))
    return found
