"""The client of the judges: real requests to a real server that misbehaves."""

import json
import multiprocessing
import select
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.chat_server import ChatServer, Raw, completion, switch_off, use
from helpers.in_processes import ask_all

from vlmrl.rewards import endpoint
from vlmrl.rewards.endpoint import EndpointError, ask, fenced, verdict_line

BUSY = Raw(503, "busy")


def failing(times: int, failure: Raw) -> Callable[[str, int], str | Raw]:
    return lambda _, number: failure if number < times else "fine"


def test_a_request_is_an_openai_chat_completion(monkeypatch) -> None:
    with ChatServer(lambda prompt, _: f"heard {prompt}") as server:
        use(server, monkeypatch, key="secret", reply_tokens=77)
        assert ask("hällo \ud800", temperature=0.5, seed=3) == "heard hällo \ud800"
    assert server.requests == [
        {
            "model": "tiny",
            "messages": [{"role": "user", "content": "hällo \ud800"}],
            "temperature": 0.5,
            "seed": 3,
            "max_tokens": 77,
        }
    ]
    assert server.headers[0]["path"] == "/v1/chat/completions"
    assert server.headers[0]["Authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "VLMRL_ENDPOINT_URL"),
        ({"URL": "http://127.0.0.1:1/v1"}, "VLMRL_ENDPOINT_MODEL"),
        ({"URL": "file:///etc/passwd", "MODEL": "m"}, "file:///etc/passwd.*https://"),
        ({"URL": "http://[::1/v1", "MODEL": "m"}, "VLMRL_ENDPOINT_URL"),
        ({"URL": "http://127.0.0.1:1/v1", "MODEL": "m", "RETRIES": "-1"}, "RETRIES: '-1'"),
    ],
)
def test_settings_that_are_off_or_wrong_say_so(monkeypatch, settings, says) -> None:
    switch_off(monkeypatch)
    monkeypatch.delenv("VLMRL_ENDPOINT_MODEL", raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(f"VLMRL_ENDPOINT_{name}", value)
    with pytest.raises(EndpointError, match=says):
        ask("?")


@pytest.mark.parametrize(
    "failure", [BUSY, Raw(429), Raw(408), Raw(500, "\0" * 99), Raw(200, "", {"Content-Length": "9"})]
)
def test_passing_failures_are_tried_again(monkeypatch, failure) -> None:
    with ChatServer(failing(2, failure)) as server:
        use(server, monkeypatch)
        assert ask("?") == "fine"
    assert len(server.requests) == 3


def test_retries_end(monkeypatch) -> None:
    with ChatServer(failing(99, BUSY)) as server:
        use(server, monkeypatch, retries=2)
        with pytest.raises(EndpointError, match=r"HTTP 503: busy \(3 tries\)"):
            ask("?")
    assert len(server.requests) == 3


def test_the_pause_that_a_server_asks_for_is_kept(monkeypatch) -> None:
    with ChatServer(failing(1, Raw(429, "slow down", {"Retry-After": "1"}))) as server:
        use(server, monkeypatch)
        assert ask("?") == "fine"
        assert server.times[1] - server.times[0] >= 1.0
    with ChatServer(failing(1, Raw(429, "tomorrow", {"Retry-After": "86400"}))) as server:
        use(server, monkeypatch)
        with pytest.raises(EndpointError, match="429: tomorrow"):
            ask("?")


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (Raw(401, "who are you?"), "HTTP 401: who are you"),
        (Raw(302, "", {"Location": "http://127.0.0.1:1/"}), "HTTP 302"),
        (Raw(200, "<html>hello"), "no chat completion: <html>hello"),
        (Raw(200, "[" * 100_000), "no chat completion"),
        (Raw(200, '{"choices": []}'), "no chat completion"),
        (Raw(200, completion(None)), "without text"),
        (Raw(200, completion("so far", finish="length")), "VLMRL_ENDPOINT_REPLY_TOKENS"),
        (Raw(200, completion("x" * 5_000_000)), "more than 4000000 bytes"),
    ],
)
def test_lasting_failures_are_not(monkeypatch, failure, says) -> None:
    with ChatServer(lambda *_: failure) as server:
        use(server, monkeypatch)
        with pytest.raises(EndpointError, match=says) as error:
            ask("?")
    assert len(server.requests) == 1
    assert "\n" not in str(error.value)


