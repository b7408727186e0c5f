"""Structures: JSON and what looks like it, as lists, objects, numbers and texts.

    whole("[1, 2]")                                  -> [1, 2]
    group("at (10, 20), not", 3).values              -> [[10.0, 20.0]]
    group("[{'box': [1, 2], 'label': 'it's'}, {", 0) -> values [{"box": [1.0, 2.0], "label": "it's"}]: it is cut off

Every function is total and linear in the length of its text.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

Extent = tuple[float, float]

# One way to read any digits, so that no failed match tries them twice.
NUMBER = r"(?:(?<![\w.])[+-])?(?<![\w.])(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?"
_MAX_COORDINATE = 1e7
_DECODER = json.JSONDecoder()
_TOKEN = re.compile(
    r"(?P<open>[\[({])|(?P<close>[\])}])"
    r"|(?:(?P<quote>[\"'])(?P<quoted>.{0,300}?)(?P=quote)(?=\s{0,9}(?:[:=,}\])]|$))"
    rf"|(?P<word>[^\W\d][\w-]{{0,60}}(?: [^\W\d][\w-]{{0,60}}){{0,5}}))(?P<key>\s{{0,9}}[:=])?"
    rf"|(?P<number>{NUMBER})(?P<percent>\s?%|\s?px\b)?|(?P<space>[\s,;]+)|.",
    re.DOTALL,
)
_BARE = re.compile(rf"({NUMBER})(\s?%)?")
_BARE_LIST = re.compile(rf"\s*{NUMBER}(?:\s?%)?(?:[\s,;]{{1,9}}{NUMBER}(?:\s?%)?){{1,4000}}\s*")


class Group(NamedTuple):
    """What a bracket opens: its value, or the complete values in it where it is cut off."""

    values: list[Any]
    end: int
    words: bool
    """Whether there are words that are neither names nor texts in quotes."""


class _Open:
    """A bracket that is not closed yet."""

    __slots__ = ("items", "key", "pairs", "words")

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.pairs: dict[str, Any] = {}
        self.key: str | None = None
        self.words = False

    def add(self, value: Any) -> None:
        if self.key is None:
            self.items.append(value)
        else:
            self.pairs[self.key], self.key = value, None

    def value(self, extent: Extent | None) -> Any:
        # Arguments by name, as in click(1, 2, button="left"), say nothing of the place.
        return percents(self.items, extent) if self.items or not self.pairs else self.pairs


def whole(text: str) -> Any:
    """The list or object of JSON that is the whole text; None if it is none."""
    if text[:1] not in ("[", "{"):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def group(text: str, start: int, extent: Extent | None = None) -> Group:
    """What the bracket at `start` opens; JSON, or with tuples, bare names, any quotes and missing commas."""
    if text[start] != "(":
        try:
            value, end = _DECODER.raw_decode(text, start)
            return Group([value], end, words=False)
        except (ValueError, RecursionError):
            pass
    stack: list[_Open] = []
    for token in _TOKEN.finditer(text, start):
        if token["open"]:
            stack.append(_Open())
        elif token["close"]:
            done = stack.pop()
            if not stack:
                return Group([done.value(extent)], token.end(), done.words)
            stack[-1].add(done.value(extent))
        elif token["number"]:
            number = float(token["number"])
            stack[-1].add(f"{number}%" if (token["percent"] or "").endswith("%") else number)
        elif not token["space"]:
            _add_text(stack[-1], token)
    cut = [value for each in stack for value in (*each.items, *each.pairs.values()) if isinstance(value, (list, dict))]
    return Group(cut, len(text), stack[0].words)


def _add_text(inside: _Open, token: re.Match[str]) -> None:
    said = token["word"] if token["quoted"] is None else token["quoted"]
    if said is not None and token["key"]:
        inside.key = said
    else:
        inside.words = inside.words or token["quoted"] is None
        inside.add(token[0] if said is None else said)


def from_text(text: str) -> Any:
    """The value that a text in an object holds: brackets, or bare numbers; None if it holds neither."""
    text = text.strip()
    if text[:1] in ("[", "(", "{") and text:
        return group(text, 0).values
    return bare(text) if len(text) < 40_000 and _BARE_LIST.fullmatch(text) else None


def bare(text: str) -> list[Any]:
    """The numbers in a text, those in per cent as texts with their sign."""
    return [f"{number}%" if percent else float(number) for number, percent in _BARE.findall(text)]


def percents(items: list[Any], extent: Extent | None) -> list[Any]:
    """The list x, y, x, y, ... with what is said in per cent as its share of the largest x and y, where it is known."""
    if extent is None or not any(isinstance(item, str) and item.endswith("%") for item in items):
        return items
    shares = [number(item[:-1]) if isinstance(item, str) and item.endswith("%") else None for item in items]
    return [
        item if share is None else share * extent[n % 2] / 100
        for n, (item, share) in enumerate(zip(items, shares, strict=True))
    ]


# --- numbers ------------------------------------------------------------------------------------------------


def finite(value: Any) -> bool:
    """Whether the value is a number that can be a coordinate."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _MAX_COORDINATE


def number(value: Any) -> float | None:
    """A coordinate from a number or a string that holds one; None unless it is finite."""
    if isinstance(value, str):
        try:
            value = float(value.strip(" \"'\n\t"))
        except ValueError:
            return None
    return float(value) if finite(value) else None


def numbers(value: Any) -> list[float] | None:
    """The coordinates in a list of numbers (or numbers as strings); None if it is something else."""
    if not isinstance(value, (list, tuple)):
        return None
    found: list[float] = []
    for item in value:
        coordinate = item if type(item) is float and abs(item) <= _MAX_COORDINATE else number(item)
        if coordinate is None:
            return None
        found.append(coordinate)
    return found


def is_flat(value: Any) -> bool:
    """Whether the value is a list that holds no list or object."""
    return isinstance(value, list) and bool(value) and not any(isinstance(item, (list, dict)) for item in value)


def is_pair(value: Any) -> bool:
    """Whether the value is a list of two numbers."""
    return is_flat(value) and len(value) == 2 and numbers(value) is not None


def is_pairs(value: Any) -> bool:
    """Whether the value is a list of pairs."""
    return isinstance(value, list) and bool(value) and all(map(is_pair, value))


def is_empty(value: Any) -> bool:
    """Whether the value is a list of nothing, or an object with such a list: `[]`, `{"objects": []}`."""
    if isinstance(value, list):
        return not value or (len(value) == 1 and value[0] == [])
    lists = [item for item in value.values() if isinstance(item, (list, dict))] if isinstance(value, dict) else []
    return value == {} or (bool(lists) and not any(lists))
