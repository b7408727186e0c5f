"""`vlmrl score`: in a pipe, with a reader that leaves, interrupted; in processes of their own, as a user runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from helpers.command import VLMRL, complains, run

ROW = b'{"id": 1, "verifier": "counting", "response": "3", "target": 3}\n'


def test_in_a_pipe() -> None:
    rows = [{"id": n, "verifier": "counting", "response": f"{n}", "target": 3} for n in range(5)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    done = subprocess.run([*VLMRL, "score", "-", "--workers", "1"], input=text, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""
    assert [json.loads(line)["score"] for line in done.stdout.splitlines()] == [0.0, 0.0, 0.0, 1.0, 0.0]


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    rows = ({"id": n, "verifier": "counting", "response": "3" * 100, "target": 3} for n in range(5000))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [*VLMRL, "score", str(tmp_path / "rows.jsonl"), "--workers", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 128 + signal.SIGPIPE


def test_ctrl_c_is_quiet_and_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with subprocess.Popen(
        [*VLMRL, "score", "-", "--out", str(out), "--workers", "1"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore it
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(ROW)
        process.stdin.flush()
        partial = tmp_path / ".out.jsonl.partial"
        while not partial.exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        assert process.stderr.read() == b""
    assert not out.exists()
    assert not partial.exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "required: FILE.jsonl"),
        (["none.jsonl"], "none.jsonl: no such file"),
        (["rows.jsonl", "--verifiers-path", "none"], "none: not a verifier file"),
        (["rows.jsonl", "--memory-mb", "-1"], "argument --memory-mb: expected"),
    ],
)
def test_wrong_input_is_refused(tmp_path, monkeypatch, capsys, arguments, complaint) -> None:
    monkeypatch.chdir(tmp_path)
    complains(run(capsys, "score", *arguments), complaint)
