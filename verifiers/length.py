"""Length: what the length of a response is worth, alone or beside the others of its group. A part with a low weight.

    soft_overlong   1 up to `maximum - buffer` tokens, then falling to 0 at `maximum`: 1 + the penalty of DAPO
                    (arXiv 2503.14476, eq. 13; there 20480 and 4096)
    cosine          from the first to the second value of `correct` (or `wrong`) along half a cosine, at length 0 and
                    `maximum`; beyond it 0: the reward of "Demystifying Long Chain-of-Thought" (arXiv 2502.03373),
                    scaled to [0, 1]. The defaults are those of open-r1, (r + 1) / 2.
    dynamic         VL-Cogito (arXiv 2507.22607): a correct response 1. A wrong one 1 + 2 * penalty, where penalty is
                    -(1 + cos(pi L / A)) / 4 for L < 2 A, else -1/2, and A the mean length of the correct ones. In a
                    group without any, half of that with A = `aim`, up to `aim`; 0 up to `maximum`, then -1/4.
                    Beside an accuracy of weight 1, a weight of 0.5 gives the published sum.

Correct is a response whose other verifiers give more than `correct_above`; where nothing else judges, each is. The
length is in tokens of the policy; where nobody counted them, words and punctuation marks count. No target.

    vlmrl check length
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any, NamedTuple

from vlmrl.reading import members as group
from vlmrl.reading.checks import no_target, one_of
from vlmrl.verdict import Example, Member, Verdict, bad_target, unparsed

METRICS = ("soft_overlong", "cosine", "dynamic")

EXAMPLES = [
    Example("one two three", None, 1.0),
    Example("one two three", None, 1.0, {"maximum": 5, "buffer": 2}),
    Example("one two, three", None, 0.5, {"maximum": 5, "buffer": 2}),
    Example("one, two, three", None, 0.0, {"maximum": 5, "buffer": 2}),
    Example("one two three", None, 1.0, {"metric": "dynamic"}),
    Example("", None, 0.0),
    Example("one two three", 3, None),
    Example("one two three", None, None, {"maximum": 5}),
]


class Rule(NamedTuple):
    """What a length is worth; the params of `verify`."""

    metric: str = "soft_overlong"
    maximum: int = 4096
    buffer: int = 1024
    correct: Sequence[float] = (1.0, 0.75)
    wrong: Sequence[float] = (0.0, 0.25)
    aim: int = 750
    correct_above: float = 0.5


def verify(
    response: str,
    target: Any = None,
    *,
    metric: str = "soft_overlong",
    maximum: int = 4096,
    buffer: int = 1024,
    correct: Sequence[float] = (1.0, 0.75),
    wrong: Sequence[float] = (0.0, 0.25),
    aim: int = 750,
    correct_above: float = 0.5,
) -> Verdict:
    """The verdict of a group of one. `maximum`, `buffer`, `aim`: lengths; `correct`, `wrong`: values of `cosine`."""
    return _verdicts([Member(response)], target, Rule(metric, maximum, buffer, correct, wrong, aim, correct_above))[0]


def verify_group(members: Sequence[Member], target: Any = None, **params: Any) -> list[Verdict]:
    """One verdict a member, with the parameters of `verify`.

    A response whose other verifiers could not judge it is unscored by `cosine` and `dynamic`.
    """
    return _verdicts(members, target, Rule(**params))


def gold(target: Any = None, **_: Any) -> str:
    """A response of one word (by `cosine` the least short of 1)."""
    return "short"


def check_target(target: Any = None, **params: Any) -> None:
    """ValueError for a target (there is none), an unknown metric, or lengths and values that do not fit."""
    _check(target, Rule(**params))


def _check(target: Any, rule: Rule) -> None:
    no_target(target, "length")
    one_of("metric", rule.metric, METRICS)
    maximum, buffer, aim = rule.maximum, rule.buffer, rule.aim
    if not (aim > 0 and maximum > 0 and (rule.metric != "soft_overlong" or 0 < buffer < maximum)):
        raise ValueError(
            f"maximum {maximum}, buffer {buffer}, aim {aim}: give lengths above 0, the buffer below maximum"
        )
    for name, values in (("correct", rule.correct), ("wrong", rule.wrong)):
        if len(values) != 2 or not all(0 <= value <= 1 for value in values):
            raise ValueError(f"{name} {list(values)} is not two values in [0, 1], at length 0 and at maximum")


def _verdicts(members: Sequence[Member], target: Any, rule: Rule) -> list[Verdict]:
    try:
        _check(target, rule)
    except ValueError as error:
        return [bad_target(str(error))] * len(members)
    lengths = [group.length(member) for member in members]
    rights = group.correct(members, rule.correct_above)
    aims = [length for length, right in zip(lengths, rights, strict=True) if right]
    mean_correct = fmean(aims) if aims else None
    return [_worth(length, right, mean_correct, rule) for length, right in zip(lengths, rights, strict=True)]


def _worth(length: int, right: bool | None, mean_correct: float | None, rule: Rule) -> Verdict:
    if length == 0:
        return unparsed("an empty response")
    if rule.metric == "soft_overlong":
        return _verdict((rule.maximum - length) / rule.buffer, length)
    if right is None:
        return bad_target("the other verifiers could not judge this response")
    if rule.metric == "cosine":
        return _verdict(_cosine(length, rule.maximum, rule.correct if right else rule.wrong), length)
    return _verdict(1.0 if right else 1 + 2 * _dynamic(length, mean_correct, rule), length)


def _cosine(length: int, maximum: int, values: Sequence[float]) -> float:
    if length > maximum:
        return 0.0
    first, last = values
    return last + (first - last) * (1 + math.cos(math.pi * length / maximum)) / 2


def _dynamic(length: int, mean_correct: float | None, rule: Rule) -> float:
    """The penalty of a wrong response, from -1/2 to 0."""
    if mean_correct is not None:
        return -(1 + math.cos(math.pi * length / mean_correct)) / 4 if length < 2 * mean_correct else -0.5
    if length < rule.aim:
        return -(1 + math.cos(math.pi * length / rule.aim)) / 8
    return 0.0 if length < rule.maximum else -0.25


def _verdict(score: float, length: int) -> Verdict:
    return Verdict(min(1.0, max(0.0, score)), parts={"tokens": float(length)})
