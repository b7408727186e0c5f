"""The verifier service and its client: real servers in processes of their own, on free ports."""

from __future__ import annotations

import http.server
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from helpers import hostile_client
from helpers.command import complains, run
from helpers.replay_run import write_replay_run
from helpers.samples import prompt_sample
from helpers.service import TOKEN, VLMRL, Service, gone, serving

from vlmrl import catalog
from vlmrl.data.sample_files import write_samples
from vlmrl.errors import UserError
from vlmrl.rewards.calls import Call, run_calls
from vlmrl.serve import client, dispatch
from vlmrl.serve.client import Remote
from vlmrl.verdict import Member, Verdict

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "serve_verifiers.sh"
TALLY = '''
"""Tally: a score that depends on every character and is never 0; the response may ask for trouble."""
import os, time, zlib
from vlmrl.verdict import Example, Verdict
EXAMPLES = [Example("fine", 1, 0.5)]
def check_target(target): pass
def gold(target): return "fine"
def verify(response, target):
    if "loop" in response:
        while True: pass
    if "exit" in response:
        os._exit(3)
    if "sleep" in response:
        time.sleep(float(response.split()[1]))
    return Verdict((zlib.crc32(f"{response}/{target}".encode()) % 999 + 1) / 1000, answer=response)
'''

OPENER = '''
"""Opener: a verifier that would open what its target names."""
from vlmrl.verdict import Verdict
LOCAL = ("target.files.*.at", "target.url")
EXAMPLES = []
def check_target(target=None): pass
def gold(target=None): return ""
def verify(response, target=None):
    return Verdict(1.0)
'''


@pytest.fixture(scope="module")
def tally(tmp_path_factory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("verifiers") / "tally.py"
    path.write_text(TALLY)
    catalog.add_verifiers(path)
    yield path
    del catalog._ADDED["tally"]
    catalog.load.cache_clear()


def ask(response: str, target: int = 0) -> Call:
    return Call("tally", (Member(response),), target, {}, "x")


def rows(*responses: str) -> dict[str, Any]:
    return {"rows": [{"id": i, "verifier": "tally", "response": r, "target": 0} for i, r in enumerate(responses)]}


@pytest.fixture(scope="module")
def service(tally) -> Iterator[Service]:
    (tally.parent / "more").mkdir()
    (tally.parent / "more" / "opener.py").write_text(OPENER)
    options = ("--verifiers-path", tally, "--deadline", 1, "--rows", 200, "--body-mb", 1)
    options += ("--verifiers-path", tally.parent / "more")
    with serving(*options) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tally) -> Iterator[Service]:
    """One that others can reach, and that is soon full."""
    options = ("--host", "0.0.0.0", "--verifiers-path", tally, "--rows-in-flight", 4, "--rows", 4)
    with serving(*options, VLMRL_SERVICE_TOKEN=TOKEN) as running:
        running.url = f"http://127.0.0.1:{running.port()}"
        yield running


# --- judging ----------------------------------------------------------------------------------------------


def test_verdicts_are_those_of_this_process_and_in_order(service) -> None:
    group = tuple(Member("word " * n, tokens=n, score=1.0) for n in (300, 90, 2700))
    calls = [ask(f"answer {i}", i) for i in range(400)]
    calls[7] = Call("math", (Member(r"\boxed{\frac{1}{2}}"),), "0.5", {"tolerance": 1e-3})
    calls[8] = Call("brevity_bonus", group, None, {}, "g")
    calls[9] = Call("ocr", (Member("gr\u00fc\u00df \U0001f600\u2028 \ud800"),), "gr\u00fc\u00df", {"metric": "edit"})
    calls[10] = Call("counting", (Member("3"),), -1, {})
    with Remote([service.url]) as judge:
        assert judge(calls) == run_calls(calls)
        assert judge([]) == []


def test_a_hostile_answer_costs_its_own_verdict_only(service) -> None:
    calls = [ask({5: "loop", 11: "exit", 17: "loop"}.get(i, f"answer {i}")) for i in range(24)]
    with Remote([service.url]) as judge:
        found = [verdicts[0] for verdicts in judge(calls)]
    assert {i: v.status for i, v in enumerate(found) if v.score is None} == {5: "timeout", 11: "error", 17: "timeout"}
    assert [v for v in found if v.score is not None] == [
        run_calls([c])[0][0] for i, c in enumerate(calls) if i not in (5, 11, 17)
    ]


