"""Service: verifiers behind HTTP, for trainers that run elsewhere or in another language. docs/service.md says more.

    vlmrl serve                                                       http://127.0.0.1:8765
    VLMRL_SERVICE_TOKEN=... vlmrl serve --host 0.0.0.0 --workers 16

    POST /judge      {"rows": [{id, verifier, response, target, params?}, ...]}, rows as `vlmrl score` reads them
                     -> {"verdicts": [[{score, status, parts, answer, why}], ...]}: of each row, of each member
    GET  /verifiers  the toolkit's version, the limits, and what each verifier is
    GET  /metrics    Prometheus text
    GET  /health     200 while it takes rows

Refusals are {"error": one line}: 401 the token, 408 a body that never ends, 409 a client of another version, 413 a
body or a list of rows too long, 422 a bad row, 429 too much in flight (Retry-After). Nothing is judged of a request
that is refused. Verdicts that take their time are preceded by spaces, one every few seconds, so that neither the
client nor a proxy takes the silence for the end.
"""

from __future__ import annotations

import asyncio
import hmac
import inspect
import ipaddress
import json
import re
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import vlmrl
from vlmrl import catalog
from vlmrl.errors import UserError
from vlmrl.rewards.calls import CallRunner, is_group_level
from vlmrl.rewards.workers import Workers
from vlmrl.serve.admission import RETRY_AFTER, Limits, Refused, Room, calls_from
from vlmrl.serve.dispatch import fingerprint
from vlmrl.serve.prometheus import Counters
from vlmrl.verdict import Verdict

try:
    import uvicorn
    from fastapi import FastAPI, Request, Response
    from fastapi.responses import StreamingResponse
    from starlette.requests import ClientDisconnect
except ImportError as error:
    raise UserError(f"vlmrl serve: {error.name} is not installed; pip install 'vlmrl-toolkit[serve]'") from None

TOKEN = "VLMRL_SERVICE_TOKEN"
THREADS = 32
"""Requests judged at one time; the others wait."""
HEARTBEAT = 5.0
"""Seconds between the spaces that precede a slow reply."""
BODY_SECONDS = 60.0


def serve(
    host: str, port: int, token: str | None, workers: int | None, deadline: float, memory_mb: int, limits: Limits
) -> None:
    """Serves until SIGTERM or Ctrl-C; then requests in flight finish, and the processes are stopped.

    `port` 0 takes a free one; the first line of output says which. `UserError` without a token for an address
    that others can reach, for an address that cannot be had and for a verifier that cannot be loaded.
    """
    if token and not re.fullmatch("[!-~]+", token):
        raise UserError(f"{TOKEN}: is blank, or has a character that no header can hold; use visible ASCII only")
    if not token and not _is_loopback(host):
        raise UserError(f"--host {host}: others can reach it, so set {TOKEN} to a secret that clients will send")
    for name in catalog.names("verifiers"):
        catalog.load("verifiers", name)
    try:
        listener = socket.create_server((host, port), family=_family(host), backlog=2048)
    except (OSError, OverflowError) as error:
        raise UserError(f"--host {host} --port {port}: cannot listen there ({error})") from None
    with Workers(workers, deadline, memory_mb) as judging, _Service(judging, token, limits) as service:
        for number in (signal.SIGTERM, signal.SIGINT):
            # uvicorn raises the signal that stopped it once more, for whoever handled it before.
            signal.signal(number, lambda *_: None)
        shown = f"[{host}]" if ":" in host else host
        print(f"vlmrl serve: http://{shown}:{listener.getsockname()[1]} ({judging.count} processes)", flush=True)
        config = uvicorn.Config(
            service.app(), lifespan="off", ws="none", log_level="warning", timeout_graceful_shutdown=limits.grace
        )
        uvicorn.Server(config).run([listener])
    print("vlmrl serve: stopped", flush=True)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


