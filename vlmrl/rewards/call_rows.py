"""Calls as rows: what `vlmrl score` reads and writes, what the service takes, what a run keeps of its failures.

    vlmrl score rows.jsonl --out scored.jsonl      rows {id, verifier, response, target, params?}
    ... | vlmrl score - | ...

Each row comes back with score (null: unscored), status, answer, parts and why. A row of a group-level verifier
has `members`, a list of {response, tokens?, score?, reply?}, in place of `response`, and comes back with `verdicts`,
a list. The file is a stream of any size; answers are judged in worker processes that can be killed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from typing import IO, Any

from vlmrl.catalog import default_target, needs_target
from vlmrl.errors import UserError
from vlmrl.files import json_line, read_jsonl, read_rows, whole_file
from vlmrl.rewards.calls import Call, CallRunner, check_params, is_group_level
from vlmrl.verdict import Member, Verdict

BATCH = 2048
"""Rows that are judged, and held, at one time."""

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
    return Member(**fields)


def _expect(value: Any, kind: Any, complaint: str) -> None:
    if not isinstance(value, kind):
        raise UserError(f"{complaint}, got {json.dumps(value)[:80]}")


def row_from_call(call: Call) -> dict[str, Any]:
    """The row that asks for a call."""
    row: dict[str, Any] = {"id": call.id, "verifier": call.verifier}
    if is_group_level(call.verifier):
        row["members"] = [{k: v for k, v in m._asdict().items() if v is not None} for m in call.members]
    else:
        row["response"] = call.members[0].response
    return row | {"target": call.target, "params": dict(call.params)}


def answered_row(row: dict[str, Any], verdicts: list[Verdict]) -> dict[str, Any]:
    """The row with its verdict, or with the verdicts of its members."""
    fields = [asdict(verdict) for verdict in verdicts]
    return row | ({"verdicts": fields} if "members" in row else fields[0])


# --- vlmrl score ------------------------------------------------------------------------------------------


def score_file(path: str, out: str, run: CallRunner) -> int:
    """Scores the rows of a JSONL file (`-`: standard input) into `out` (`-`: standard output), as a stream.

    `UserError` for a bad row; a file named by `out` is then left as it was. Returns the number of rows.
    """
    rows = read_jsonl(sys.stdin.buffer, "<stdin>") if path == "-" else read_rows(path)
    if out == "-":
        return _write_scored(rows, sys.stdout.buffer, run)
    with whole_file(out) as partial, partial.open("wb") as file:
        return _write_scored(rows, file, run)


def _write_scored(rows: Iterator[tuple[str, Any]], file: IO[bytes], run: CallRunner) -> int:
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.completed} rows scored"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("score", total=None)
        count = 0
        while batch := list(islice(rows, BATCH)):
            calls = [call_from_row(row, where) for where, row in batch]
            for (_, row), verdicts in zip(batch, run(calls), strict=True):
                file.write(json_line(answered_row(row, verdicts)))
            file.flush()
            count += len(batch)
            progress.advance(task, len(batch))
    return count