def test_the_reply_is_plain_json(service) -> None:
    reply = service.post({"rows": [{"id": 1, "verifier": "counting", "response": "3", "target": 3}]})
    assert reply.json() == {"verdicts": [[{"score": 1.0, "status": "ok", "parts": {}, "answer": "3", "why": ""}]]}


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"{", "body: not valid JSON"),
        (b"[" * 100_000, "body: not valid JSON"),
        (b"[]", 'body: expected {"rows": [...]}'),
        (rows("a") | {"expect": []}, "expect: expected an object"),
        ({"rows": [{"id": 1, "verifier": "tally", "response": "a", "target": 0}, 3]}, "rows.1: expected an object"),
        ({"rows": [{"id": 1, "verifier": "counting", "target": 3}]}, "rows.0: response: missing"),
        ({"rows": [{"id": 1, "verifier": "countin", "response": "", "target": 3}]}, "did you mean 'counting'?"),
        ({"rows": [{"id": 1, "verifier": "/etc/x.py", "response": "", "target": 3}]}, "unknown verifier"),
        (
            {"rows": [{"id": 1, "verifier": "counting", "response": "", "target": 3, "params": {"tolerances": 1}}]},
            "rows.0: params.tolerances: unknown parameter",
        ),
    ],
)
def test_a_bad_row_is_named(service, body, complaint) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = httpx.post(f"{service.url}/judge", content=content)
    assert reply.status_code == 422
    assert complaint in reply.json()["error"]
    assert "\n" not in reply.json()["error"]


CLIP = {"id": 1, "verifier": "clip_similarity", "response": "x", "target": {"goal": [1, 0], "baseline": [0, 1]}}


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"params": {"model": "/a/folder"}}, "params.model"),
        ({"params": {"model": "hub/id"}}, "params.model"),
        ({"params": {"model": ["/a"]}}, "params.model"),
        ({"target": {"goal": {"image": "/dev/zero"}, "baseline": "b"}}, "target.goal.image"),
        ({"target": {"goal": [1], "baseline": [0], "state": {"image": "data:,"}}}, "target.state.image"),
        ({"verifier": "opener", "target": {"files": [{"x": 1}, {"at": "a"}]}}, "target.files.1.at"),
        ({"verifier": "opener", "target": {"files": {"a\nb": {"at": "http://me:word@host"}}}}, "target.files.a b.at"),
        ({"verifier": "opener", "target": {"url": "http://host"}}, "target.url"),
    ],
)
def test_a_row_that_names_a_file_a_model_or_a_url_is_refused(service, fields, place) -> None:
    reply = service.post({"rows": [CLIP, CLIP | fields]})
    assert reply.status_code == 422
    line = reply.json()["error"]
    refused = (f"rows.1: {place}: names a file, a model or a URL", f"rows.1: {place}: expected text")
    assert line.startswith(refused)
    assert "word" not in line


def test_the_same_rows_without_names_are_judged(service) -> None:
    opener = {"id": 1, "verifier": "opener", "response": "a", "target": None}
    reply = service.post({"rows": [CLIP | {"response": "[1, 0]", "params": {"model": None}}, opener]})
    assert [verdicts[0]["score"] for verdicts in reply.json()["verdicts"]] == [1.0, 1.0]


def test_requests_are_bounded(service) -> None:
    too_many = service.post(rows(*["a"] * 201))
    too_long = service.post(rows("a" * 2**20))
    undeclared = httpx.post(f"{service.url}/judge", content=iter([b" " * 2**19] * 3))
    assert [reply.status_code for reply in (too_many, too_long, undeclared)] == [413, 413, 413]
    assert "send at most 200" in too_many.json()["error"]
    assert "longer than 1 MB" in too_long.json()["error"]
    assert service.metrics()["vlmrl_body_bytes_in_flight"] == 0


