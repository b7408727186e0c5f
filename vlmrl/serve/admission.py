"""Admission: what the service accepts, and the refusal of all else. `vlmrl.serve.service` lists the codes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
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
    """Megabytes of one request; all requests in flight may take six times as much memory."""
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
    """Counts what is in flight, up to a bound. `alone`: a request that is longer may be the only one."""

    def __init__(self, size: int, what: str, alone: bool = False) -> None:
        self.size = size
        self.what = what
        self.alone = alone
        self.taken = 0

    def take(self, held: ExitStack, amount: int) -> None:
        """Takes room until `held` is closed."""
        if amount > self.size and not self.alone:
            raise Refused(413, f"{amount} {self.what} in one request, over {self.size}; send fewer rows at a time")
        if self.taken + amount > self.size and (self.taken or not self.alone):
            raise Refused(429, f"{self.taken} {self.what} are in flight; try again in {RETRY_AFTER} s")
        self.taken += amount
        held.callback(self._give, amount)

    def _give(self, amount: int) -> None:
        self.taken -= amount


class Arriving:
    """Counts the bytes of bodies that are being read. When they are too many, the oldest of the bodies gives way:
    others arrive while it does not, and would have to wait for it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken = 0
        self.bodies: dict[asyncio.Timeout, int] = {}
        """By the clock that ends their reading, in the order in which they began."""

    def take(self, clock: asyncio.Timeout, amount: int) -> None:
        """For a piece of the body of that clock; may end the reading of others."""
        self.bodies[clock] = self.bodies.get(clock, 0) + amount
        self.taken += amount
        while self.taken > self.size:
            oldest = next(iter(self.bodies))
            self.end(oldest)
            if not oldest.expired():
                oldest.reschedule(0.0)

    def end(self, clock: asyncio.Timeout) -> None:
        """The body is complete, or given up."""
        self.taken -= self.bodies.pop(clock, 0)


def memory_of(body: bytes | bytearray) -> int:
    """Bytes, about and rather more, that a body takes while and once it is parsed.

    An empty list has 56 bytes, an object 184. One character beyond the usual makes a whole text take 4 bytes for each.
    """
    lists, objects = body.count(b",") + body.count(b"["), body.count(b"{")
    copies = 3 if body.isascii() and b"\\u" not in body else 9
    return copies * len(body) + 32 * lists + 64 * body.count(b":") + 192 * objects


def calls_from(body: bytes | bytearray, limit: int) -> list[Call]:
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
