"""Service: verifiers behind HTTP, for trainers that run elsewhere or in another language. docs/service.md says more.

    vlmrl serve                                                       http://127.0.0.1:8765
    VLMRL_SERVICE_TOKEN=... vlmrl serve --host 0.0.0.0 --workers 16

    POST /judge      {"rows": [{id, verifier, response, target, params?}, ...]}, rows as `vlmrl score` reads them
                     -> {"verdicts": [[{score, status, parts, answer, why}], ...]}: of each row, of each member;
                     and a "note" if rows do not say in which coordinates their answers are
    GET  /verifiers  the toolkit's version, the limits, and what each verifier is
    GET  /metrics    Prometheus text
    GET  /health     200 while it takes rows

Refusals are {"error": one line}: 401 the token, 408 a body that never ends, 409 a client of another version, 413 a
body or a list of rows too long, 422 a bad row, 429 too much in flight (Retry-After). Nothing is judged of a request
that is refused. Verdicts that take their time are preceded by spaces, one every few seconds, so that neither the
client nor a proxy takes the silence for the end. The calls of a client that leaves are dropped.
"""

from __future__ import annotations

import asyncio
import ctypes
import hmac
import inspect
import ipaddress
import json
import re
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict
from functools import cached_property
from typing import Any

import vlmrl
from vlmrl import catalog
from vlmrl.errors import UserError
from vlmrl.rewards.calls import Call, is_group_level
from vlmrl.rewards.frames import Assumed
from vlmrl.rewards.workers import Workers
from vlmrl.serve.admission import RETRY_AFTER, Arriving, Limits, Refused, Room, calls_from, memory_of
from vlmrl.serve.dispatch import fingerprint
from vlmrl.serve.prometheus import Counters
from vlmrl.verdict import Verdict

try:
    import uvicorn
    from fastapi import FastAPI, Request, Response
    from fastapi.responses import StreamingResponse
    from starlette.requests import ClientDisconnect

    from vlmrl.serve.stopping import GracefulServer
except ImportError as error:
    raise UserError(f"vlmrl serve: {error.name} is not installed; pip install 'vlmrl-toolkit[serve]'") from None

TOKEN = "VLMRL_SERVICE_TOKEN"
THREADS = 32
"""Requests judged at one time, and as many with soft verifiers; the others wait."""
MEMORY_BODIES = 6
"""Memory of all requests in flight, in the largest bodies."""
SOFT_SHARE = 4
"""One part in so many of the rows and the memory is what requests with soft verifiers may have."""
STOPPED = "the service was stopped before the verdicts; ask another one"
HEARTBEAT = 5.0
"""Seconds between the spaces that precede a slow reply."""
BODY_SECONDS = 60.0
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


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
    _give_memory_back()
    with Workers(workers, deadline, memory_mb) as judging:
        service = _Service(judging, token, limits)
        config = uvicorn.Config(service.app(), lifespan="off", ws="none", log_level="warning")
        server = GracefulServer(config, limits.grace, service.refuse, service.join)
        for number in (signal.SIGTERM, signal.SIGINT):
            # Before uvicorn handles them, and after it: it raises the signal that stopped it once more.
            signal.signal(number, lambda *_: setattr(server, "should_exit", True))
        shown = f"[{host}]" if ":" in host else host
        print(f"vlmrl serve: http://{shown}:{listener.getsockname()[1]} ({judging.count} processes)", flush=True)
        server.run([listener])
    print("vlmrl serve: stopped", flush=True)