def test_the_client_sends_less_where_a_server_takes_less(service) -> None:
    group = Call("brevity_bonus", tuple(Member("a") for _ in range(201)), None, {})
    calls = [ask("a" * 300_000 + str(i)) for i in range(6)] + [ask("a" * 2**20), group]
    with Remote([service.url]) as judge:
        found = judge(calls)
    assert found[:6] == run_calls(calls[:6])
    assert [(v.score, v.status) for v in found[6]] == [(None, "error")]
    assert "longer than 1 MB" in found[6][0].why
    assert {(v.score, v.status) for v in found[7]} == {(None, "error")}
    assert len(found[7]) == 201


def test_health_and_verifiers(service) -> None:
    assert httpx.get(f"{service.url}/health").json()["status"] == "ok"
    about = httpx.get(f"{service.url}/verifiers").json()
    assert about["limits"]["rows"] == 200
    known = {entry["name"]: entry for entry in about["verifiers"]}
    assert known["tally"]["summary"].startswith("Tally: ")
    assert known["counting"]["params"] == {"tolerance": 0.0}
    assert known["brevity_bonus"]["group_level"]


def test_metrics_count_what_was_done(service) -> None:
    before = service.metrics()
    service.post(rows("a", "b", "exit"))
    service.post(rows())
    httpx.post(f"{service.url}/judge", content=b"{")
    after = service.metrics()
    grown = {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}
    assert grown['vlmrl_requests_total{path="/judge",code="200"}'] == 2
    assert grown['vlmrl_requests_total{path="/judge",code="422"}'] == 1
    assert grown['vlmrl_verdicts_total{verifier="tally",status="ok"}'] == 2
    assert grown['vlmrl_verdicts_total{verifier="tally",status="error"}'] == 1
    assert grown['vlmrl_judge_seconds_bucket{le="+Inf"}'] == grown["vlmrl_judge_seconds_count"] == 2
    assert after["vlmrl_rows_in_flight"] == 0


def test_what_is_in_flight_is_bounded(guarded, monkeypatch) -> None:
    monkeypatch.setenv("VLMRL_SERVICE_TOKEN", TOKEN)
    slow = threading.Thread(target=guarded.post, args=(rows(*["sleep 1.5"] * 4),))
    slow.start()
    while guarded.metrics()["vlmrl_rows_in_flight"] < 4:
        time.sleep(0.02)
    refused = guarded.post(rows("a"))
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    calls = [ask(f"answer {i}") for i in range(40)]
    with Remote([guarded.url]) as judge:
        assert judge(calls) == run_calls(calls)
    slow.join()


# --- soft verifiers, and clients that leave -----------------------------------------------------------------


@pytest.fixture
def soft_service(tally, tmp_path) -> Iterator[Service]:
    (tmp_path / "hanging.py").write_text(TALLY.replace("import os", 'RUNS = "thread"\nimport os'))
    options = ("--verifiers-path", tally, "--verifiers-path", tmp_path, "--deadline", 600, "--rows-in-flight", 400)
    with serving(*options) as running:
        yield running


def soft_rows(count: int) -> dict[str, Any]:
    return {"rows": [{"id": 1, "verifier": "hanging", "response": "sleep 900", "target": 0}] * count}


def asking(service: Service, body: dict[str, Any]) -> socket.socket:
    """A connection on which the rows were sent."""
    content = json.dumps(body).encode()
    connection = socket.create_connection(("127.0.0.1", int(service.port())), timeout=30)
    head = f"POST /judge HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
    connection.sendall(head.encode() + content)
    return connection


def rows_in_flight(service: Service, count: int) -> None:
    """Waits until there are so many."""
    until = time.monotonic() + 30
    while service.metrics()["vlmrl_rows_in_flight"] != count:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_soft_verifiers_that_hang_hold_back_no_rule(soft_service) -> None:
    waiting = [asking(soft_service, soft_rows(1)) for _ in range(80)]
    rows_in_flight(soft_service, 80)
    for i in range(10):
        reply = soft_service.post(rows(*(f"answer {i}/{j}" for j in range(30))))
        assert [verdicts[0]["status"] for verdicts in reply.json()["verdicts"]] == ["ok"] * 30
    refused = soft_service.post(soft_rows(21))
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert "80 rows of soft verifiers are in flight" in refused.json()["error"]
    for one in waiting:
        one.close()
    rows_in_flight(soft_service, 0)
    fine = soft_service.post({"rows": [soft_rows(1)["rows"][0] | {"response": "fine"}]})
    assert fine.json()["verdicts"][0][0]["answer"] == "fine"


