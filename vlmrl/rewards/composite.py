"""Reward: what the responses to a sample are worth.

    score(sample, response)                                            the composite verdict of one response
    score(sample, response, {"dynamic_iou": {"threshold": 0.95}})      with parameters the run decides
    score_groups([Answered(sample, members), ...], run=workers)        whole groups, judged elsewhere

Scores are made of *calls*: one verifier, one target, one response (of a group-level verifier: the group). A
`CallRunner` runs them: `run_calls` in this process, `workers.Workers` in processes that can be killed,
`remote.Remote` on servers. A response that could not be judged (the target is unusable, the verifier failed or
took too long) is unscored: never zero.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from vlmrl import catalog
from vlmrl.catalog import parameters
from vlmrl.errors import UserError, nearest
from vlmrl.sample import RewardSpec, Sample
from vlmrl.verdict import Member, Verdict

Overrides = Mapping[str, Mapping[str, Any]]
"""Parameters that the run decides, by verifier, as a schedule's threshold. They replace those of the row."""


class Call(NamedTuple):
    """One question to a verifier."""

    verifier: str
    members: tuple[Member, ...]
    """One response; all responses of the group where the verifier is a group-level one."""
    target: Any
    params: Mapping[str, Any]
    id: str = ""
    """Of the sample or row."""


CallRunner = Callable[[Sequence[Call]], list[list[Verdict]]]
"""Runs calls; gives, in their order, a verdict for each of their members. Never raises for what a call holds."""


class Answered(NamedTuple):
    """A sample and the responses to it."""

    sample: Sample
    members: Sequence[Member]
    decided: Sequence[Mapping[str, Any]] = ()
    """Parameters that the run decides, for each spec of the sample; empty: those of the row hold."""
    replies: Mapping[tuple[int, int], str | Verdict] = MappingProxyType({})
    """What the policy answered to a verifier's question, by the index of the spec that asked and of the member; a
    `Verdict` where the question could not be put to it."""


def run_call(call: Call) -> list[Verdict]:
    """The verdicts of one call, in this process; an exception inside the verifier becomes the status `error`."""
    module = catalog.load("verifiers", call.verifier)
    try:
        if is_group_level(call.verifier):
            verdicts = module.verify_group(call.members, call.target, **call.params)
        else:
            verdicts = [module.verify(call.members[0].response, call.target, **call.params)]
        if len(verdicts) != len(call.members) or not all(isinstance(v, Verdict) for v in verdicts):
            raise TypeError(f"returned {verdicts!r:.80}, not a Verdict for each response")
        return verdicts
    except Exception as error:
        return [failure(call.verifier, error)] * len(call.members)


