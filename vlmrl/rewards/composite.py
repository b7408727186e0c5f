"""Composite: what the responses to a sample are worth, by all verifiers of its reward together.

    score(sample, response)                                            the composite verdict of one response
    score(sample, response, {"dynamic_iou": {"threshold": 0.95}})      with parameters the run decides
    score_groups([Answered(sample, members), ...], run=workers)        whole groups, judged elsewhere

Scores are made of calls (`vlmrl.rewards.calls`), which a `CallRunner` runs. A response that could not be judged (the
target is unusable, the verifier failed or took too long) is unscored: never zero.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from vlmrl import catalog
from vlmrl.errors import UserError
from vlmrl.rewards.calls import Call, CallRunner, check_params, is_group_level, run_calls
from vlmrl.sample import RewardSpec, Sample
from vlmrl.verdict import Member, Verdict

Overrides = Mapping[str, Mapping[str, Any]]
"""Parameters that the run decides, by verifier, as a schedule's threshold. They replace those of the row."""


class Answered(NamedTuple):
    """A sample and the responses to it."""

    sample: Sample
    members: Sequence[Member]
    decided: Sequence[Mapping[str, Any]] = ()
    """Parameters that the run decides, for each spec of the sample; empty: those of the row hold."""
    replies: Mapping[tuple[int, int], str | Verdict] = MappingProxyType({})
    """What the policy answered to a verifier's question, by the index of the spec that asked and of the member; a
    `Verdict` where the question could not be put to it."""


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

    Group-level verifiers come last and receive the composite of the others. `parts` holds each verifier's score
    under its name and its sub-scores under `name/part` (a second spec of one verifier is `name#2`); answer, status
    and why are those of the heaviest spec. If one spec is unscored, so is the whole. `decided` replaces a row's
    parameters where the verifier has a parameter of that name. `on_unscored` is called for every response that a
    verifier left without a score.
    """
    verdicts: list[list[_BySpec]] = [[{} for _ in a.members] for a in answered]
    alone = [unit for a, group in zip(answered, verdicts, strict=True) for unit in _units(a, group, False)]
    _judge(alone, run, on_unscored)
    scored = [a._replace(members=_scored(a, group)) for a, group in zip(answered, verdicts, strict=True)]
    grouped = [unit for a, group in zip(scored, verdicts, strict=True) for unit in _units(a, group, True)]
    _judge(grouped, run, on_unscored)
    return [
        [_composite(a.sample.reward, by_spec) for by_spec in group] for a, group in zip(answered, verdicts, strict=True)
    ]


_BySpec = dict[int, Verdict]
"""The verdicts of one response, by the index of the spec."""


class _Unit(NamedTuple):
    """What a verifier judges at one time."""

    call: Call
    spec: int
    owners: Sequence[_BySpec]
    """Where the verdict of each member is stored."""
    failed: Sequence[Verdict | None]
    """The verdict of each member whose question could not be put to the policy; None for the others."""


def _units(answered: Answered, group: Sequence[_BySpec], group_level: bool) -> Iterator[_Unit]:
    """The units of every spec that is group-level, or of every one that is not."""
    everyone = range(len(group))
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
            yield _Unit(call, number, [group[i] for i in unit], [failed[i] for i in unit])


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


def as_judged(answered: Answered) -> tuple[RewardSpec, ...]:
    """The specs with the parameters that the run decides: responses judged by them score the same."""
    specs = enumerate(answered.sample.reward)
    return tuple(spec.model_copy(update={"params": _params(answered, number)}) for number, spec in specs)


def _params(answered: Answered, number: int) -> dict[str, Any]:
    spec = answered.sample.reward[number]
    decided = answered.decided[number] if answered.decided else {}
    known = catalog.parameters(spec.verifier) if decided else ()
    return spec.params | {name: value for name, value in decided.items() if name in known}


def _call(answered: Answered, number: int, members: Sequence[Member]) -> Call:
    spec = answered.sample.reward[number]
    params = _params(answered, number)
    # A group-level verifier finds each reply with its member.
    reply = None if is_group_level(spec.verifier) else members[0].reply
    if reply is not None and "reply" in catalog.parameters(spec.verifier):
        params["reply"] = reply
    fields = catalog.sample_fields(spec.verifier)
    row = answered.sample.model_dump(include=set(fields)) if fields else {}
    return Call(spec.verifier, tuple(members), _target(spec), row | params, answered.sample.id)


def _target(spec: RewardSpec) -> Any:
    return catalog.default_target(spec.verifier) if spec.target is None else spec.target


def _scored(answered: Answered, group: Sequence[_BySpec]) -> list[Member]:
    """The members with the composite of the verdicts so far as their score."""
    reward = answered.sample.reward
    members = []
    for member, verdicts in zip(answered.members, group, strict=True):
        others = [reward[i] for i in sorted(verdicts)]
        so_far = _composite(others, dict(enumerate(verdicts[i] for i in sorted(verdicts)))).score if others else None
        members.append(member._replace(score=so_far))
    return members


def _composite(specs: Sequence[RewardSpec], by_spec: _BySpec) -> Verdict:
    parts: dict[str, float] = {}
    verdicts = [by_spec[i] for i in range(len(specs))]
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


def check_spec(spec: RewardSpec) -> None:
    """`UserError` for an unknown verifier or parameter, or a target no response could be judged against."""
    check_params(spec.verifier, spec.params)
    try:
        catalog.load("verifiers", spec.verifier).check_target(_target(spec), **spec.params)
    except (ValueError, TypeError) as error:
        raise UserError(f"{spec.verifier}: {error}") from None


def caution(spec: RewardSpec) -> str:
    """How the parameters of a spec pay an answer that says nothing; empty where they do not."""
    judge = catalog.load("verifiers", spec.verifier)
    return f"{spec.verifier}: {line}" if hasattr(judge, "caution") and (line := judge.caution(**spec.params)) else ""


def gold_response(sample: Sample) -> str:
    """A response that should earn 1: the demonstration, else the heaviest gold, in the layout of `format`.

    Verifiers of the form alone (those without a target, as of length or language) do not count.
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
