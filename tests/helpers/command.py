"""The command `vlmrl`: run in this process, or in one of its own where the boundary itself is tested."""

from __future__ import annotations

import re
import shlex
import sys
from typing import NamedTuple

import pytest

from vlmrl.cli import main

VLMRL = [sys.executable, "-m", "vlmrl.cli"]


class Done(NamedTuple):
    """What a command left: its exit code, and the text of standard output and standard error."""

    code: int
    out: str
    err: str


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> Done:
    """Runs one command in this process; argparse exits by an exception, here as anywhere."""
    capsys.readouterr()
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as stop:
        code = int(stop.code or 0)
    return Done(code, *capsys.readouterr())


def command_lines(text: str) -> list[list[str]]:
    """The arguments of each command that a line of the text begins with, perhaps after variables it is given.

    A comment follows `#` or three spaces; what is behind a redirection, a pipe or `&&` belongs to no argument.
    """
    lines = re.findall(r"^ *(?:\w+=\S+(?: -\S+| rand| \d+\))* )*vlmrl (.*)", text.replace("\\\n", " "), re.MULTILINE)
    return [shlex.split(re.split(r"   | #| [<|>] | && ", line)[0]) for line in lines]


def complains(done: Done, *complaints: str) -> None:
    """Asserts that the user's input was refused, in one line that says so."""
    assert done.code == 2, done
    assert done.err.startswith("vlmrl: "), done.err
    assert done.err.count("\n") == 1, done.err
    for complaint in complaints:
        assert complaint in done.err
