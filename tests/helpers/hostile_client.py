"""A client of the service that means harm: every request of it is refused, given up or answered, and hurts nobody."""

from __future__ import annotations

import json
import random
import socket
import threading
from contextlib import suppress
from typing import Any

import httpx

ROW = {"id": 1, "verifier": "counting", "response": "3", "target": 3}
CLIP = ROW | {"verifier": "clip_similarity", "target": {"goal": {"image": "/dev/zero"}, "baseline": "b"}}


def bodies(body_mb: int) -> list[bytes]:
    """What it sends, most of it as long as a body may be."""
    size = body_mb * 2**20 - 200

    def row(**fields: Any) -> bytes:
        return json.dumps({"rows": [ROW | fields]}).encode()

    def filled(target: bytes) -> bytes:
        return b'{"rows": [{"id": 1, "verifier": "counting", "response": "3", "target": [' + target + b"]}]}"

    return [
        json.dumps({"rows": [CLIP]}).encode(),
        json.dumps({"rows": [CLIP | {"params": {"model": "/etc"}}]}).encode(),
        row(response="1 " * (size // 2)),
        row(target="1" * size),
        row(response="\U0001f600" + "a" * (size // 2), verifier="exact", target="b"),
        row(verifier="x" * size),
        row(params={"x" * (size // 2): 1}),
        row(id="i" * size),
        row(verifier="string_f1", target="a b " * 200_000, response="b a " * 4000),
        row(verifier="ocr", target="ab" * 200_000, response="ba" * 9000, params={"metric": "edit"}),
        row(verifier="math", target="9^{9^{9^{9}}}", response="\\boxed{9^{9^{9^{9}}}}"),
        filled(b"[]," * (size // 3) + b"1"),
        filled(b"{}," * (size // 3) + b"1"),
        filled(b'{"a":1},' * (size // 8) + b"1"),
        filled(b"1," * (size // 2) + b"1"),
        *(filled(b"[" * depth + b"]" * depth) for depth in (300, 900, 100_000)),
        *(row(**{field: value}) for field in ROW for value in ([], {}, None, 7, [[1]], 1e308, "x", True)),
        b"[" * size,
        b"\xff" * 1000,
        b"",
        b'{"rows": [1e999, NaN, ' + b"9" * 10_000 + b"]}",
    ]


def attack(port: int, body_mb: int, over: threading.Event, seed: int) -> int:
    """Sends bodies whole, slowly or in part until it is over, and leaves at any time; returns how many."""
    rng = random.Random(seed)
    mine = bodies(body_mb)
    open_ones: list[socket.socket] = []
    sent = 0
    while not over.is_set():
        body = rng.choice(mine)
        sent += 1
        with suppress(OSError, httpx.TransportError):
            if rng.random() < 0.3:
                reply = httpx.post(f"http://127.0.0.1:{port}/judge", content=body, timeout=rng.choice([0.1, 2, 60]))
                assert reply.status_code in (200, 408, 413, 422, 429), reply.text[:200]
                continue
            connection = socket.create_connection(("127.0.0.1", port), timeout=1)
            open_ones.append(connection)
            head = f"POST /judge HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            part = rng.choice([0.0, 0.5, 0.99, 1.0])
            connection.sendall(head.encode() + body[: int(part * len(body))])
        if len(open_ones) > 40:
            open_ones.pop(rng.randrange(40)).close()
    for connection in open_ones:
        connection.close()
    return sent
