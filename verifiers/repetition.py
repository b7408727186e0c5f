"""Repetition: does the response say the same again and again? A part with a low weight, or a veto.

    ngram    different n-grams / n-grams, of words                             (VL-Cogito, arXiv 2507.22607: n = 20)
    window   0 if some `window` characters stand in `times` places or more, that do not overlap; else 1
             (GLM-4.1V's released rewards: 50 characters, 10 times)

A response of fewer than n words repeats nothing. In scripts without spaces each character counts as a word. White
space is not looked at. VL-Cogito's penalty -(1 - unique / total) / 2 is this with weight 0.5, but for a constant. No
target.

    vlmrl check repetition
"""

from __future__ import annotations

import re
from typing import Any

from vlmrl.reading.checks import no_target, one_of
from vlmrl.verdict import Example, Verdict, bad_target, unparsed

METRICS = ("ngram", "window")

EXAMPLES = [
    Example("A square has four equal sides.", None, 1.0),
    Example("so it is so it is so it is", None, 0.375, {"n": 2}),
    Example("Wait, let me check that once more, because I am unsure. " * 10, None, 0.0, {"metric": "window"}),
    Example("Wait, let me check that once more, because I am unsure. " * 9, None, 1.0, {"metric": "window"}),
    Example(" ", None, 0.0),
    Example("A square.", "square", None),
    Example("A square.", None, None, {"n": 0}),
]

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+|[^\w\s]")
_LONGEST = 100_000
"""Characters of a response that are read, from its end, where a loop shows."""


def verify(
    response: str, target: Any = None, *, metric: str = "ngram", n: int = 20, window: int = 50, times: int = 10
) -> Verdict:
    """1 for a response that repeats nothing, down to 0. `n`: words; `window`: characters; `times`: places."""
    try:
        check_target(target, metric=metric, n=n, window=window, times=times)
    except ValueError as error:
        return bad_target(str(error))
    text = " ".join(response[-_LONGEST:].split())
    if not text:
        return unparsed("an empty response")
    if metric == "ngram":
        return Verdict(_share_of_different(_WORD.findall(text.lower()), n))
    repeated = _repeated(text, window, times)
    return Verdict(float(repeated is None), why=f"{times} times {repeated!r}" if repeated else "")


def gold(target: Any = None, **_: Any) -> str:
    """One word."""
    return "once"


def check_target(target: Any = None, *, metric: str = "ngram", n: int = 20, window: int = 50, times: int = 10) -> None:
    """ValueError for a target (there is none), an unknown metric, or a number below its least."""
    no_target(target, "repetition")
    one_of("metric", metric, METRICS)
    for name, value, least, most in (("n", n, 1, 100), ("window", window, 10, 1000), ("times", times, 2, 10**6)):
        if not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"{name} {value!r} is not a whole number from {least} to {most}")


def _share_of_different(words: list[str], n: int) -> float:
    total = len(words) - n + 1
    if total < 1:
        return 1.0
    return len(set(zip(*(words[start:] for start in range(n)), strict=False))) / total


def _repeated(text: str, window: int, times: int) -> str | None:
    """The first piece of `window` characters that stands in `times` places that do not overlap."""
    places: dict[str, tuple[int, int]] = {}
    for at in range(len(text) - window + 1):
        piece = text[at : at + window]
        count, free_from = places.get(piece, (0, 0))
        if at >= free_from:
            if count + 1 == times:
                return piece
            places[piece] = (count + 1, at + window)
    return None
