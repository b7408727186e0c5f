"""Admission: what a body may take, and how slow ones give way to others."""

from __future__ import annotations

import json
import socket
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
from helpers import hostile_client
from helpers.service import Service, serving

from vlmrl.serve.admission import Refused, calls_from, memory_of


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving("--body-mb", 1) as running:
        yield running


def test_bodies_that_never_end_give_way(service) -> None:
    """Forty of them would take twenty times the room."""
    head = f"POST /judge HTTP/1.1\r\nHost: x\r\nContent-Length: {2**20}\r\n\r\n".encode()
    slow = []
    for _ in range(40):
        slow.append(socket.create_connection(("127.0.0.1", int(service.port())), timeout=30))
        slow[-1].sendall(head + b" " * (2**20 - 1))
        assert service.post({"rows": [hostile_client.ROW]}).json()["verdicts"][0][0]["score"] == 1.0
    assert slow[0].recv(12) == b"HTTP/1.1 408"
    for one in slow:
        one.close()
    while service.metrics()["vlmrl_body_bytes_in_flight"]:
        pass


@pytest.mark.parametrize("number", range(len(hostile_client.bodies(1))))
def test_a_hostile_body_is_refused_in_one_line_or_judged(service, number: int) -> None:
    reply = httpx.post(f"{service.url}/judge", content=hostile_client.bodies(1)[number], timeout=60)
    assert reply.status_code in (200, 413, 422)
    if reply.status_code != 200:
        assert len(reply.json()["error"]) <= 1000
        assert "\n" not in reply.json()["error"]
    assert service.stderr() == ""


def test_a_body_that_grows_when_it_is_parsed_is_refused(service) -> None:
    content = json.dumps({"rows": [hostile_client.ROW | {"target": [{}] * 200_000}]})
    reply = httpx.post(f"{service.url}/judge", content=content)
    assert reply.status_code == 413
    assert "bytes of memory in one request" in reply.json()["error"]


@pytest.mark.parametrize("body", hostile_client.bodies(1))
def test_the_memory_of_a_body_is_not_underestimated(body: bytes) -> None:
    with suppress(Refused):
        calls_from(body, 1000)  # loads the verifier
    tracemalloc.start()
    with suppress(Refused):
        calls_from(body, 1000)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < memory_of(body) + 100_000
