"""Calls as rows: what `vlmrl score` reads and writes, what the service takes, what a run keeps of its failures.

    vlmrl score rows.jsonl --out scored.jsonl               rows {id, verifier, response, target, params?}
    vlmrl score runs/x/rollouts/step_000010.parquet         rows with a whole `reward`
    ... | vlmrl score - | ...

Each row comes back with score (null: unscored), status, answer, parts and why. A row of a group-level verifier
has `members`, a list of {response, tokens?, score?, reply?}, in place of `response`, and comes back with `verdicts`,
a list. The file is a stream of any size; answers are judged in worker processes that can be killed.
"""

from __future__ import annotations

import json
import reprlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from vlmrl.catalog import default_target, needs_target
from vlmrl.errors import UserError, escaped
from vlmrl.files import json_line, read_jsonl, read_rows, whole_file
from vlmrl.rewards.calls import Call, CallRunner, check_params, is_group_level
from vlmrl.rewards.composite import Answered, as_judged, check_spec, score_groups
from vlmrl.rewards.frames import Assumed, decided
from vlmrl.sample import Sample, sample_from_row
from vlmrl.verdict import Member, Verdict

BATCH = 2048
"""Rows that are judged, and held, at one time."""

FramesOf = Callable[[Sample], Sequence[Mapping[str, Any]]]
"""Gives the parameters of the frame of each spec of a sample."""

_AS_JSON = ("messages", "media", "boxes", "meta", "reward")
_MEMBER_FIELDS = {"response": str, "tokens": int, "score": (int, float), "reply": str}


def call_from_row(row: Any, where: str) -> Call:
    """The call that a row asks for; `UserError` names `where`, the field and what it should be."""
    _expect(row, dict, f"{where}: expected an object")
    for field in ("id", "verifier"):
        if field not in row:
            raise UserError(f"{where}: {field}: missing; add it")
    verifier = row["verifier"]
    _expect(verifier, str, f"{where}: verifier: expected text")
    params = row.get("params") or {}
    _expect(params, dict, f"{where}: params: expected an object")
    try:
        check_params(verifier, params)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if "target" not in row and needs_target(verifier):
        raise UserError(f"{where}: target: missing; add it")
    target = row["target"] if "target" in row else default_target(verifier)
    return Call(verifier, _members(row, where, verifier), target, params, str(row["id"]))


def _members(row: dict[str, Any], where: str, verifier: str) -> tuple[Member, ...]:
    if "members" not in row or not is_group_level(verifier):
        if "response" not in row:
            raise UserError(f"{where}: response: missing; add it")
        _expect(row["response"], str, f"{where}: response: expected text")
        return (Member(row["response"]),)
    _expect(row["members"], list, f"{where}: members: expected a list")
    return tuple(_member(fields, f"{where}: members.{i}") for i, fields in enumerate(row["members"]))


def _member(fields: Any, where: str) -> Member:
    _expect(fields, dict, f"{where}: expected an object")
    if "response" not in fields:
        raise UserError(f"{where}.response: missing; add it")
    for name, value in fields.items():
        if name not in _MEMBER_FIELDS:
            raise UserError(f"{where}.{name}: unknown field; a member has {', '.join(_MEMBER_FIELDS)}")
        if value is not None:
            _expect(value, _MEMBER_FIELDS[name], f"{where}.{name}: unexpected value")
    _expect(fields["response"], str, f"{where}.response: expected text")
    _expect_length(fields.get("tokens"), f"{where}.tokens")
    return Member(**fields)


def _expect_length(tokens: Any, where: str) -> None:
    if tokens is not None and (type(tokens) is not int or tokens < 0):
        raise UserError(f"{where}: expected a number of tokens, 0 or more, got {json.dumps(tokens)[:80]}")


def _expect(value: Any, kind: Any, complaint: str) -> None:
    if not isinstance(value, kind):
        # Of a row that comes over the network, the value may be huge, or too deep for `json`.
        shown = reprlib.repr(value) if isinstance(value, list | dict | str) else json.dumps(value)
        raise UserError(f"{complaint}, got {shown[:80]}")


def row_from_call(call: Call) -> dict[str, Any]:
    """The row that asks for a call."""
    row: dict[str, Any] = {"id": call.id, "verifier": call.verifier}
    if is_group_level(call.verifier):
        row["members"] = [{k: v for k, v in m._asdict().items() if v is not None} for m in call.members]
    else:
        row["response"] = call.members[0].response
    return row | {"target": call.target, "params": dict(call.params)}


def answered_row(row: dict[str, Any], verdicts: list[Verdict]) -> dict[str, Any]:
    """The row with its verdict, or with the verdicts of its members; without the pictures of stored rollouts."""
    fields = [asdict(verdict) for verdict in verdicts]
    kept = {name: value for name, value in row.items() if not isinstance(value, bytes)}
    return kept | ({"verdicts": fields} if "members" in row else fields[0])


# --- whole rewards ----------------------------------------------------------------------------------------


def stated_frames(sample: Sample) -> list[dict[str, Any]]:
    """The frames of the sample's specs as they stand in the row."""
    return decided(sample.reward, [])