@pytest.mark.parametrize("verifier", ["tally", "hanging"])
@pytest.mark.parametrize("begun", [False, True])
def test_a_client_that_leaves_frees_its_place(soft_service, verifier, begun) -> None:
    """Before the reply, and after its first space."""
    row = {"id": 1, "verifier": verifier, "response": "sleep 900", "target": 0}
    connection = asking(soft_service, {"rows": [row] * 90})
    rows_in_flight(soft_service, 90)
    said = b""
    while begun and not said.endswith(b"\r\n\r\n1\r\n \r\n"):
        said += connection.recv(1)
    connection.close()
    rows_in_flight(soft_service, 0)


# --- who may ask ------------------------------------------------------------------------------------------


def test_an_address_that_others_reach_needs_a_token() -> None:
    done = run_serve("--host", "0.0.0.0")
    assert (done.returncode, done.stdout) == (2, "")
    assert "set VLMRL_SERVICE_TOKEN" in done.stderr


def run_serve(*options: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "VLMRL_SERVICE_TOKEN"}
    return subprocess.run([*VLMRL, *options], capture_output=True, text=True, env=clean, timeout=60, check=False)


@pytest.mark.parametrize("token", ["   ", "\t", "two words", "s3cret\n", "gr\u00fc\u00df"])
def test_a_token_that_no_client_can_send_is_refused(token) -> None:
    environment = os.environ | {"VLMRL_SERVICE_TOKEN": token}
    done = subprocess.run([*VLMRL, "--port", "0"], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("vlmrl: VLMRL_SERVICE_TOKEN: ")
    assert len(done.stderr.splitlines()) == 1


def test_the_token_is_asked_for(guarded, monkeypatch) -> None:
    for given in ({}, {"Authorization": f"Bearer {TOKEN[:-1]}"}, {"Authorization": f"Bearer {TOKEN}\u00e9".encode()}):
        for method, path in (("POST", "judge"), ("GET", "verifiers"), ("GET", "metrics")):
            assert httpx.request(method, f"{guarded.url}/{path}", headers=given).status_code == 401
    assert httpx.get(f"{guarded.url}/health").status_code == 200
    with pytest.raises(UserError, match="HTTP 401: the bearer token is missing"):
        Remote([guarded.url])
    monkeypatch.setenv("VLMRL_SERVICE_TOKEN", TOKEN)
    with Remote([guarded.url]) as judge:
        assert judge([Call("counting", (Member("3"),), 3, {})])[0][0].score == 1.0


def test_other_verifiers_than_the_clients_are_refused(service, tally, monkeypatch) -> None:
    with Remote([service.url]) as judge:
        monkeypatch.setattr(dispatch, "fingerprint", lambda name: "another")
        with pytest.raises(UserError, match=r"verifier 'tally' of the service .* is not the client's"):
            judge([ask("a")])


def test_a_verifier_that_the_service_does_not_have(service, tmp_path) -> None:
    (tmp_path / "stranger.py").write_text(TALLY)
    catalog.add_verifiers(tmp_path)
    with Remote([service.url]) as judge, pytest.raises(UserError, match="unknown verifier 'stranger'"):
        judge([Call("stranger", (Member("a"),), 1, {})])
    del catalog._ADDED["stranger"]


def test_a_port_in_use_is_one_line(service) -> None:
    done = run_serve("--port", service.port())
    assert done.returncode == 2
    assert f"--port {service.port()}: cannot listen there" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_extra_is_named_where_it_is_missing() -> None:
    code = "import sys; sys.modules['uvicorn'] = None; from vlmrl.cli import main; sys.exit(main(['serve']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "uvicorn is not installed; pip install 'vlmrl-toolkit[serve]'" in done.stderr


# --- coming and going -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "how"), [(VLMRL, signal.SIGTERM), (("bash", str(SCRIPT)), signal.SIGTERM), (VLMRL, signal.SIGINT)]
)
def test_a_stop_finishes_what_is_in_flight_and_leaves_no_process(tally, command, how) -> None:
    """The answer takes longer than the silence that a client or proxy would bear."""
    with serving("--verifiers-path", tally, "--deadline", 20, command=command) as service:
        replies: list[httpx.Response] = []
        late = threading.Thread(target=lambda: replies.append(service.post(rows("a", "sleep 6"))))
        late.start()
        while service.metrics()["vlmrl_rows_in_flight"] < 2:
            time.sleep(0.02)
        family = service.family()
        assert service.stop(how) == 0
        late.join()
        assert [v[0]["answer"] for v in replies[0].json()["verdicts"]] == ["a", "sleep 6"]
        assert replies[0].text.startswith(" ")
        assert gone(family)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{service.url}/health")


