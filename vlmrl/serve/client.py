"""Remote: calls judged by verifier services (`vlmrl serve`), one or many, that may come and go.

    with Remote(["http://10.0.0.5:8765", "http://10.0.0.6:8765"]) as remote:      token: VLMRL_SERVICE_TOKEN
        verdicts = remote(calls)

Calls travel in batches, and a server takes the next one when it is ready for it. A batch that was not answered
(no connection, 429, 5xx, a reply cut short) is sent again, to whichever server is there; one that fails is left
out for a while. A response that nobody judged in time is unscored, never zero. What waiting would not cure (a
wrong token, a bad row, a server with other verifiers than ours) is a `UserError`.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Self

from vlmrl.errors import NO_LOGIN, UserError
from vlmrl.rewards.calls import Call
from vlmrl.rewards.redaction import hide, redact, without_login, without_secrets
from vlmrl.serve.dispatch import FIRST_PAUSE, Batch, Job, Server, TooLong, Unanswered
from vlmrl.verdict import Verdict

CONNECTIONS = 4
"""Requests to one server at one time."""
SILENCE = 30.0
"""Seconds without a byte after which a server counts as gone; a service sends one every 5."""
LONGEST_REPLY = 64_000_000
"""Bytes of a reply; a request has at most `dispatch.BATCH_BYTES`, about two million."""
START = 30.0
"""Seconds to wait for the first server."""


class Remote:
    """A `CallRunner`. Verdicts that are not here after `seconds` are given up. Safe to call from several threads.

    `UserError` if a URL is none or lacks its password, a server refuses the token, or no server answers within half a
    minute.
    """

    def __init__(self, servers: Sequence[str], token: str | None = None, *, seconds: float = 600.0) -> None:
        import httpx

        token = token or os.environ.get("VLMRL_SERVICE_TOKEN")
        for url in servers:
            if not url.startswith(("http://", "https://")):
                raise UserError(f"reward.servers: {redact(url)!r} is not a URL; write http://HOST:PORT")
            if f"://{NO_LOGIN}" in url:
                raise UserError(f"reward.servers: {url!r} was stored without its password; give the whole URL again")
        self.seconds = seconds
        hide(token)
        self.servers = [Server(*without_login(url.rstrip("/"))) for url in servers]
        self.client = httpx.Client(
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(SILENCE, connect=5.0),
            limits=httpx.Limits(max_connections=None),
        )
        self._meet()

    def __call__(self, calls: Sequence[Call]) -> list[list[Verdict]]:
        """The verdicts of each call, in order."""
        job = Job(calls, CONNECTIONS * len(self.servers), self.seconds)
        lanes = min(CONNECTIONS, len(job.waiting))
        for server in self.servers * lanes:
            threading.Thread(target=self._work, args=(server, job), daemon=True).start()
        return job.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self.client.close()

    def _meet(self) -> None:
        """Waits for a first server; the token must be right."""
        import httpx

        until = time.monotonic() + START
        why = "none is named"
        while True:
            for server in self.servers:
                try:
                    response = self.client.get(f"{server.url}/verifiers", auth=server.login)
                except httpx.InvalidURL as error:
                    raise UserError(redact(f"reward.servers: {server.url!r}: {error}")) from None
                except httpx.RequestError as error:
                    why = redact(f"{type(error).__name__}: {error}")
                else:
                    if response.status_code == 200:
                        return
                    refusal = _refusal(server.url, response.status_code, response.content, response.headers)
                    if isinstance(refusal, UserError):
                        raise refusal
                    why = str(refusal)
            if time.monotonic() > until:
                raise UserError(f"reward.servers: no server answers ({why}); start one with `vlmrl serve`")
            time.sleep(FIRST_PAUSE)

    def _work(self, server: Server, job: Job) -> None:
        """Takes batches to a server, as long as there are any."""
        try:
            while batch := job.take(server):
                self._send(server, batch, job)
        except Exception as error:
            job.fail(error)

    def _send(self, server: Server, batch: Batch, job: Job) -> None:
        started = time.monotonic()
        try:
            verdicts = self._post(server, batch, job)
        except Unanswered as unanswered:
            server.leave_out(started, unanswered)
            job.put_back(batch, unanswered)
        except TooLong as error:
            job.split(batch, error)
        else:
            server.failures = 0
            job.store(batch, verdicts)

    def _post(self, server: Server, batch: Batch, job: Job) -> list[list[Verdict]]:
        """The verdicts of a batch."""
        import httpx

        content = bytearray()
        try:
            posting = self.client.stream("POST", f"{server.url}/judge", content=batch.body(), auth=server.login)
            with posting as response:
                for piece in response.iter_bytes():
                    content += piece
                    if job.over:
                        raise Unanswered("the time is over")
                    if len(content) > LONGEST_REPLY:
                        raise Unanswered(f"{server.url}: a reply of more than {LONGEST_REPLY} bytes", counts=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unanswered(f"{server.url}: {type(error).__name__}: {error}") from None
        except (httpx.RequestError, RuntimeError) as error:  # RuntimeError: the client was closed meanwhile
            raise Unanswered(f"{server.url}: {type(error).__name__}: {error}", counts=True) from None
        if response.status_code != 200:
            raise _refusal(server.url, response.status_code, bytes(content), response.headers)
        try:
            reply = json.loads(without_secrets(content.decode()))
            found = [[Verdict(**fields) for fields in one] for one in reply["verdicts"]]
        except (ValueError, LookupError, TypeError, AssertionError):
            raise Unanswered(f"{server.url}: not the reply of a verifier service", counts=True) from None
        if [len(one) for one in found] != batch.sizes:
            raise Unanswered(f"{server.url}: not the verdicts that were asked for", counts=True)
        return found


def _refusal(url: str, code: int, content: bytes, headers: Mapping[str, str]) -> Exception:
    """What a status code other than 200 means."""
    try:
        said = str(json.loads(content)["error"])
    except (ValueError, LookupError, TypeError):
        said = content.decode("utf-8", "replace")
    why = f"{url}: HTTP {code}: {' '.join(redact(said).split())[:400]}"
    asked = headers.get("Retry-After", "")
    wait = min(60.0, float(asked)) if asked.isascii() and asked.isdigit() else None
    if code == 413:
        return TooLong(why)
    if code == 429:
        return Unanswered(why, wait if wait is not None else 1.0)
    if code == 408 or code >= 500:
        # 502 and 503 are a proxy's way to say that no server is there now.
        return Unanswered(why, wait, counts=code not in (502, 503))
    return UserError(f"reward.servers: {why}")
