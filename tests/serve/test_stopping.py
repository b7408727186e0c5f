"""Stopping past the grace period: no traceback, no process left, whatever the clients and verifiers do."""

from __future__ import annotations

import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.service import Service, gone, serving

VERIFIER = '''
"""Takes for ever."""
import time
from vlmrl.verdict import Verdict
EXAMPLES = []
def check_target(target=None): pass
def gold(target=None): return ""
def verify(response, target=None):
    while response == "hang":
        time.sleep(0.1)
    return Verdict(0.5, answer=response * int(response.split()[1]) if "long" in response else response)
'''


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    (tmp_path / "endless.py").write_text(VERIFIER)
    (tmp_path / "endless_softly.py").write_text(VERIFIER.replace("EXAMPLES", 'RUNS = "thread"\nEXAMPLES'))
    return tmp_path


def asking(service: Service, verifier: str, replies: list[httpx.Response]) -> threading.Thread:
    row = {"id": 1, "verifier": verifier, "response": "hang", "target": 0}
    thread = threading.Thread(target=lambda: replies.append(service.post({"rows": [row] * 20})))
    thread.start()
    return thread


def connection(service: Service, start: bytes) -> socket.socket:
    opened = socket.create_connection(("127.0.0.1", int(service.port())))
    opened.sendall(start)
    return opened


def listens(service: Service) -> bool:
    try:
        return httpx.get(f"{service.url}/health").status_code == 200
    except httpx.ConnectError:
        return False


def judging(service: Service, count: int) -> None:
    while service.metrics()["vlmrl_rows_in_flight"] < count or len(service.judges()) < 2:
        time.sleep(0.05)


@pytest.mark.parametrize(("how", "grace"), [(signal.SIGTERM, 1), (signal.SIGINT, 7)])
def test_what_hangs_is_refused_in_one_line(endless: Path, how: int, grace: int) -> None:
    """With the longer period, the replies have begun."""
    head = b"POST /judge HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n[1,"
    replies: list[httpx.Response] = []
    with serving("--verifiers-path", endless, "--deadline", 600, "--grace", grace) as service:
        clients = [asking(service, name, replies) for name in ("endless", "endless_softly") for _ in range(3)]
        judging(service, 120)
        idle, slow = connection(service, b""), connection(service, head)
        family = service.family()
        assert service.stop(how) == 0
        for client in clients:
            client.join()
        assert gone(family)
        assert service.stderr() == ""
    assert {reply.json()["error"] for reply in replies} == {
        "the service was stopped before the verdicts; ask another one"
    }
    assert {reply.status_code for reply in replies} == {200 if reply.text.startswith(" ") else 500 for reply in replies}
    idle.close()
    slow.close()


def test_a_second_signal_ends_the_grace_period(endless: Path) -> None:
    replies: list[httpx.Response] = []
    with serving("--verifiers-path", endless, "--deadline", 600, "--grace", 500) as service:
        client = asking(service, "endless_softly", replies)
        while service.metrics()["vlmrl_rows_in_flight"] < 20:
            time.sleep(0.05)
        service.process.send_signal(signal.SIGINT)
        while listens(service):
            time.sleep(0.05)
        time.sleep(0.5)
        assert service.stop(signal.SIGINT) == 0
        client.join()
        assert service.stderr() == ""
    assert "was stopped" in replies[0].json()["error"]


def test_a_client_that_reads_nothing_is_cut_off(endless: Path) -> None:
    """Its reply is longer than what the system keeps on the way."""
    body: Any = b'{"rows": [' + b", ".join(
        [b'{"id": 1, "verifier": "endless", "response": "long 9999", "target": 0}'] * 400
    )
    head = f"POST /judge HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body) + 2}\r\n\r\n".encode()
    with serving("--verifiers-path", endless, "--grace", 1) as service:
        deaf = connection(service, head + body + b"]}")
        while service.metrics().get('vlmrl_verdicts_total{verifier="endless",status="ok"}', 0) < 400:
            time.sleep(0.05)
        family = service.family()
        assert service.stop() == 0
        assert gone(family)
        assert service.stderr() == ""
        deaf.close()


def test_a_stop_right_after_the_start_is_heard(endless: Path) -> None:
    with serving() as service:
        family = service.family()
        assert service.stop() == 0
        assert gone(family)
        assert service.stderr() == ""