def failure(what: str, error: Exception) -> Verdict:
    """Of a response that could not be judged: what failed, and the exception."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return Verdict(None, "error", why=f"{what} failed: {reason[:200]}")


def run_calls(calls: Sequence[Call]) -> list[list[Verdict]]:
    """The `CallRunner` without isolation: an answer that hangs a verifier hangs the caller."""
    return [run_call(call) for call in calls]


def is_group_level(verifier: str) -> bool:
    """Whether the verifier judges a response beside the others of its group."""
    return hasattr(catalog.load("verifiers", verifier), "verify_group")


def score(sample: Sample, response: str, overrides: Overrides = MappingProxyType({})) -> Verdict:
    """The composite verdict of one response, judged in this process; see `score_groups`."""
    decided = [overrides.get(spec.verifier, {}) for spec in sample.reward]
    return score_groups([Answered(sample, [Member(response)], decided)])[0][0]


def score_groups(
    answered: Sequence[Answered],
    run: CallRunner = run_calls,
    on_unscored: Callable[[Call, Verdict], None] = lambda call, verdict: None,
) -> list[list[Verdict]]:
    """The composite verdict of every response, group by group:

        sum(weight * score) / sum(weight) over the specs that combine by `mean`, as V-Triune combines accuracy
        and format, times the scores of those that combine by `product`

    Group-level verifiers come last and are told the composite of the others. `parts` holds each verifier's score
    under its name and its sub-scores under `name/part` (a second spec of one verifier is `name#2`); answer, status
    and why are those of the heaviest spec. If one spec is unscored, so is the whole. `decided` replaces a row's
    parameters where the verifier has a parameter of that name. `on_unscored` is told of every response that a
    verifier left without a score.
    """
    verdicts: list[list[_Found]] = [[{} for _ in a.members] for a in answered]
    alone = [unit for a, found in zip(answered, verdicts, strict=True) for unit in _units(a, found, False)]
    _judge(alone, run, on_unscored)
    told = [a._replace(members=_told(a, found)) for a, found in zip(answered, verdicts, strict=True)]
    grouped = [unit for a, found in zip(told, verdicts, strict=True) for unit in _units(a, found, True)]
    _judge(grouped, run, on_unscored)
    return [
        [_composite(a.sample.reward, found) for found in group] for a, group in zip(answered, verdicts, strict=True)
    ]


_Found = dict[int, Verdict]
"""Verdicts of one response by the index of the spec."""


class _Unit(NamedTuple):
    """What a verifier judges at one time."""

    call: Call
    spec: int
    owners: Sequence[_Found]
    """Where the verdict of each member belongs."""
    failed: Sequence[Verdict | None]
    """Of each member whose question could not be put to the policy, the verdict."""


def _units(answered: Answered, found: Sequence[_Found], group_level: bool) -> Iterator[_Unit]:
    """For every spec that is group-level, or every one that is not."""
    everyone = range(len(found))
    for number, spec in enumerate(answered.sample.reward):
        if is_group_level(spec.verifier) != group_level or not everyone:
            continue
        replies = [answered.replies.get((number, i)) for i in everyone]
        failed = [reply if isinstance(reply, Verdict) else None for reply in replies]
        members = [
            member._replace(reply=reply) if isinstance(reply, str) else member
            for member, reply in zip(answered.members, replies, strict=True)
        ]
        for unit in [everyone] if group_level else [[i] for i in everyone]:
            call = _call(answered, number, [members[i] for i in unit])
            yield _Unit(call, number, [found[i] for i in unit], [failed[i] for i in unit])


def _judge(units: Sequence[_Unit], run: CallRunner, on_unscored: Callable[[Call, Verdict], None]) -> None:
    """Gives every owner its verdict, all units in one go; one whose every question failed is not run."""
    asked = [unit for unit in units if None in unit.failed]
    judged = run([unit.call for unit in asked]) if asked else []
    for unit, verdicts in zip(asked, judged, strict=True):
        for owner, verdict in zip(unit.owners, verdicts, strict=True):
            owner[unit.spec] = verdict
    for unit in units:
        for owner, failed in zip(unit.owners, unit.failed, strict=True):
            if failed is not None:
                owner[unit.spec] = failed
            if owner[unit.spec].score is None:
                on_unscored(unit.call, owner[unit.spec])


def _call(answered: Answered, number: int, members: Sequence[Member]) -> Call:
    spec = answered.sample.reward[number]
    decided = dict(answered.decided[number]) if answered.decided else {}
    # A group-level verifier finds each reply with its member.
    if members[0].reply is not None and not is_group_level(spec.verifier):
        decided["reply"] = members[0].reply
    known = parameters(spec.verifier) if decided else ()
    applicable = {name: value for name, value in decided.items() if name in known}
    fields = catalog.sample_fields(spec.verifier)
    row = answered.sample.model_dump(include=set(fields)) if fields else {}
    return Call(spec.verifier, tuple(members), _target(spec), row | spec.params | applicable, answered.sample.id)


def _target(spec: RewardSpec) -> Any:
    return catalog.default_target(spec.verifier) if spec.target is None else spec.target


def _told(answered: Answered, found: Sequence[_Found]) -> list[Member]:
    """The members with the composite of the verdicts there are."""
    reward = answered.sample.reward
    members = []
    for member, verdicts in zip(answered.members, found, strict=True):
        others = [reward[i] for i in sorted(verdicts)]
        so_far = _composite(others, dict(enumerate(verdicts[i] for i in sorted(verdicts)))).score if others else None
        members.append(member._replace(score=so_far))
    return members


def _composite(specs: Sequence[RewardSpec], found: _Found) -> Verdict:
    parts: dict[str, float] = {}
    verdicts = [found[i] for i in range(len(specs))]
    for name, verdict in zip(_part_names(specs), verdicts, strict=True):
        if verdict.score is not None:
            parts[name] = verdict.score
        parts |= {f"{name}/{part}": value for part, value in verdict.parts.items()}
    scores = [verdict.score for verdict in verdicts if verdict.score is not None]
    if len(scores) < len(verdicts):
        failed = next(verdict for verdict in verdicts if verdict.score is None)
        return Verdict(None, failed.status, parts, failed.answer, failed.why)
    terms = [(spec.weight, s) for spec, s in zip(specs, scores, strict=True) if spec.combine == "mean"]
    mean = sum(w * s for w, s in terms) / sum(w for w, _ in terms) if terms else 1.0
    factors = (s for spec, s in zip(specs, scores, strict=True) if spec.combine == "product")
    weights = [spec.weight for spec in specs]
    heaviest = verdicts[weights.index(max(weights))]
    return Verdict(mean * math.prod(factors), heaviest.status, parts, heaviest.answer, heaviest.why)


def _part_names(specs: Sequence[RewardSpec]) -> Iterator[str]:
    seen: Counter[str] = Counter()
    for spec in specs:
        seen[spec.verifier] += 1
        count = seen[spec.verifier]
        yield spec.verifier if count == 1 else f"{spec.verifier}#{count}"


def check_params(verifier: str, params: Iterable[str]) -> None:
    """`UserError` for a parameter that the verifier does not have, or for an unknown verifier."""
    known = parameters(verifier)
    for name in params:
        if name not in known and not catalog.takes_any(verifier):
            raise UserError(f"params.{name}: unknown parameter of {verifier}{nearest(name, known)}")


def check_spec(spec: RewardSpec) -> None:
    """`UserError` for an unknown verifier or parameter, or a target no response could be judged against."""
    check_params(spec.verifier, spec.params)
    try:
        catalog.load("verifiers", spec.verifier).check_target(_target(spec), **spec.params)
    except (ValueError, TypeError) as error:
        raise UserError(f"{spec.verifier}: {error}") from None


def gold_response(sample: Sample) -> str:
    """A response that should earn 1: the demonstration, else the heaviest gold, in the layout of `format`.

    What judges the form of an answer (no target: its length, its language) has no say in it.
    """
    if sample.demonstration is not None:
        return sample.demonstration
    answers = [spec for spec in sample.reward if catalog.needs_target(spec.verifier)]
    heaviest = max(answers or sample.reward, key=lambda spec: spec.weight)
    gold = catalog.load("verifiers", heaviest.verifier).gold(_target(heaviest), **heaviest.params)
    layout = next((_target(spec) for spec in sample.reward if spec.verifier == "format"), None)
    if layout is None or not answers:
        return gold
    return catalog.load("verifiers", "format").wrap(gold, layout)
