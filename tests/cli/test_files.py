"""Files that cannot be read or written: each command names them in one line, with exit code 2."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.command import VLMRL, complains, run

LONG = "x" * 300
"""No file system takes a name of this length, whoever asks."""
RUN_EACH = """
import json, sys
from vlmrl.cli import main
for line in sys.stdin:
    print(main(json.loads(line)), flush=True)
"""
"""One process for many commands, each a line of standard input."""


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["data", "show", f"{LONG}.jsonl"], f"{LONG}.jsonl: cannot be read (File name too long)"),
        (["data", "build", "synthetic", "--out", f"{LONG}.jsonl"], f"{LONG}.jsonl: cannot write (File name too long)"),
        (["report", LONG], f"{LONG}/config.toml: File name too long"),
        (["data", "mix", "plan", "quickstart", "--out", "/dev/null"], "/dev/null: Not a directory"),
        (["data", "build", "synthetic", "--out", "/dev/null/x.jsonl"], "/dev/null/x.jsonl: cannot write ("),
    ],
)
def test_a_path_that_cannot_be_read_or_written(capsys, arguments, complaint) -> None:
    complains(run(capsys, *arguments), complaint)


@pytest.mark.parametrize("arguments", [["list", "verifiers"], ["data", "show", "rows.jsonl"]])
def test_an_output_that_takes_nothing_is_one_line(tmp_path, capsys, arguments) -> None:
    assert run(capsys, "data", "build", "synthetic", "--n", "1", "--out", tmp_path / "rows.jsonl").code == 0
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*VLMRL, *arguments], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, timeout=120)
    assert done.stderr == b"vlmrl: the system refuses: No space left on device\n"
    assert done.returncode == 2


def bound_by_permissions() -> list[str]:
    """What a command starts with for the permissions of files to bind it: root's right to pass them is dropped."""
    if os.geteuid() != 0:
        return []
    prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    if shutil.which("setpriv") is None or subprocess.run([*prefix, "true"], capture_output=True).returncode != 0:
        pytest.skip("root may read anything, and there is no setpriv that takes this right away")
    return prefix


def test_what_may_not_be_read_or_written_is_named(tmp_path, capsys) -> None:
    assert run(capsys, "data", "build", "synthetic", "--n", "1", "--out", tmp_path / "no.jsonl").code == 0
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