def broken_off(service: Service, *responses: str) -> None:
    """A request that gets no verdicts."""
    with suppress(httpx.TransportError):
        reply = service.post(rows(*responses))
        assert "was stopped" in reply.json()["error"]
        assert reply.status_code == (200 if reply.text.startswith(" ") else 500)


def test_a_stop_does_not_wait_for_ever(tally) -> None:
    with serving("--verifiers-path", tally, "--deadline", 600, "--grace", 1) as service:
        asking = threading.Thread(target=broken_off, args=(service, *["loop"] * 30))
        asking.start()
        while service.metrics()["vlmrl_rows_in_flight"] < 30 or len(service.judges()) < 2:
            time.sleep(0.02)
        family = service.family()
        assert service.stop() == 0
        asking.join()
        assert gone(family)


def test_a_killed_server_is_left_out_and_leaves_no_process(service, tally, caplog) -> None:
    with serving("--verifiers-path", tally, "--deadline", 600) as lost:
        both = Remote([lost.url, service.url])
        alone = Remote([lost.url], seconds=2)
        hanging = threading.Thread(target=broken_off, args=(lost, "loop", "loop"))
        hanging.start()
        while lost.metrics()["vlmrl_rows_in_flight"] < 2 or len(lost.judges()) < 2:
            time.sleep(0.02)
        family = lost.family()
        threading.Timer(0.5, lost.process.kill).start()
        calls = [ask(f"answer {i}") for i in range(300)]
        assert both(calls) == run_calls(calls)
        hanging.join()
        assert lost.process.wait() == -signal.SIGKILL
        assert gone(family)
        assert both(calls) == run_calls(calls)
        assert len([r for r in caplog.records if lost.url in r.getMessage()]) == 1
        found = alone([ask("a"), ask("b")])
        assert [(v.score, v.status) for verdicts in found for v in verdicts] == [(None, "error")] * 2
        assert "no verdict in 2 s" in found[0][0].why
        assert "ConnectError" in found[0][0].why


def test_no_server_at_all_is_the_users_error(monkeypatch) -> None:
    monkeypatch.setattr(client, "START", 0.5)
    with pytest.raises(UserError, match=r"no server answers .*ConnectError"):
        Remote(["http://127.0.0.1:9"])
    for url, complaint in (("localhost:8765", "is not a URL"), ("http://[", "reward.servers")):
        with pytest.raises(UserError, match=complaint):
            Remote([url])


class Broken(http.server.BaseHTTPRequestHandler):
    """A server that meets its clients well and then fails as `mode` says, in turn."""

    modes: list[str] = []  # noqa: RUF012 - each test sets its own
    asked = 0

    def do_GET(self) -> None:
        self.answer(200, b"{}")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        mode = self.modes[type(self).asked % len(self.modes)]
        type(self).asked += 1
        if mode == "hang up":
            self.close_connection = True
        elif mode == "cut":
            self.answer(200, b'{"verdicts": [[{"sc', length=10_000)
            self.close_connection = True
        elif mode == "endless":
            self.answer(200, b" " * (client.LONGEST_REPLY + 2**20))
        elif mode.isdigit():
            self.answer(int(mode), b"sorry")
        else:
            self.answer(200, mode.encode())

    def answer(self, code: int, body: bytes, length: int | None = None) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def broken(monkeypatch) -> Iterator[str]:
    monkeypatch.setattr(dispatch, "LONGEST_PAUSE", 0.05)
    Broken.asked = 0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken)
    threading.Thread(target=server.serve_forever).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