def answered_from_row(row: Any, where: str, root: Path | None = None, frames: FramesOf = stated_frames) -> Answered:
    """What a row with a whole `reward` asks for: one of a data set with a `response` to it, or a stored rollout.

    Fields that parquet holds as JSON text may be so here. `UserError` names `where`, the field and what it should be.
    """
    fields = {name: row[name] for name in Sample.model_fields if name in row}
    for name in _AS_JSON:
        if isinstance(fields.get(name), str):
            try:
                fields[name] = json.loads(fields[name])
            except ValueError:
                raise UserError(f"{where}: {name}: not JSON, got {fields[name]!r:.60}") from None
    _expect(row.get("response"), str, f"{where}: response: expected text")
    sample = sample_from_row(fields, where, root)
    _expect_length(row.get("tokens"), f"{where}: tokens")
    members = [Member(row["response"], row.get("tokens"))]
    for number, spec in enumerate(sample.reward):
        try:
            check_params(spec.verifier, spec.params)
        except UserError as error:
            raise UserError(f"{where}: reward.{number}: {error}") from None
    try:
        answered = Answered(sample, members, frames(sample))
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    for number, spec in enumerate(as_judged(answered)):
        try:
            check_spec(spec)
        except UserError as error:
            raise UserError(f"{where}: reward.{number}: {error}") from None
    return answered


def score_rows(
    rows: Sequence[tuple[str, Any]],
    run: CallRunner,
    root: Path | None = None,
    frames: FramesOf = stated_frames,
    assumed: Assumed | None = None,
) -> list[dict[str, Any]]:
    """The rows with their verdicts; each comes with where it stands.

    A row with `reward` is judged by all of it, beside its neighbours of the same `id` and `step` as one group; any
    other is a call. `UserError` for a row that is neither.
    """
    whole = [isinstance(row, dict) and "reward" in row for _, row in rows]
    calls = [call_from_row(row, where) for (where, row), has in zip(rows, whole, strict=True) if not has]
    answered = [answered_from_row(row, at, root, frames) for (at, row), has in zip(rows, whole, strict=True) if has]
    keys = [_group(row) for (_, row), has in zip(rows, whole, strict=True) if has]
    groups = [[one for one, _ in run] for _, run in groupby(zip(answered, keys, strict=True), key=lambda pair: pair[1])]
    joined = [group[0]._replace(members=[one.members[0] for one in group]) for group in groups]
    by_call = iter(run(calls))
    if assumed:
        specs = iter([[call] for call in calls]), iter([as_judged(one) for one in answered])
        for (where, _), has in zip(rows, whole, strict=True):
            assumed.observe(where, next(specs[has]))
    by_reward = iter([[verdict] for group in score_groups(joined, run) for verdict in group])
    return [answered_row(row, next(by_reward if has else by_call)) for (_, row), has in zip(rows, whole, strict=True)]


def _group(row: Any) -> tuple[Any, ...]:
    """What the responses of one group share."""
    return tuple(str(row.get(name)) for name in ("id", "step", "mode", "reward"))


# --- vlmrl score ------------------------------------------------------------------------------------------


def score_file(path: str, out: str, run: CallRunner, frames: FramesOf = stated_frames) -> int:
    """Scores the rows of a JSONL file (`-`: standard input) into `out` (`-`: standard output), as a stream.

    `UserError` for a bad row; a file named by `out` is then left as it was. Returns the number of rows.
    """
    rows = read_jsonl(sys.stdin.buffer, "<stdin>") if path == "-" else read_rows(path)
    root = Path() if path == "-" else Path(path).resolve().parent
    assumed = Assumed()

    def score(batch: Sequence[tuple[str, Any]]) -> list[dict[str, Any]]:
        return score_rows(batch, run, root, frames, assumed)

    if out == "-":
        count = _write_scored(rows, sys.stdout.buffer, score)
    else:
        with whole_file(out) as partial, partial.open("wb") as file:
            count = _write_scored(rows, file, score)
    if line := assumed.line():
        print(f"warning: {escaped(line)}", file=sys.stderr)
    return count


def _write_scored(
    rows: Iterator[tuple[str, Any]],
    file: IO[bytes],
    score: Callable[[Sequence[tuple[str, Any]]], list[dict[str, Any]]],
) -> int:
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.completed} rows scored"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("score", total=None)
        count = 0
        for batch in _batches(rows):
            for row in score(batch):
                file.write(json_line(row))
            file.flush()
            count += len(batch)
            progress.advance(task, len(batch))
    return count


def _batches(rows: Iterator[tuple[str, Any]]) -> Iterator[list[tuple[str, Any]]]:
    """Batches of about `BATCH` rows that cut no group."""
    batch: list[tuple[str, Any]] = []
    for _, group in groupby(rows, key=lambda pair: _group(pair[1]) if isinstance(pair[1], dict) else ()):
        for row in group:
            batch.append(row)
            # A file without ids that differ is still a stream.
            if len(batch) >= 2 * BATCH:
                yield batch
                batch = []
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
