"""Verdict: the judgement of one response by a verifier, and the protocol of the files in verifiers/.

A verifier is a module with

    EXAMPLES: list[Example]                                  documentation, and the contract test
    verify(response: str, target, **params) -> Verdict       pure; never raises
    gold(target, **params) -> str                            a response that scores 1.0
    check_target(target, **params) -> None                   raises ValueError if the target is invalid

All `params` have defaults, so `verify(response, target)` always works. A verifier that needs no target has the default
`target=None`. A verifier may also have:

    verify_group(members: Sequence[Member], target, **params) -> list[Verdict]
                                  makes it a group-level verifier, which judges all responses of a group together
    question(response, target, **params) -> str | None
                                  a question to the policy before the verdict. The answer is the param `reply`, or
                                  the `reply` of the member in a group-level verifier. It runs in the trainer's
                                  process without a deadline; an exception leaves the response unscored
    shapes(response, target, **params) -> list[Shape]
                                  where target and answer lie in the image or in time; for the report, and for the
                                  check that both are read in the right coordinates. It may raise ValueError
    caution(**params) -> str      how these params pay an answer that says nothing; empty where they do not. It is said
                                  at the start of a run
    LOCAL = ("params.model", "target.*.image")
                                  parameters and fields of the target that name a file, a model or a URL; `*` is any
                                  key or place in a list. Rows that reach `vlmrl serve` may have none of them
    RUNS = "thread"               it waits for a server or holds a model, and so runs in threads of the caller's
                                  process; all others run where `vlmrl.rewards.workers` finds best
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

    `score` is in [0, 1], or None if the response could not be judged (`bad_target`, `error`, `timeout`). An unscored
    response is excluded from every mean; it never counts as zero.
    """

    score: float | None
    status: Status = "ok"
    parts: dict[str, float] = field(default_factory=dict)
    """Named sub-scores for the ledger; one without a value is omitted."""
    answer: str | None = None
    """The answer that was extracted from the response, as text."""
    why: str = ""
    """One line of explanation for the report."""

    def __post_init__(self) -> None:
        assert (self.score is None) == (self.status in UNSCORED), f"{self.status} with score {self.score}"
        assert self.score is None or 0.0 <= self.score <= 1.0, f"score {self.score} is outside [0, 1]"


def unparsed(why: str, parts: Iterable[str] = ()) -> Verdict:
    """The verdict on a response without an answer of the expected form: 0, also in the named parts."""
    return Verdict(0.0, "unparsed", dict.fromkeys(parts, 0.0), why=why)


def bad_target(why: str) -> Verdict:
    """The verdict if the target is invalid: unscored."""
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
    """One example in a verifier's documentation, and a case of its contract test."""

    response: str
    target: Any
    score: float | None
    params: dict[str, Any] = {}  # noqa: RUF012 - never written to


class Shape(NamedTuple):
    """A place in an image, or a span of time, to draw."""

    kind: str
    """`box` (x1, y1, x2, y2), `point` (x, y), `polygon` (x, y, x, y, ...) or `span` (start, end)."""
    coords: tuple[float, ...]
    """Shares of the image's width and height, or of the video's duration: 0 to 1."""
    label: str | None
    true: bool
    """Whether it is the target's, not the answer's."""


class Member(NamedTuple):
    """One response of a group, as input of a group-level verifier."""

    response: str
    tokens: int | None = None
    """Its length in tokens of the policy; None if unknown."""
    score: float | None = None
    """The composite of the sample's other verifiers; None if there are none, or if one left it unscored."""
    reply: str | None = None
    """The policy's answer to the verifier's `question`."""


class Verifier(Protocol):
    """The protocol of a module in verifiers/."""

    EXAMPLES: list[Example]

    def verify(self, response: str, target: Any, **params: Any) -> Verdict: ...
    def gold(self, target: Any, **params: Any) -> str: ...
    def check_target(self, target: Any, **params: Any) -> None: ...