def _give_memory_back() -> None:
    """Makes what a large body took go back to the system: by default, glibc keeps up to 64 MB for each thread."""
    with suppress(AttributeError, OSError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((_M_MMAP_THRESHOLD, 2**18), (_M_TRIM_THRESHOLD, 2**20), (_M_ARENA_MAX, 2)):
            mallopt(option, value)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


class _Service:
    """The endpoints and what they share; all but the judging happens in the event loop's thread."""

    def __init__(self, run: Workers, token: str | None, limits: Limits) -> None:
        self.run = run
        self.token = token
        self.limits = limits
        self.body_limit = limits.body_mb * 2**20
        self.arriving = Arriving(2 * self.body_limit)
        self.memory = Room(MEMORY_BODIES * self.body_limit, "bytes of memory")
        self.rows = Room(limits.rows_in_flight, "rows")
        # Soft verifiers wait for others: what they hold meanwhile is a small part, and their threads are their own.
        self.soft_memory = Room(self.memory.size // SOFT_SHARE, "bytes of memory for soft verifiers", alone=True)
        self.soft_rows = Room(limits.rows_in_flight // SOFT_SHARE, "rows of soft verifiers", alone=True)
        self.threads = [ThreadPoolExecutor(THREADS, thread_name_prefix=name) for name in ("rules", "soft")]
        self.metrics = Counters()

    @cached_property
    def over(self) -> asyncio.Future[None]:
        """Done when the grace period ends."""
        return asyncio.get_running_loop().create_future()

    def refuse(self) -> None:
        """Ends the requests in flight; in the event loop's thread, as all but `join`."""
        if not self.over.done():
            self.over.set_result(None)

    def join(self) -> None:
        """Waits for the threads; those that judge calls of refused requests end soon."""
        for threads in self.threads:
            threads.shutdown(cancel_futures=True)

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
            except UserError as error:  # a verifier file that the service was started with is gone
                return _json({"error": str(error)}, code)
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
        lines = self.metrics.lines(rows_in_flight=self.rows.taken, body_bytes_in_flight=self.arriving.taken)
        return Response("\n".join([*lines, ""]), media_type="text/plain; version=0.0.4")

    # --- judging ------------------------------------------------------------------------------------------

    async def _judge(self, request: Request) -> Response:
        started = time.monotonic()
        body = await self._read(request)
        memory = memory_of(body)
        with ExitStack() as held:
            self.memory.take(held, memory)
            calls = await asyncio.to_thread(calls_from, body, self.limits.rows)
            del body
            rows = sum(len(call.members) for call in calls)
            self.rows.take(held, rows)
            soft = any(catalog.is_soft(call.verifier) for call in calls)
            if soft:
                self.soft_memory.take(held, memory)
                self.soft_rows.take(held, rows)
            dropped = threading.Event()
            note = _note(calls)
            judged = asyncio.wrap_future(self.threads[soft].submit(self.run, calls, dropped))
            kept = held.pop_all()

        def finish(_: object) -> None:
            """Also where nobody waits any more: the future is cancelled then, and the calls are dropped."""
            dropped.set()
            kept.close()
            if not judged.cancelled() and not judged.exception():
                self.metrics.observe(calls, judged.result(), time.monotonic() - started)

        judged.add_done_callback(finish)
        leaving = asyncio.ensure_future(_left(request))
        done, _ = await self._wait(judged, leaving)
        leaving.cancel()
        if judged in done:
            return _json(_reply(judged.result(), note))
        if done:
            judged.cancel()
            raise Refused(500, STOPPED)
        return StreamingResponse(self._slowly(judged, note), media_type="application/json")

    async def _wait(self, *futures: asyncio.Future[Any]) -> tuple[set[asyncio.Future[Any]], set[asyncio.Future[Any]]]:
        """Until one of them or the end of the service, at most for a heartbeat."""
        return await asyncio.wait({*futures, self.over}, timeout=HEARTBEAT, return_when=asyncio.FIRST_COMPLETED)

    async def _slowly(self, judged: asyncio.Future[list[list[Verdict]]], note: str | None) -> AsyncIterator[str]:
        """The verdicts, after a space for every while that they take; an exception breaks the connection."""
        try:
            while not judged.done() and not self.over.done():
                yield " "
                await self._wait(judged)
            yield json.dumps(_reply(judged.result(), note) if judged.done() else {"error": STOPPED})
        finally:
            judged.cancel()

    async def _read(self, request: Request) -> bytearray:
        declared = request.headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and int(declared) > self.body_limit:
            raise self._too_long()
        body, clock = bytearray(), asyncio.timeout(BODY_SECONDS)
        try:
            async with clock:
                async for piece in request.stream():
                    if len(body) + len(piece) > self.body_limit:
                        raise self._too_long()
                    self.arriving.take(clock, len(piece))
                    body += piece
        except TimeoutError:
            raise Refused(408, f"body: not here after {BODY_SECONDS:g} s, or too slow while others waited") from None
        except ClientDisconnect:
            raise Refused(400, "body: the client left before its end") from None
        finally:
            self.arriving.end(clock)
        return body

    def _too_long(self) -> Refused:
        return Refused(413, f"body: longer than {self.limits.body_mb} MB; send fewer rows at a time")


async def _left(request: Request) -> None:
    """Until the client has left, once its body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _reply(verdicts: Sequence[Sequence[Verdict]], note: str | None) -> dict[str, Any]:
    fields = [[asdict(verdict) for verdict in found] for found in verdicts]
    return {"verdicts": fields} | ({"note": note} if note else {})


def _note(calls: Sequence[Call]) -> str | None:
    """What a client should know of the rows as a whole."""
    assumed = Assumed()
    for place, call in enumerate(calls):
        assumed.observe(f"rows.{place}", [call])
    return assumed.line()


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