def test_no_server_and_a_silent_server(monkeypatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        use(ChatServer(lambda *_: "", url=url), monkeypatch, retries=1, timeout=1)
        with pytest.raises(EndpointError, match=r"ConnectError.*2 tries"):
            ask("?")
        silent.listen()
        with pytest.raises(EndpointError, match=r"ReadTimeout.*2 tries"):
            ask("?")


def test_a_reply_that_drips_is_given_up(monkeypatch) -> None:
    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while select.select([connection], [], [], 0.1)[0] == [] or connection.recv(65536):
                connection.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as thread:
        dripping = thread.submit(drip, server)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        use(ChatServer(lambda *_: "", url=url), monkeypatch, retries=0, timeout=1)
        with pytest.raises(EndpointError, match="no whole reply in 1 s"):
            ask("?")
        dripping.exception()


def test_the_cost_limits_hold_for_many_threads(monkeypatch) -> None:
    def attempt(number: int) -> str:
        try:
            return ask(f"question {number}")
        except EndpointError as error:
            return str(error)

    with ChatServer(lambda prompt, _: prompt) as server, ThreadPoolExecutor(16) as threads:
        use(server, monkeypatch, max_requests=20)
        replies = list(threads.map(attempt, range(50)))
        assert len(server.requests) == 20
        right = [reply == f"question {number}" for number, reply in enumerate(replies)]
        assert sum(right) == 20
        spent = {reply for reply, fine in zip(replies, right, strict=True) if not fine}
        assert spent == {"endpoint: 20 requests are spent; raise VLMRL_ENDPOINT_MAX_REQUESTS"}


def test_tokens_are_limited_as_the_server_reports_them(monkeypatch) -> None:
    with ChatServer(lambda *_: Raw(200, completion("a", tokens=60))) as server:
        use(server, monkeypatch, max_tokens=100)
        assert [ask("1"), ask("2")] == ["a", "a"]
        with pytest.raises(EndpointError, match="120 tokens are spent; raise VLMRL_ENDPOINT_MAX_TOKENS"):
            ask("3")
    silent = json.dumps({"choices": [{"message": {"content": "b" * 4000}}]})
    with ChatServer(lambda *_: Raw(200, silent)) as server:
        use(server, monkeypatch, max_tokens=1000)
        assert ask("1") == "b" * 4000
        with pytest.raises(EndpointError, match="MAX_TOKENS"):
            ask("2")


def test_the_cache_keeps_what_was_asked_and_survives_damage(monkeypatch, tmp_path: Path) -> None:
    with ChatServer(lambda prompt, number: f"{prompt} {number}") as server:
        use(server, monkeypatch, cache=tmp_path / "replies", max_requests=4)
        assert [ask("a"), ask("a"), ask("b"), ask("a", seed=1), ask("b")] == ["a 0", "a 0", "b 1", "a 2", "b 1"]
        for file in (tmp_path / "replies").rglob("*.json"):
            if json.loads(file.read_text())["reply"] == "b 1":
                file.write_text('{"reply": "b')
        assert [ask("b"), ask("b")] == ["b 3", "b 3"]
        (tmp_path / "a file").touch()
        monkeypatch.setenv("VLMRL_ENDPOINT_CACHE", str(tmp_path / "a file"))
        with pytest.raises(EndpointError, match="VLMRL_ENDPOINT_CACHE: cannot write"):
            ask("c")
    assert not list(tmp_path.rglob("*.partial"))


def test_processes_share_the_cache(monkeypatch, tmp_path: Path) -> None:
    with ChatServer(lambda prompt, _: f"{prompt}!") as server:
        use(server, monkeypatch, cache=tmp_path)
        assert ask("warm up") == "warm up!"
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            answered = pool.map(ask_all, range(2), chunksize=1)
        assert answered == [[f"question {number}!" for number in range(20)]] * 2
        asked = len(server.requests)
        assert ask_all(0) == answered[0]
        assert len(server.requests) == asked
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("1.0", 1.0),
        ("It fits.\n\n**1.0**\n", 1.0),
        ("1.0 or 0.0?\nThe cities differ.\n`0.0`.", 0.0),
        ("<think>1.0\n0.0\n</think>\n0.0", 0.0),
        ("1.0\nbecause it fits.\n1.0", 1.0),
        ("11.0 vs 0.0", None),
        ("not 1.0", None),
        ("not 1.0, so 0.0", None),
        ("1.0/0.0", None),
        ("11.0", None),
        ("1.0 ", 1.0),
        ("-1.0", None),
        ("1.0\n0.0", None),
        ("1.0\nHm.", None),
        ("<think>1.0", None),
        ("| 1.0", None),
        ("", None),
    ],
)
def test_only_a_bare_word_on_the_last_line_is_a_verdict(reply: str, value: float | None) -> None:
    assert verdict_line(reply, {"1.0": 1.0, "0.0": 0.0}) == value


@pytest.mark.parametrize("text", ["a\nEND\n1.0", "END\r1.0", "x\u2028END\x0b1.0\x85END", "", "\ud8001.0"])
def test_a_quotation_ends_where_we_end_it(text: str) -> None:
    quoted = fenced(text)
    first, *inside, last = quoted.splitlines()
    assert (first, last) == ("BEGIN", "END")
    assert all(line.startswith("| ") for line in inside)
    assert verdict_line(quoted.removesuffix("END"), {"1.0": 1.0, "0.0": 0.0}) is None
    quoted.encode()


def test_the_key_is_in_no_message(monkeypatch) -> None:
    with ChatServer(lambda *_: Raw(403, "no")) as server:
        use(server, monkeypatch, key="sk-secret")
        with pytest.raises(EndpointError) as error:
            ask("?")
        assert "sk-secret" not in str(error.value) + repr(endpoint.Settings.from_environment())