ONE = '{"verdicts": [[{"score": 0.5, "status": "ok", "parts": {}, "answer": "a", "why": ""}]]}'


def test_failures_are_tried_again(broken, tally) -> None:
    Broken.modes = ["hang up", "503", "502", "503", "cut", "500", "429", "{}", ONE]
    with Remote([broken]) as judge:
        assert judge([ask("a")]) == [[Verdict(0.5, answer="a")]]
    assert Broken.asked == len(Broken.modes)


@pytest.mark.parametrize(
    "mode",
    [
        "500",
        "504",
        "hang up",
        "cut",
        "endless",
        "<html>",
        "[]",
        '{"verdicts": []}',
        ONE.replace("0.5", "7.0"),
        ONE.replace("0.5", "null"),
    ],
)
def test_what_always_fails_is_given_up_and_unscored(broken, tally, mode) -> None:
    Broken.modes = [mode]
    with Remote([broken]) as judge:
        (verdicts,) = judge([ask("a")])
    assert [(v.score, v.status) for v in verdicts] == [(None, "error")]
    assert "(5 tries)" in verdicts[0].why
    assert Broken.asked == 5


@pytest.mark.parametrize("code", ["400", "404", "301"])
def test_what_waiting_does_not_cure_is_the_users_error(broken, tally, code) -> None:
    Broken.modes = [code]
    with Remote([broken]) as judge, pytest.raises(UserError, match=f"reward.servers: .*HTTP {code}: sorry"):
        judge([ask("a")])


