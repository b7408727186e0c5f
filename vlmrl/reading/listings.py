r"""Listings: the members of a clean text that is a list, tuple, set, interval, vector or matrix.

listing(r"\{1, 2\}")           -> members ["1", "2"] in "{}"
listing(r"x = 3 \pm \sqrt{2}") -> members [r"x = 3+\sqrt{2}", r"x = 3-\sqrt{2}"] in ""
listing("2x + 1")              -> one member
"""

from __future__ import annotations

import re
from typing import NamedTuple

from vlmrl.reading.quantities import quantity

_OPEN, _CLOSE = "([{", ")]}"
_MATRIX = re.compile(r"\\begin\{([pvV])matrix\}(.*)\\end\{\1matrix\}")


def squeezed(text: str) -> str:
    r"""Without spaces, but for those between digits, the marks of `\text{}`, and the backslash of braces."""
    text = re.sub(r"\\text ?\{([^{}]*)\}|\\(?=[{}])", r"\1", text)
    return re.sub(r"(?<!\d) | (?!\d)", "", text)


def is_matrix(text: str) -> bool:
    return (match := _MATRIX.fullmatch(text)) is not None and "matrix" not in match[2]


def matrix_rows(matrix: str) -> list[list[str]]:
    match = _MATRIX.fullmatch(matrix)
    assert match
    rows = re.split(r"\\\\", match[2].strip().removesuffix("\\\\").removesuffix("\\"))
    return [["kind " + match[1]] if match[1] != "p" else [], *(row.split("&") for row in rows)]


class Listing(NamedTuple):
    members: list[str]
    brackets: str
    """`()`, `[]`, `{}` or a mixture; "" for a bare list."""
    labels: list[str]
    """What the members are assigned to, "" where to nothing."""


def listing(text: str) -> Listing:
    """The members of a list, tuple, set or vector; a single expression is its own only member."""
    if quantity(text.rpartition("=")[2].strip()) and text.count("=") < 2:
        return Listing([text], "", [""])
    if is_matrix(text) and (1 in {len(matrix_rows(text)) - 1, len(matrix_rows(text)[-1])}):
        return Listing([entry.strip() for row in matrix_rows(text)[1:] for entry in row], "()", [])
    text = re.sub(
        r"^(?:\(?[\w, ]{0,20}\)?|\\[a-zA-Z]+ ?\{[^{}]{0,20}\}) ?= ?(?=[(\\{])|^[A-Z] ?(?=\([^()]*,)", "", text.strip()
    )
    if text.startswith("\\{") and text.endswith("\\}"):
        text = "{" + text[2:-2] + "}"
    brackets = _brackets(text)
    members = _split(text[1:-1] if brackets else text, ",")
    sets = _split(text, "\\cup") if not brackets else []
    if len(sets) > 1 and all(_brackets(part.strip().replace("\\{", "{").replace("\\}", "}")) == "{}" for part in sets):
        members = [member for part in sets for member in listing(part).members]
        brackets = "{}"
    members = [one for member in members for one in _both_signs(member)]
    labels = [member.partition("=")[0].strip() if member.count("=") == 1 else "" for member in members]
    return Listing(members, brackets, labels)


def _both_signs(member: str) -> list[str]:
    r"""`3 \pm x` as `3 + x` and `3 - x`."""
    if len(re.findall(r"\\(?:pm|mp)(?![a-zA-Z])", member)) != 1:
        return [member]
    return [re.sub(r"^(.*= ?)?\+", r"\1", re.sub(r" ?\\(?:pm|mp)(?![a-zA-Z]) ?", sign, member)) for sign in "+-"]


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
