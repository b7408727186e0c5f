"""Every `vlmrl ...` command that the documents show in a fenced block is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from helpers.command import command_lines

from vlmrl.cli import parse

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SHOWN = [
    (document.name, shlex.join(line))
    for document in DOCUMENTS
    for block in re.findall(r"^```\w*\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)
    for line in command_lines(block)
]


def test_the_documents_show_the_common_commands() -> None:
    """So that a change of their form does not leave the next test without a case."""
    shown = {line.split()[0] for _, line in SHOWN}
    assert {"train", "score", "check", "data", "serve", "bench"} <= shown


@pytest.mark.parametrize(("document", "line"), SHOWN)
def test_a_command_in_the_documents_is_valid(document, line) -> None:
    assert callable(parse(shlex.split(line)).run)