# --- training ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_is_judged_by_servers_as_by_itself(service, tmp_path) -> None:
    flags = {
        "run.folder": tmp_path,
        "run.steps": 2,
        "run.sinks": '["jsonl"]',
        "rollout.prompts": 4,
        "rollout.group": 4,
        "data.train": '[{ recipe = "synthetic", n = 8 }]',
        "data.heldout": '[{ recipe = "synthetic", split = "heldout", n = 2 }]',
    }
    metrics = []
    for where in ({"reward.workers": 0}, {"reward.servers": f'["{service.url}"]'}):
        name = next(iter(where)).replace(".", "-")
        options = [word for k, v in (flags | where | {"run.name": name}).items() for word in (f"--{k}", str(v))]
        command = [sys.executable, "-m", "vlmrl.cli", "train", "quickstart", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        metrics.append([{k: v for k, v in json.loads(x).items() if not k.startswith("seconds/")} for x in lines])
    assert metrics[0] == metrics[1]
    assert [row["step"] for row in metrics[0]] == [0, 1, 2, 2]
    judged = {name for name in service.metrics() if name.startswith("vlmrl_verdicts_total")}
    assert any('verifier="dynamic_iou"' in name for name in judged)


def test_the_password_of_a_server_is_in_no_file_of_a_run(service, tmp_path, model_folder, capsys) -> None:
    write_samples(tmp_path / "rows.jsonl", [prompt_sample(f"s{number}", "1?") for number in range(2)])
    sections = {"run": {"steps": 1}, "model": {"path": str(model_folder("qwen2_5_vl"))}}
    sections |= {"data": {"train": [str(tmp_path / "rows.jsonl")]}, "rollout": {"prompts": 2, "group": 2}}
    run_file = write_replay_run(tmp_path, {"s0": ["1", "2"], "s1": ["1", "2"]}, **sections)
    servers = json.dumps([service.url.replace("//", "//me:pass%2Fword@")])
    assert run(capsys, "train", run_file, "--reward.servers", servers).code == 0
    folder = tmp_path / "runs" / "x"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert folder / "config.toml" in files
    assert [path for path in files if b"pass%2Fword" in path.read_bytes() or b"pass/word" in path.read_bytes()] == []
    complains(run(capsys, "train", folder / "config.toml", "--resume"), "was stored without its password; give")
    assert run(capsys, "train", folder / "config.toml", "--resume", "--reward.servers", servers).code == 0


# --- load -------------------------------------------------------------------------------------------------


def load(seconds: float, tally: Path, hostile: bool = False) -> dict[str, Any]:
    """64 clients ask without pause, a worker is killed every second, the server restarted in the middle.

    `hostile`: instead of the restart, another client does all the harm it can, to the end and beyond it.
    Every answer is compared with what this process gives; the result is what happened, in numbers.
    """
    options = ("--verifiers-path", tally, "--deadline", 1, "--rows-in-flight", 1024, "--grace", 10)
    server = Service(*options)
    over = threading.Event()
    asked = [0] * 64
    unscored: list[Verdict] = []
    wrong: list[Any] = []

    def client(number: int) -> None:
        with Remote([server.url]) as judge:
            while not over.is_set():
                calls = [ask(f"answer {number}/{asked[number] + i}", i) for i in range(48)]
                calls[7] = ask("loop" if asked[number] == 0 and number % 16 == 0 else "sleep 0.01 x")
                found = judge(calls)
                for call, verdicts, expected in zip(calls, found, map(expect, calls), strict=True):
                    if [v.score for v in verdicts] == [None]:
                        unscored.extend(verdicts)
                    elif verdicts != expected:
                        wrong.append((call, verdicts))
                asked[number] += len(calls)

    clients = [threading.Thread(target=client, args=(number,)) for number in range(64)]
    for one in clients:
        one.start()
    attacks: list[int] = []
    attack_over = threading.Event()
    attacker = threading.Thread(
        target=lambda: attacks.append(hostile_client.attack(int(server.port()), 16, attack_over, seed=7))
    )
    if hostile:
        attacker.start()
    kills, restarted, most_mb = 0, 0.0, 0.0
    start = time.monotonic()
    try:
        while time.monotonic() - start < seconds or not all(asked):
            time.sleep(max(0.0, start + kills + 1.0 - time.monotonic()))
            most_mb = max(most_mb, psutil.Process(server.process.pid).memory_info().rss / 1e6)
            if not hostile and not restarted and time.monotonic() - start > seconds / 2:
                again = time.monotonic()
                assert server.stop() == 0
                server = Service(*options, "--port", server.port())
                restarted = time.monotonic() - again
            kills += 1
            with suppress(psutil.NoSuchProcess, IndexError):  # none may be left of the last one
                random.choice(server.judges()).kill()
    finally:
        over.set()
        for one in clients:
            one.join()
    refused = sum(count for name, count in server.metrics().items() if 'code="429"' in name)
    family = server.family()
    assert server.stop() == 0
    assert gone(family)
    attack_over.set()
    if hostile:
        attacker.join()
        assert server.stderr() == ""
    why = Counter(v.status for v in unscored)
    return {
        "rows": sum(asked), "fewest": min(asked), "wrong": wrong, "unscored": dict(why), "kills": kills,
        "attacks": sum(attacks), "most_mb": round(most_mb),
        "refused": refused, "restart_seconds": round(restarted, 1), "seconds": round(time.monotonic() - start, 1),
    }  # fmt: skip


def expect(call: Call) -> list[Verdict]:
    """What this process gives."""
    return [] if call.members[0].response == "loop" else run_calls([call])[0]


@pytest.mark.slow
def test_every_row_is_answered_once_in_order_and_none_becomes_zero(tally) -> None:
    happened = load(12.0, tally)
    assert happened["wrong"] == []
    assert happened["kills"] >= 5
    assert 4 <= sum(happened["unscored"].values()) <= 4 + happened["kills"]


@pytest.mark.slow
def test_a_hostile_client_costs_the_others_nothing(tally) -> None:
    happened = load(15.0, tally, hostile=True)
    assert happened["wrong"] == []
    assert happened["attacks"] >= 20
    assert 4 <= sum(happened["unscored"].values()) <= 4 + happened["kills"]
    assert happened["most_mb"] < 300
