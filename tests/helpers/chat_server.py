"""A chat completions server on loopback that replies as a test tells it to, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import Any, NamedTuple

import pytest


class Raw(NamedTuple):
    """A response that is no chat completion."""

    status: int
    body: str = ""
    headers: Mapping[str, str] = {}


@dataclass
class ChatServer:
    """`reply(prompt, number)` gives the text of the reply to the request of that number (from 0), or a `Raw`."""

    reply: Callable[[str, int], str | Raw]
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    @property
    def prompts(self) -> list[str]:
        return [request["messages"][0]["content"] for request in self.requests]

    def __enter__(self) -> ChatServer:
        lock, chat = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    number = len(chat.requests)
                    chat.requests.append(request)
                    chat.headers.append({"path": self.path} | dict(self.headers))
                    chat.times.append(monotonic())
                said = chat.reply(request["messages"][0]["content"], number)
                self._send(Raw(200, completion(said)) if isinstance(said, str) else said)

            def _send(self, raw: Raw) -> None:
                body = raw.body.encode()
                self.send_response(raw.status)
                for name, value in ({"Content-Length": str(len(body))} | dict(raw.headers)).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None: ...

        class Server(ThreadingHTTPServer):
            request_queue_size = 64

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def completion(text: str | None, finish: str = "stop", tokens: int = 10) -> str:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return json.dumps({"choices": [choice], "usage": {"total_tokens": tokens}})


def use(server: ChatServer, monkeypatch: pytest.MonkeyPatch, **settings: object) -> None:
    """Points the endpoint at the server; settings are the ends of the variables' names, in lower case."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("vlmrl.rewards.endpoint.FIRST_WAIT", 0.001)
    for name, value in ({"url": server.url, "model": "tiny"} | settings).items():
        monkeypatch.setenv(f"VLMRL_ENDPOINT_{name.upper()}", str(value))


def switch_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the endpoint unset, whatever the shell has."""
    monkeypatch.delenv("VLMRL_ENDPOINT_URL", raising=False)
