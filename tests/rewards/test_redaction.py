"""Secrets stay out of verdicts, messages and logs: real servers that repeat what they were sent."""

from __future__ import annotations

import base64
import json
import logging

import pytest
from helpers.chat_server import ChatServer, Raw, use

from vlmrl import catalog
from vlmrl.rewards.calls import Call, run_call
from vlmrl.rewards.endpoint import EndpointError, ask
from vlmrl.rewards.redaction import redact, without_login
from vlmrl.verdict import Member, Verdict

KEY = 'sk-A"b\\c/d+1234567890'
BASIC = base64.b64encode(b"me:pass/word").decode()


def leaks(text: str) -> bool:
    return any(part in text for part in ("1234567890", "pass/word", "pass%2Fword", BASIC))


@pytest.mark.parametrize("text", [
    f"wrong key {KEY}!", json.dumps({"sent": KEY}), repr([KEY]), "https://me:anything@host/v1", "x://token@host",
])  # fmt: skip
def test_every_spelling_of_a_secret_is_removed(monkeypatch, text: str) -> None:
    monkeypatch.setenv("SOME_API_KEY", KEY)
    clean = redact(text)
    assert "***" in clean
    assert "1234567890" not in clean
    assert "anything" not in clean
    assert "token@" not in clean


@pytest.mark.parametrize("text", ["EMPTY", "mail me@host.org", "http://host/a@b", "a: b // c@d"])
def test_other_text_stays(monkeypatch, text: str) -> None:
    monkeypatch.setenv("VLMRL_ENDPOINT_KEY", "EMPTY")
    assert redact(text) == text


def test_the_login_of_a_url_is_taken_out_of_it() -> None:
    assert without_login("http://me:pass%2Fword@host:80/v1") == ("http://host:80/v1", ("me", "pass/word"))
    assert without_login("http://host/a@b") == ("http://host/a@b", None)
    assert without_login("http://[") == ("http://[", None)
    assert not leaks(redact(f"Basic {BASIC} pass/word pass%2Fword"))


@pytest.mark.parametrize("status", [200, 401, 500])
def test_a_server_that_echoes_leaks_nothing(monkeypatch, caplog, tmp_path, status: int) -> None:
    caplog.set_level(logging.DEBUG)
    # The login is that of the URL; the first key is cut at the end of a long line.
    said = f"{'x' * 190} {KEY} Basic {BASIC} me:pass/word"
    with ChatServer(lambda *_: said + "\n1.0" if status == 200 else Raw(status, said)) as server:
        use(server, monkeypatch, key=KEY, retries=0, cache=tmp_path)
        monkeypatch.setenv("VLMRL_ENDPOINT_URL", server.url.replace("//", "//me:pass%2Fword@"))
        call = Call("judge", (Member("Lyon"),), {"question": "Which city?", "answer": "Paris"}, {})
        (verdict,) = run_call(call)
        assert server.headers[0]["Authorization"] == f"Basic {BASIC}"
    kept = "".join(file.read_text() for file in tmp_path.rglob("*.json"))
    assert verdict.status == ("ok" if status == 200 else "error")
    assert not leaks(str(verdict) + kept + caplog.text)


def test_a_url_that_is_none_shows_no_password(monkeypatch) -> None:
    monkeypatch.setenv("VLMRL_ENDPOINT_MODEL", "m")
    for url in ("ftp://me:pass%2Fword@host", "http://me:pass%2Fword@[::1/v1"):
        monkeypatch.setenv("VLMRL_ENDPOINT_URL", url)
        with pytest.raises(EndpointError) as error:
            ask("?")
        assert not leaks(str(error.value))


OWN = """
import os
from vlmrl.verdict import Verdict
RUNS = "thread"
EXAMPLES = []
def check_target(target): pass
def gold(target): return ""
def verify(response, target):
    key = os.environ["OTHER_TOKEN"]
    if response == "raise":
        raise ValueError(f"refused: {key}")
    return Verdict(0.5, parts={key: 1.0}, answer=key, why=f"sent {key}")
"""


@pytest.mark.parametrize("response", ["raise", "echo"])
def test_a_verifier_of_the_user_that_repeats_its_key(monkeypatch, tmp_path, response: str) -> None:
    monkeypatch.setenv("OTHER_TOKEN", KEY)
    (tmp_path / "echoing.py").write_text(OWN)
    catalog.add_verifiers(tmp_path)
    (verdict,) = run_call(Call("echoing", (Member(response),), 0, {}))
    del catalog._ADDED["echoing"]
    assert not leaks(str(verdict))
    if response == "echo":
        assert verdict == Verdict(0.5, parts={"***": 1.0}, answer="***", why="sent ***")
