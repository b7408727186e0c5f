"""Dispatch: calls in batches, that several threads take to servers which may come and go (`vlmrl.serve.client`).

job = Job(calls, lanes=8, seconds=600)
batch = job.take(server)                                       waits while that server is left out
job.store(batch, verdicts) or job.put_back(batch, unanswered)
job.wait()                                                     all verdicts; unscored what never came
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import random
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import vlmrl
from vlmrl import catalog
from vlmrl.rewards.call_rows import row_from_call
from vlmrl.rewards.calls import Call
from vlmrl.rewards.redaction import redact
from vlmrl.verdict import Verdict

BATCH = 128
"""Responses in a request."""
BATCH_BYTES = 2_000_000
TRIES = 5
"""Requests of a batch whose judging began and ended without verdicts."""
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 15.0
"""Seconds for which a server is left out; they double while it fails."""

_log = logging.getLogger(__name__)


@cache
def fingerprint(verifier: str) -> str:
    """A hash of the toolkit's version, the verifier's file and `reading/`: machines with the same hash judge alike."""
    files = [
        Path(catalog.load("verifiers", verifier).__file__ or ""),
        *sorted(Path(__file__).parents[1].glob("reading/*.py")),
    ]
    content = b"".join(file.read_bytes() for file in files)
    return hashlib.sha256(vlmrl.__version__.encode() + content).hexdigest()[:16]


class Unanswered(Exception):
    """Why a batch has to be sent again. `wait`: seconds the server asked for; `counts`: judging may have begun."""

    def __init__(self, why: str, wait: float | None = None, counts: bool = False) -> None:
        super().__init__(redact(why))
        self.wait = wait
        self.counts = counts


class TooLong(Exception):
    """The server takes only smaller requests."""


class Server:
    """One address, and until when it is left out."""

    def __init__(self, url: str, login: tuple[str, str] | None = None) -> None:
        self.url = url
        self.login = login
        self.failures = 0
        self.failed_at = 0.0
        self.out_until = 0.0
        self.lock = threading.Lock()

    def leave_out(self, started: float, unanswered: Unanswered) -> None:
        """After a request that began at `started`; those that failed together count as one failure."""
        with self.lock:
            now = time.monotonic()
            pause = unanswered.wait
            if pause is None:
                if started >= self.failed_at:
                    self.failures += 1
                    self.failed_at = now
                if self.failures == 1 and self.failed_at == now:
                    _log.warning("%s; trying again, ever later", unanswered)
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.failures, 10))
            # By chance, lest all clients come back at one moment.
            self.out_until = now + pause * random.uniform(1.0, 1.5)


@dataclass(slots=True)
class Batch:
    """Rows for one request: their places in the job, numbers of responses, verifiers and JSON."""

    places: list[int]
    sizes: list[int]
    verifiers: list[str]
    rows: list[str]
    tries: int = 0

    def body(self) -> bytes:
        expected = json.dumps({name: fingerprint(name) for name in set(self.verifiers)})
        return f'{{"expect": {expected}, "rows": [{", ".join(self.rows)}]}}'.encode()

    def part(self, which: slice) -> Batch:
        return Batch(self.places[which], self.sizes[which], self.verifiers[which], self.rows[which], self.tries)


def batches(calls: Sequence[Call], lanes: int) -> Iterator[Batch]:
    """Equal shares for the lanes, cut where a request is long enough."""
    share = max(16, min(BATCH, math.ceil(sum(len(call.members) for call in calls) / lanes)))
    batch, size = Batch([], [], [], []), 0
    for place, call in enumerate(calls):
        row = json.dumps(row_from_call(call))
        if batch.rows and (sum(batch.sizes) + len(call.members) > share or size + len(row) > BATCH_BYTES):
            yield batch
            batch, size = Batch([], [], [], []), 0
        batch.places.append(place)
        batch.sizes.append(len(call.members))
        batch.verifiers.append(call.verifier)
        batch.rows.append(row)
        size += len(row)
    if batch.rows:
        yield batch


class Job:
    """The batches of one call of `Remote`, shared by the threads that take them to the servers."""

    def __init__(self, calls: Sequence[Call], lanes: int, seconds: float) -> None:
        self.waiting = deque(batches(calls, lanes))
        self.verdicts: list[list[Verdict] | None] = [None] * len(calls)
        self.calls = calls
        self.left = len(calls)
        self.seconds = seconds
        self.why = "the servers did not answer"
        self.error: Exception | None = None
        self.over = False
        self.changed = threading.Condition()

    def take(self, server: Server) -> Batch | None:
        """The next batch, once there is one and the server is not left out; None at the end."""
        with self.changed:
            while self.left and not self.over:
                pause = server.out_until - time.monotonic()
                if pause <= 0 and self.waiting:
                    return self.waiting.popleft()
                self.changed.wait(pause if pause > 0 else None)
            return None

    def store(self, batch: Batch, verdicts: Sequence[list[Verdict]]) -> None:
        with self.changed:
            for place, members in zip(batch.places, verdicts, strict=True):
                self.verdicts[place] = members
            self.left -= len(batch.places)
            self.changed.notify_all()

    def put_back(self, batch: Batch, unanswered: Unanswered) -> None:
        """The batch goes to the next server, unless it was tried often enough."""
        with self.changed:
            self.why = str(unanswered)
            batch.tries += unanswered.counts
            if batch.tries < TRIES:
                self.waiting.appendleft(batch)
                self.changed.notify_all()
                return
        self.store(batch, self._unscored(batch, f"{self.why} ({TRIES} tries)"))

    def split(self, batch: Batch, error: TooLong) -> None:
        """In halves, as the server takes no batch of that size."""
        if len(batch.places) == 1:
            self.store(batch, self._unscored(batch, str(error)))
            return
        half = len(batch.places) // 2
        with self.changed:
            self.waiting.extendleft((batch.part(slice(half, None)), batch.part(slice(half))))
            self.changed.notify_all()

    def fail(self, error: Exception) -> None:
        with self.changed:
            self.error = self.error or error
            self.changed.notify_all()

    def wait(self) -> list[list[Verdict]]:
        """All verdicts; what is not there when the time is over is unscored."""
        with self.changed:
            try:
                self.changed.wait_for(lambda: not self.left or self.error, self.seconds)
            finally:
                self.over = True
                self.changed.notify_all()
            if self.error:
                raise self.error
            late = f"no verdict in {self.seconds:g} s; {self.why}"
            return [
                [Verdict(None, "error", why=f"{call.verifier}: {late}")] * len(call.members) if done is None else done
                for call, done in zip(self.calls, self.verdicts, strict=True)
            ]

    @staticmethod
    def _unscored(batch: Batch, why: str) -> list[list[Verdict]]:
        return [
            [Verdict(None, "error", why=f"{verifier}: {why}")] * size
            for verifier, size in zip(batch.verifiers, batch.sizes, strict=True)
        ]
