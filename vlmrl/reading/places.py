r"""Places: the coordinates in an answer and what they are said to show, whatever they enclose. For boxes, points and
polygons, which read what a list of numbers means.

    read('{"car": [1, 2, 3, 4]}', BOX_KEYS, make)                    make([1, 2, 3, 4], "car", None)
    read("- **car**: [1, 2, 3, 4]\n- **dog**: [..]", BOX_KEYS, make) make([1, 2, 3, 4], "car", None), ...
    read("x = 140 and y = 50", POINT_KEYS, make)                     make([140.0, 50.0], None, None)

Read are JSON and what looks like it (single quotes, tuples, lists that are cut off), coordinates by name, bare numbers
on a line of their own, tags and calls. `commitment` says which of the places in prose are the answer.

Every function is total and linear in the length of its text.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from vlmrl.reading import answers, commitment, names, structures
from vlmrl.reading.assertion import asserted
from vlmrl.reading.markup import unfenced
from vlmrl.reading.structures import NUMBER, Extent
from vlmrl.reading.tags import plain

T = TypeVar("T")
Make = Callable[[list[Any], str | None, str | None], list[T]]
"""(list, label, key that it is under) -> what the list describes; [] where it describes nothing."""

MAX_PLACES = 1000
"""An answer is read up to this many places."""
_TAIL = 30_000
_DEEPEST = 12


class _Place(NamedTuple):
    """A value of coordinates in a text."""

    value: Any
    label: str | None
    start: int
    end: int
    aside: bool = False
    """Whether it is in parentheses with words."""


def read(
    text: str,
    keys: Sequence[str],
    make: Make[T],
    *,
    extent: Extent | None = None,
    last: bool = False,
    none_in_words: bool = False,
) -> list[T] | None:
    """What the coordinates of an answer describe, in order, repetitions once; `[]` is the answer that there is none.

    None if there is nothing to read. `keys` are the names of coordinates in an object, the preferred ones first.
    What follows "answer:" counts, if it names a place. `extent` is the largest x and y, of which per cent are a share.
    `last`: of several sentences the last counts. `none_in_words`: "No objects" is `[]` as well.
    """
    text = unfenced(text).strip()
    value = structures.whole(text)
    if value is not None:
        return _made([(value, None)], keys, make)
    answer = answers.bare(answers.Answer(text, marked=False))
    said = asserted(plain(answer.text)[-_TAIL:])
    if none_in_words and commitment.says_none(said):
        return []
    found = _found(said, extent)
    if not found and answer.cued:
        said = asserted(plain(text)[-_TAIL:])
        found = _found(said, extent)
    kept = commitment.committed(said, [(place.start, place.end) for place in found], last=last)
    return _made([(found[n].value, found[n].label) for n in kept or []], keys, make)


def _made(values: Sequence[tuple[Any, str | None]], keys: Sequence[str], make: Make[T]) -> list[T] | None:
    """What the values describe, under their labels; [] if one of them is empty, None if they describe nothing."""
    made = itertools.chain.from_iterable(_walk(value, keys, make, label) for value, label in values)
    kept = dict.fromkeys(itertools.islice(made, 10 * MAX_PLACES))
    if not kept and not any(structures.is_empty(value) for value, _ in values):
        return None
    return list(kept)[:MAX_PLACES]


# --- values -------------------------------------------------------------------------------------------------


def _walk(
    value: Any, keys: Sequence[str], make: Make[T], label: str | None, key: str | None = None, depth: int = 0
) -> Iterator[T]:
    """What the lists in a value describe: under a key, by name, in lists of any depth, under their labels."""
    if isinstance(value, str):
        value = structures.from_text(value)
    if depth > _DEEPEST or not isinstance(value, (list, dict)):
        return
    if isinstance(value, list):
        made = make(_vertices(value), label, key)
        yield from made
        for item in () if made else value:
            yield from _walk(item, keys, make, label, key, depth + 1)
        return
    own = names.key_of(value, keys)
    coords = names.coordinates(list(value.items())) if own is None else value[own]
    if coords is not None:
        yield from _walk(coords, keys, make, names.label_of(value) or label, own and own.lower(), depth + 1)
        return
    for name, item in value.items():
        inner = label if names.is_generic(name) else name
        if not isinstance(item, str) or not names.is_label(name):
            yield from _walk(item, keys, make, inner, None, depth + 1)


def _vertices(value: list[Any]) -> list[Any]:
    """A list of `{"x": ..., "y": ...}` as a list of pairs."""
    if not value or not all(isinstance(item, dict) and item.keys() == {"x", "y"} for item in value):
        return value
    return [[item["x"], item["y"]] for item in value]


# --- texts --------------------------------------------------------------------------------------------------

REF = r"(?:<ref>|<\|object_ref_start\|>)(?P<ref>[^<]{0,300})(?:</ref>|<\|object_ref_end\|>)"
_VALUE = rf"{NUMBER}(?:\s?(?:%|px))?"
_LIST = rf"{_VALUE}(?:(?:[ \t]{{0,3}}[,;][ \t]{{0,3}}|[ \t]{{1,3}}){_VALUE}){{1,4000}}"
_FINDER = re.compile(
    rf"{REF}|(?P<open>[\[({{])|{names.NAMED}"
    rf"|(?:^•?|[:=!]|\b(?:is|are|at)\b)[ \t]{{0,9}}(?P<bare>{_LIST})[ \t]{{0,9}}[.。]?(?=[ \t]{{0,9}}(?:$|[(<]))",
    re.MULTILINE | re.IGNORECASE,
)
_DIGIT = re.compile(r"(?<!\w)\d")
_SIZE = re.compile(
    r"\b(?:size|resolution|dimensions?|scale|range|width|height|scores?|confidences?)\b[^\n.;]{0,20}$", re.I
)
_SUBJECT = re.compile(
    r"\b(?:coordinates?|points?|position|location|cent(?:er|re)|box|corners|vertices|polygon|answer|it)\b[^.\n]*$", re.I
)
_JOIN = re.compile(
    r"(?:[\s,;:=()>•-]|\b(?:and|to|the|is|at|top|bottom|upper|lower|left|right|corner|[xy]\d?)\b"
    r"|[左右][上下]角?|[和到至]){0,60}",
    re.IGNORECASE,
)


def _found(text: str, extent: Extent | None) -> list[_Place]:
    """The places of a text, without those in asides where there are others."""
    found = _joined(text, _labelled(text, _scan(text, extent)))
    return [place for place in found if not place.aside] or found


def _scan(text: str, extent: Extent | None) -> Iterator[_Place | re.Match[str]]:
    """The places of a text, and the matches of `<ref>` between them."""
    at, named = 0, names.Run()
    while match := _FINDER.search(text, at):
        at = match.end()
        if named and (not match["name"] or named.ends(text[named.end : match.start()])):
            yield from _named(named)
            named = names.Run()
        if match["ref"] is not None:
            yield match
        elif match["name"]:
            named.add(match, extent)
        elif _SIZE.search(text, max(0, match.start() - 40), match.start("bare") if match["bare"] else match.start()):
            at = match.end() if match["bare"] else structures.group(text, match.start(), extent).end
        elif match["bare"]:
            if match[0][:2].lower() in ("is", "ar") and not _SUBJECT.search(
                text, max(0, match.start() - 60), match.start()
            ):
                continue
            yield _Place(structures.percents(structures.bare(match["bare"]), extent), None, match.start("bare"), at)
        else:
            start = match.start()
            group = structures.group(text, start, extent)
            at = group.end
            aside = text[start] == "(" and group.words and not text[start - 1 : start].isalnum()
            if not group.words or _DIGIT.search(text, start, at):
                yield from (_Place(value, None, start, at, aside) for value in group.values)
    if named:
        yield from _named(named)


def _named(run: names.Run) -> Iterator[_Place]:
    value = names.coordinates(run.pairs)
    if value is not None:
        yield _Place(value, None, run.start, run.end)


def _joined(text: str, found: Sequence[_Place]) -> list[_Place]:
    """The places, with neighbouring pairs as one list of pairs: `(1, 2), (3, 4)`."""
    joined: list[_Place] = []
    pairs: list[Any] | None = None
    for place in found:
        if not structures.is_pair(place.value):
            pairs = None
            joined.append(place)
            continue
        before = joined[-1] if joined else place
        if pairs and place.label in (None, before.label) and _JOIN.fullmatch(text, before.end, place.start):
            pairs.append(place.value)
            joined[-1] = before._replace(end=place.end)
        else:
            pairs = [place.value]
            joined.append(place._replace(value=pairs))
    return joined


def _labelled(text: str, found: Iterator[_Place | re.Match[str]]) -> list[_Place]:
    """The places with the labels in front of them: `<ref>car</ref>`, or `car: ` and the like."""
    places: list[_Place] = []
    labels: list[str | None] = []
    until, ref = 0, None
    for place in found:
        if isinstance(place, _Place):
            labels.append(None if ref else names.label_before(text[max(until, place.start - 80) : place.start]))
            places.append(place._replace(label=ref) if ref else place)
            until = place.end
        else:
            ref = place["ref"]
    return [place._replace(label=label) if label else place for place, label in zip(places, labels, strict=True)]
