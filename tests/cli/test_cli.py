"""The command: help, exit codes, one-line errors, pipes; in a process of its own, as a user runs it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vlmrl import catalog
from vlmrl.cli import main
from vlmrl.cli.arguments import split_overrides

VLMRL = [sys.executable, "-m", "vlmrl.cli"]
LONG = "x" * 300
"""No file system takes a name of this length, whoever asks."""
COMMANDS = ("train", "score", "data", "report", "list", "doctor")


def run(*arguments: str, stdin: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*VLMRL, *arguments], input=stdin, capture_output=True, text=True, cwd=cwd, timeout=120)


def test_help_teaches_every_command_by_example() -> None:
    done = run("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert f"vlmrl {command}" in done.stdout
        assert run(command, "--help").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "COMMAND"),
        (["trian"], "invalid choice: 'trian'"),
        (["list", "verifier"], "invalid choice: 'verifier'"),
        (["score", "none.jsonl"], "none.jsonl: no such file"),
        (["score", "a.jsonl", "--ot", "b"], "unrecognized arguments"),
        (["data", "convert", "a.jsonl", "--from", "llava", "--out", "b.jsonl"], "invalid choice: 'llava'"),
        (["train"], "RUN.toml"),
        (["train", "run.toml", "--learner.lr"], "--learner.lr: has no value"),
        (["data", "build", "synthetic", "--seed", "-5", "--out", "a.jsonl"], "whole number from 0, got '-5'"),
        (["data", "show", f"{LONG}.jsonl"], f"{LONG}.jsonl: cannot be read (File name too long)"),
        (["data", "build", "synthetic", "--out", f"{LONG}.jsonl"], f"{LONG}.jsonl: cannot write (File name too long)"),
        (["report", LONG], f"{LONG}/config.toml: File name too long"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_2(tmp_path, arguments, complaint) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stderr.startswith("vlmrl: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("kind", ["verifiers", "recipes", "engines", "samplers", "objectives", "hooks", "benchmarks"])
def test_list_is_plain_when_piped(kind) -> None:
    done = run("list", kind)
    assert done.returncode == 0
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [name for name, _ in rows] == catalog.names(kind)
    assert all(summary for _, summary in rows)


def test_score_in_a_pipe() -> None:
    rows = [{"id": n, "verifier": "counting", "response": f"{n}", "target": 3} for n in range(5)]
    done = run("score", "-", stdin="".join(json.dumps(row) + "\n" for row in rows))
    assert done.returncode == 0
    assert done.stderr == ""
    assert [json.loads(line)["score"] for line in done.stdout.splitlines()] == [0.0, 0.0, 0.0, 1.0, 0.0]


def test_a_reader_that_leaves_is_no_error(tmp_path) -> None:
    rows = ({"id": n, "verifier": "counting", "response": "3" * 100, "target": 3} for n in range(5000))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with subprocess.Popen(
        [*VLMRL, "score", str(tmp_path / "rows.jsonl")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 128 + signal.SIGPIPE


@pytest.mark.parametrize("arguments", [["list", "verifiers"], ["data", "show", "rows.jsonl"]])
def test_an_output_that_takes_nothing_is_one_line(tmp_path, arguments) -> None:
    assert main(["data", "build", "synthetic", "--n", "1", "--out", str(tmp_path / "rows.jsonl")]) == 0
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*VLMRL, *arguments], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, timeout=120)
    assert done.stderr == b"vlmrl: the system refuses: No space left on device\n"
    assert done.returncode == 2


RUN_EACH = """
import json, sys
from vlmrl.cli import main
for line in sys.stdin:
    print(main(json.loads(line)), flush=True)
"""
"""One process for many commands, each a line of standard input."""


def bound_by_permissions() -> list[str]:
    """What a command starts with for the permissions of files to bind it: root's right to pass them is dropped."""
    if os.geteuid() != 0:
        return []
    prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    if shutil.which("setpriv") is None or subprocess.run([*prefix, "true"], capture_output=True).returncode != 0:
        pytest.skip("root may read anything, and there is no setpriv that takes this right away")
    return prefix


def test_what_may_not_be_read_or_written_is_named(tmp_path) -> None:
    assert main(["data", "build", "synthetic", "--n", "1", "--out", str(tmp_path / "no.jsonl")]) == 0
    (tmp_path / "no.jsonl").chmod(0)
    (tmp_path / "no.toml").touch(mode=0)
    (tmp_path / "shut").mkdir(mode=0)
    unread = "cannot be read (Permission denied)"
    refusals = {
        "data check no.jsonl": f"no.jsonl: {unread}",
        "data show shut/d.jsonl": f"shut/d.jsonl: {unread}",
        "data convert no.jsonl --from trl --out o.jsonl": f"no.jsonl: {unread}",
        "data mix plan no.toml --out mix": f"no.toml: {unread}",
        "data build synthetic --n 1 --out shut/x.jsonl": "shut/x.jsonl: cannot write (Permission denied); nothing was",
        "score no.jsonl --workers 1 --out o.jsonl": f"no.jsonl: {unread}",
        "report shut": "shut/config.toml: Permission denied",
    }
    command = [*bound_by_permissions(), sys.executable, "-c", RUN_EACH]
    lines = "".join(json.dumps(line.split()) + "\n" for line in refusals)
    done = subprocess.run(command, input=lines, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    said = done.stderr.splitlines()
    assert len(said) == len(refusals), done.stderr
    for complaint, line in zip(refusals.values(), said, strict=True):
        assert line.startswith(f"vlmrl: {complaint}")
    assert [line for line in done.stdout.splitlines() if line.isdecimal()] == ["2"] * len(refusals)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["no.jsonl", "no.toml", "shut"]


def test_ctrl_c_is_quiet_and_leaves_nothing(tmp_path) -> None:
    out = tmp_path / "out.jsonl"
    with subprocess.Popen(
        [*VLMRL, "score", "-", "--out", str(out)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore it
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b'{"id": 1, "verifier": "counting", "response": "3", "target": 3}\n')
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


def test_doctor_names_what_would_run() -> None:
    done = run("doctor")
    assert done.returncode == 0
    for word in ("CPU", "memory", "disk", "GPU", "math-verify", "train", *catalog.names("engines")):
        assert word in done.stdout


def test_version_is_the_distributions() -> None:
    from importlib.metadata import version

    assert run("--version").stdout.strip() == f"vlmrl {version('vlmrl-toolkit')}"


def test_overrides_are_split_from_trains_own_arguments() -> None:
    arguments = ["train", "--a.b", "-1", "run.toml", "--c.d=x y", "over.toml", "--resume", "--e.f", "[1, 2]"]
    assert split_overrides(arguments) == (
        ["train", "run.toml", "over.toml", "--resume"],
        ["--a.b", "-1", "--c.d=x y", "--e.f", "[1, 2]"],
    )


def test_main_returns_the_code(capsys) -> None:
    assert main(["list", "verifiers"]) == 0
    assert "counting\t" in capsys.readouterr().out
