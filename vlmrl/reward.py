"""Reward: what a response to a sample is worth, and `vlmrl score`, the same judgement for a file of rows.

    score(sample, response)                                     the weighted mean over the sample's verifiers
    score(sample, response, {"dynamic_iou": {"threshold": 0.95}})      with parameters the run decides
    vlmrl score rows.jsonl --out scored.jsonl                   rows {id, verifier, response, target, params?}

A response that could not be judged (the target is unusable, the verifier failed) is unscored: never zero.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from types import MappingProxyType
from typing import IO, Any

from vlmrl import catalog
from vlmrl.errors import UserError, nearest
from vlmrl.rows import read_jsonl, read_rows, whole_file
from vlmrl.sample import RewardSpec, Sample
from vlmrl.verdict import Verdict

Overrides = Mapping[str, Mapping[str, Any]]
"""Parameters that the run decides, by verifier: a schedule's threshold, the size of the resized image."""


def score(sample: Sample, response: str, overrides: Overrides = MappingProxyType({})) -> Verdict:
    """The composite verdict: sum(weight * score) / sum(weight), as V-Triune combines accuracy and format.

    `parts` holds each verifier's score under its name and its sub-scores under `name/part` (a second spec of
    one verifier is `name#2`); answer, status and why are those of the heaviest spec. If one spec is unscored,
    so is the whole. `overrides` replace a row's parameters where the verifier has a parameter of that name.
    """
    verdicts = [_judge_spec(spec, response, overrides) for spec in sample.reward]
    parts: dict[str, float] = {}
    for name, verdict in zip(_part_names(sample.reward), verdicts, strict=True):
        if verdict.score is not None:
            parts[name] = verdict.score
        parts |= {f"{name}/{part}": value for part, value in verdict.parts.items()}
    scores = [verdict.score for verdict in verdicts if verdict.score is not None]
    if len(scores) < len(verdicts):
        failed = next(verdict for verdict in verdicts if verdict.score is None)
        return Verdict(None, failed.status, parts, failed.answer, failed.why)
    weights = [spec.weight for spec in sample.reward]
    heaviest = verdicts[weights.index(max(weights))]
    composite = sum(w * s for w, s in zip(weights, scores, strict=True)) / sum(weights)
    return Verdict(composite, heaviest.status, parts, heaviest.answer, heaviest.why)


def judge(verifier: str, response: str, target: Any, params: Mapping[str, Any]) -> Verdict:
    """One verifier's verdict; an exception inside it becomes the status `error`."""
    module = catalog.load("verifiers", verifier)
    try:
        return module.verify(response, target, **params)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return Verdict(None, "error", why=f"{verifier} failed: {reason[:200]}")


def _judge_spec(spec: RewardSpec, response: str, overrides: Overrides) -> Verdict:
    run_params = overrides.get(spec.verifier, {})
    known = parameters(spec.verifier) if run_params else ()
    applicable = {name: value for name, value in run_params.items() if name in known}
    return judge(spec.verifier, response, spec.target, spec.params | applicable)


def _part_names(specs: Sequence[RewardSpec]) -> Iterator[str]:
    seen: Counter[str] = Counter()
    for spec in specs:
        seen[spec.verifier] += 1
        count = seen[spec.verifier]
        yield spec.verifier if count == 1 else f"{spec.verifier}#{count}"


@cache
def parameters(verifier: str) -> tuple[str, ...]:
    """The names of a verifier's parameters, after response and target."""
    return tuple(inspect.signature(catalog.load("verifiers", verifier).verify).parameters)[2:]


def check_params(verifier: str, params: Iterable[str]) -> None:
    """`UserError` for a parameter that the verifier does not have, or for an unknown verifier."""
    known = parameters(verifier)
    for name in params:
        if name not in known:
            raise UserError(f"params.{name}: unknown parameter of {verifier}{nearest(name, known)}")


def check_spec(spec: RewardSpec) -> None:
    """`UserError` for an unknown verifier or parameter, or a target no response could be judged against."""
    check_params(spec.verifier, spec.params)
    try:
        catalog.load("verifiers", spec.verifier).check_target(spec.target, **spec.params)
    except (ValueError, TypeError) as error:
        raise UserError(f"{spec.verifier}: {error}") from None


def gold_response(sample: Sample) -> str:
    """A response that should earn 1: the demonstration, else the heaviest gold, in the layout of `format`."""
    if sample.demonstration is not None:
        return sample.demonstration
    answers = [spec for spec in sample.reward if spec.verifier != "format"]
    heaviest = max(answers or sample.reward, key=lambda spec: spec.weight)
    gold = catalog.load("verifiers", heaviest.verifier).gold(heaviest.target, **heaviest.params)
    layout = next((spec.target for spec in sample.reward if spec.verifier == "format"), None)
    if layout is None or not answers:
        return gold
    return catalog.load("verifiers", "format").wrap(gold, layout)


def schedule_value(schedule: Sequence[tuple[float, float]], progress: float) -> float:
    """The value of a step schedule at `progress` = step / total steps, in [0, 1].

    `schedule` lists (after, value), sorted: the last value whose `after` has been passed holds, and the first
    holds from the start. V-Triune's thresholds, [(0, 0.85), (0.10, 0.95), (0.25, 0.99)], are 0.85 up to and
    including progress 0.10, 0.95 up to and including 0.25, then 0.99.
    """
    passed = [value for after, value in schedule if after < progress]
    return passed[-1] if passed else schedule[0][1]


# --- vlmrl score ------------------------------------------------------------------------------------------


def score_file(path: str, out: str) -> int:
    """Scores the rows of a JSONL file (`-`: standard input) into `out` (`-`: standard output), as a stream.

    Each row comes back with score (null: unscored), status, answer, parts and why. `UserError` for a bad row;
    a file named by `out` is then left as it was. Returns the number of rows.
    """
    rows = read_jsonl(sys.stdin.buffer, "<stdin>") if path == "-" else read_rows(path)
    if out == "-":
        return _write_scored(rows, sys.stdout.buffer)
    with whole_file(out) as partial, partial.open("wb") as file:
        return _write_scored(rows, file)


def _write_scored(rows: Iterable[tuple[str, Any]], file: IO[bytes]) -> int:
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.completed} rows scored"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("score", total=None)
        count = 0
        for where, row in rows:
            # JSON may hold a lone surrogate and UTF-8 may not: it goes out as the escape it came in as.
            line = json.dumps(_score_row(row, where), ensure_ascii=False) + "\n"
            file.write(line.encode("utf-8", "backslashreplace"))
            progress.advance(task)
            count += 1
    return count


def _score_row(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise UserError(f"{where}: expected an object, got {type(row).__name__}")
    for field in ("id", "verifier", "response", "target"):
        if field not in row:
            raise UserError(f"{where}: {field}: missing; add it")
    params = row.get("params") or {}
    _expect(row["verifier"], str, f"{where}: verifier: expected text")
    _expect(row["response"], str, f"{where}: response: expected text")
    _expect(params, dict, f"{where}: params: expected an object")
    try:
        check_params(row["verifier"], params)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return row | asdict(judge(row["verifier"], row["response"], row["target"], params))


def _expect(value: Any, kind: type, complaint: str) -> None:
    if not isinstance(value, kind):
        raise UserError(f"{complaint}, got {json.dumps(value)[:80]}")
