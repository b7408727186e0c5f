"""Verdict: what a verifier says of one response, and the protocol every file in verifiers/ keeps.

A verifier is a module with

    EXAMPLES: list[Example]                                  documentation, and the contract test
    verify(response: str, target, **params) -> Verdict       pure; never raises
    gold(target, **params) -> str                            a response that scores 1.0
    check_target(target, **params) -> None                   raises ValueError if no answer could be judged

`params` have defaults, so `verify(response, target)` always works; a verifier that needs no target gives it
the default None. What only some verifiers have:

    verify_group(members: Sequence[Member], target, **params) -> list[Verdict]
                                  a group-level verifier: a response is judged beside the others of its group
    question(response, target, **params) -> str | None
                                  what the policy is asked before the verdict; its answer is the param `reply`,
                                  with a group-level verifier the `reply` of the member. Runs in the trainer's
                                  process, without a deadline; what it raises leaves the response unscored
    RUNS = "thread"               waits for a server or holds a model
    RUNS = "here"                 linear in the response and below about 50 microseconds: not worth a process
                                  of its own; all others run in processes that can be killed
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, SupportsFloat

Status = Literal["ok", "unparsed", "bad_target", "error", "timeout"]
UNSCORED: tuple[Status, ...] = ("bad_target", "error", "timeout")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one response.

    `score` lies in [0, 1], or is None where the response could not be judged (`bad_target`, `error`,
    `timeout`): an unscored response is left out of every mean, it never counts as zero.
    """

    score: float | None
    status: Status = "ok"
    parts: dict[str, float] = field(default_factory=dict)
    """Named sub-scores, for the ledger; a None sub-score is left out."""
    answer: str | None = None
    """What was extracted from the response, as text."""
    why: str = ""
    """One line for a person who looks at the report."""

    def __post_init__(self) -> None:
        assert (self.score is None) == (self.status in UNSCORED), f"{self.status} with score {self.score}"
        assert self.score is None or 0.0 <= self.score <= 1.0, f"score {self.score} is outside [0, 1]"


def unparsed(why: str, parts: Iterable[str] = ()) -> Verdict:
    """The response holds no answer of the expected form: scores 0, in the named parts too."""
    return Verdict(0.0, "unparsed", dict.fromkeys(parts, 0.0), why=why)


def bad_target(why: str) -> Verdict:
    """The target cannot be judged against: unscored."""
    return Verdict(None, "bad_target", why=why)


def verdict_from(value: Any) -> Verdict:
    """What a reward function returned: a number in [0, 1], a `Verdict`, or None where it cannot judge (unscored).

    `ValueError` for anything else: it is never clipped, and never read from text.
    """
    if value is None:
        return bad_target("the reward function returned None")
    if isinstance(value, Verdict):
        return value
    if not isinstance(value, SupportsFloat) or not 0.0 <= float(value) <= 1.0:
        raise ValueError(f"returned {value!r:.60}; return a number from 0 to 1, None or a Verdict")
    return Verdict(float(value))


class Example(NamedTuple):
    """One line of a verifier's documentation, and a case of its contract test."""

    response: str
    target: Any
    score: float | None
    params: dict[str, Any] = {}  # noqa: RUF012 - never written to


class Member(NamedTuple):
    """One response of a group, as a group-level verifier sees it."""

    response: str
    tokens: int | None = None
    """Its length in the policy's tokens; None where no tokenizer counted them."""
    score: float | None = None
    """The composite of the sample's other verifiers; None if there are none, or one could not judge."""
    reply: str | None = None
    """The policy's answer to the verifier's `question`."""


class Verifier(Protocol):
    """The shape of a module in verifiers/."""

    EXAMPLES: list[Example]

    def verify(self, response: str, target: Any, **params: Any) -> Verdict: ...
    def gold(self, target: Any, **params: Any) -> str: ...
    def check_target(self, target: Any, **params: Any) -> None: ...
