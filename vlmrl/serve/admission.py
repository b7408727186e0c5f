"""Admission: what the service accepts, and the refusal of all else. `vlmrl.serve.service` lists the codes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import vlmrl
from vlmrl import catalog
from vlmrl.errors import UserError
from vlmrl.rewards.call_rows import call_from_row
from vlmrl.rewards.calls import Call
from vlmrl.rewards.redaction import redact
from vlmrl.serve.dispatch import fingerprint

RETRY_AFTER = 1
"""Seconds after which a client may ask again."""
LONGEST_LINE = 1000
"""Characters of a refusal."""


@dataclass(frozen=True)
class Limits:
    """What a service takes."""

    body_mb: int = 16
    """Megabytes of one request; all requests in flight may have sixteen times as many."""
    rows: int = 1024
    """Responses in one request."""
    rows_in_flight: int = 8192
    """Responses in all requests that are judged or wait for it."""
    grace: int = 60
    """Seconds that requests in flight have to finish when the service is stopped."""


class Refused(Exception):
    """Ends a request with a status code and one line, whatever the request has put into it."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(" ".join(redact(why[:LONGEST_LINE]).split()))
        self.code = code


class Room:
    """Counts what is in flight, up to a bound."""

    def __init__(self, size: int, what: str) -> None:
        self.size = size
        self.what = what
        self.taken = 0

    def take(self, amount: int) -> None:
        if self.taken + amount > self.size:
            raise Refused(429, f"{self.taken} {self.what} are in flight; try again in {RETRY_AFTER} s")
        self.taken += amount

    def give(self, amount: int) -> None:
        self.taken -= amount


def calls_from(body: bytes, limit: int) -> list[Call]:
    """The calls that a body asks for."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(422, f"body: not valid JSON ({error})") from None
    rows = asked.get("rows") if isinstance(asked, dict) else None
    if not isinstance(rows, list):
        raise Refused(422, 'body: expected {"rows": [...]}')
    try:
        calls = [call_from_row(row, f"rows.{i}") for i, row in enumerate(rows)]
        for i, call in enumerate(calls):
            _check_local(call, f"rows.{i}")
    except UserError as error:
        raise Refused(422, str(error)) from None
    except RecursionError:
        raise Refused(422, "body: nested too deeply; no verifier takes such rows") from None
    _check_expected(asked.get("expect", {}), calls)
    count = sum(len(call.members) for call in calls)
    if count > limit:
        raise Refused(413, f"rows: {count} responses in one request; send at most {limit}")
    return calls


def _check_local(call: Call, where: str) -> None:
    """Refuses a row that names a file, a model or a URL: whoever sends it would have this machine open it."""
    fields = {"params": call.params, "target": call.target}
    for declared in catalog.local_fields(call.verifier):
        for place in _places(fields, declared.split(".")):
            raise Refused(
                422,
                f"{where}: {place[:80]}: names a file, a model or a URL, which rows sent to a service cannot do; judge "
                "them without one (`vlmrl score`, or a run without reward.servers)",
            )


def _places(value: Any, path: Sequence[str]) -> Iterator[str]:
    """The places that a declared path matches, where there is a value."""
    if not path:
        if value is not None:
            yield ""
        return
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        if path[0] in ("*", str(key)):
            yield from (f"{key}.{place}".rstrip(".") for place in _places(inner, path[1:]))


def _check_expected(expected: Any, calls: Sequence[Call]) -> None:
    """Refuses a client whose verifiers are not those of this process."""
    if not isinstance(expected, dict):
        raise Refused(422, "expect: expected an object")
    for name in sorted({call.verifier for call in calls} & expected.keys()):
        if expected[name] != fingerprint(name):
            raise Refused(
                409,
                f"verifier {name!r} of the service (vlmrl {vlmrl.__version__}) is not the client's; "
                "install the same files on both sides and restart the service",
            )
