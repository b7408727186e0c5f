"""Brevity bonus: 1 for the shortest correct response of its group, 0 for the others (Observe-R1, arXiv 2505.12432).

Correct is a response whose other verifiers give more than `correct_above`; where nothing else judges, each is. The
shortest must be longer than `least` tokens, so that thinking does not shrink to nothing: if it is not, the group has
no bonus. Equally short ones share it. A weight of 0.2 beside an accuracy of weight 1 is the published bonus.

The length is in tokens of the policy; where nobody counted them, words and punctuation marks count. No target.

    vlmrl check brevity_bonus
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vlmrl.reading import members as group
from vlmrl.reading.checks import no_target
from vlmrl.verdict import Example, Member, Verdict, bad_target

EXAMPLES = [
    Example("It has four sides, so it is a square.", None, 1.0, {"least": 5}),
    Example("A square.", None, 0.0, {"least": 5}),
    Example("A square.", None, 0.0),
    Example("A square.", None, 1.0, {"least": 0}),
    Example("A square.", "square", None),
]


def verify(response: str, target: Any = None, *, least: int = 100, correct_above: float = 0.5) -> Verdict:
    """The verdict of a group of one; see `verify_group`."""
    return verify_group([Member(response)], target, least=least, correct_above=correct_above)[0]


def verify_group(
    members: Sequence[Member], target: Any = None, *, least: int = 100, correct_above: float = 0.5
) -> list[Verdict]:
    """One verdict a member; one whose other verifiers could not judge it is unscored, and not counted."""
    try:
        check_target(target, least=least)
    except ValueError as error:
        return [bad_target(str(error))] * len(members)
    lengths = [group.length(member) for member in members]
    rights = group.correct(members, correct_above)
    shortest = min((length for length, right in zip(lengths, rights, strict=True) if right), default=0)
    return [
        bad_target("the other verifiers could not judge this response")
        if right is None
        else Verdict(float(right and length == shortest > least), parts={"tokens": float(length)})
        for length, right in zip(lengths, rights, strict=True)
    ]


def gold(target: Any = None, *, least: int = 100, **_: Any) -> str:
    """A response that is long enough."""
    return " ".join(["word"] * (least + 1))


def check_target(target: Any = None, *, least: int = 100, **_: Any) -> None:
    """ValueError for a target (there is none), or a length below 0."""
    no_target(target, "brevity_bonus")
    if not isinstance(least, int) or least < 0:
        raise ValueError(f"least {least!r} is not a length in tokens, 0 or more")