class _Service:
    """The endpoints and what they share; all but the judging happens in the event loop's thread."""

    def __init__(self, run: CallRunner, token: str | None, limits: Limits) -> None:
        self.run = run
        self.token = token
        self.limits = limits
        self.body_limit = limits.body_mb * 2**20
        self.rows = Room(limits.rows_in_flight, "rows")
        self.bytes = Room(16 * self.body_limit, "bytes")
        self.metrics = Counters()
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="judge")

    def __enter__(self) -> _Service:
        return self

    def __exit__(self, *_: object) -> None:
        # Those still judging after the grace period end when the processes do.
        self.threads.shutdown(wait=False, cancel_futures=True)

    def app(self) -> FastAPI:
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app.add_route("/judge", self._guarded(self._judge), methods=["POST"])
        app.add_route("/verifiers", self._guarded(self._verifiers), methods=["GET"])
        app.add_route("/metrics", self._guarded(self._show_metrics), methods=["GET"])
        app.add_route("/health", self._health, methods=["GET"])
        return app

    def _guarded(self, handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """The handler behind the token, with refusals as replies."""

        async def guarded(request: Request) -> Response:
            code = 500
            try:
                self._authorize(request)
                response = await handler(request)
                code = response.status_code
                return response
            except Refused as refused:
                code = refused.code
                headers = {"Retry-After": str(RETRY_AFTER)} if code == 429 else {}
                return _json({"error": str(refused)}, code, headers)
            finally:
                self.metrics.requests[request.url.path, code] += 1

        return guarded

    def _authorize(self, request: Request) -> None:
        given = request.headers.get("authorization", "")
        if self.token and not hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
            raise Refused(401, f"the bearer token is missing or another one; the service has it in {TOKEN}")

    async def _health(self, _: Request) -> Response:
        return _json({"status": "ok", "version": vlmrl.__version__})

    async def _verifiers(self, _: Request) -> Response:
        verifiers = [_description(name) for name in catalog.names("verifiers")]
        return _json({"version": vlmrl.__version__, "limits": asdict(self.limits), "verifiers": verifiers})

    async def _show_metrics(self, _: Request) -> Response:
        lines = self.metrics.lines(rows_in_flight=self.rows.taken, body_bytes_in_flight=self.bytes.taken)
        return Response("\n".join([*lines, ""]), media_type="text/plain; version=0.0.4")

    # --- judging ------------------------------------------------------------------------------------------

    async def _judge(self, request: Request) -> Response:
        started = time.monotonic()
        size = self._declared(request)
        self.bytes.take(size)
        try:
            body = await self._read(request)
            calls = await asyncio.to_thread(calls_from, body, self.limits.rows)
            rows = sum(len(call.members) for call in calls)
            self.rows.take(rows)
        except BaseException:
            self.bytes.give(size)
            raise
        judged = self.threads.submit(self.run, calls)
        loop = asyncio.get_running_loop()

        def finish() -> None:
            self.bytes.give(size)
            self.rows.give(rows)
            if not judged.cancelled() and not judged.exception():
                self.metrics.observe(calls, judged.result(), time.monotonic() - started)

        # Also where the client has left meanwhile: what it asked for is in flight until it is judged.
        judged.add_done_callback(lambda _: None if loop.is_closed() else loop.call_soon_threadsafe(finish))
        waiting = asyncio.wrap_future(judged)
        done, _ = await asyncio.wait({waiting}, timeout=HEARTBEAT)
        if done:
            return _json(_reply(judged.result()))
        return StreamingResponse(_slowly(waiting), media_type="application/json")

    def _declared(self, request: Request) -> int:
        """Bytes to reserve for the body: its declared length, or the most there may be."""
        declared = request.headers.get("content-length", "")
        size = int(declared) if declared.isascii() and declared.isdigit() else self.body_limit
        if size > self.body_limit:
            raise self._too_long()
        return size

    def _too_long(self) -> Refused:
        return Refused(413, f"body: longer than {self.limits.body_mb} MB; send fewer rows at a time")

    async def _read(self, request: Request) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for piece in request.stream():
                    body += piece
                    if len(body) > self.body_limit:
                        raise self._too_long()
        except TimeoutError:
            raise Refused(408, f"body: not here after {BODY_SECONDS:g} s") from None
        except ClientDisconnect:
            raise Refused(400, "body: the client left before its end") from None
        return bytes(body)


def _reply(verdicts: Sequence[Sequence[Verdict]]) -> dict[str, Any]:
    return {"verdicts": [[asdict(verdict) for verdict in found] for found in verdicts]}


async def _slowly(waiting: asyncio.Future[list[list[Verdict]]]) -> AsyncIterator[str]:
    """The verdicts, after a space for every while that they take; an exception breaks the connection."""
    while not waiting.done():
        yield " "
        await asyncio.wait({waiting}, timeout=HEARTBEAT)
    yield json.dumps(_reply(waiting.result()))


def _json(content: dict[str, Any], code: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(content), code, headers, "application/json")


def _description(name: str) -> dict[str, Any]:
    """What a client has to know of a verifier."""
    signature = inspect.signature(catalog.load("verifiers", name).verify)
    defaults = {key: signature.parameters[key].default for key in catalog.parameters(name)}
    params = {key: json.dumps(value, default=str) for key, value in defaults.items()}
    return {
        "name": name,
        "summary": catalog.summary("verifiers", name),
        "params": {key: json.loads(value) for key, value in params.items()},
        "needs_target": catalog.needs_target(name),
        "group_level": is_group_level(name),
        "fingerprint": fingerprint(name),
    }
