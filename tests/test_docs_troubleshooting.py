"""docs/troubleshooting.md quotes messages that the toolkit can say, and links to what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
FOREIGN = ("command not found", "CUDA out of memory", "vlmrl train", "vlmrl score")
"""What a shell or torch says, and commands."""


def quoted() -> list[str]:
    """The messages of the page: quotations that hold a space, in the first column or on a line of their own."""
    first = [line.split(" | ")[0] for line in PAGE.splitlines() if line.startswith(("| ", "`"))]
    texts = [text for cell in first for text in re.findall(r"`([^`]+)`", cell.replace(r"\|", "|"))]
    return [text for text in texts if " " in text and not any(said in text for said in FOREIGN)]


@pytest.fixture(scope="module")
def code() -> str:
    """The library as one text, its broken messages joined, and what is filled in taken out."""
    files = (path.read_text() for part in ("vlmrl", "verifiers") for path in sorted((ROOT / part).rglob("*.py")))
    joined = re.sub(r'"\s*\n\s*f?"', "", "\n".join(files))
    return re.sub(r"\{[^{}\n\"]*\}", "...", joined).replace('\\"', '"')


def test_there_are_messages_to_check() -> None:
    assert len(quoted()) > 30


@pytest.mark.parametrize("message", quoted())
def test_the_toolkit_says_what_the_page_quotes(message: str, code: str) -> None:
    pieces = [piece.strip(" .:;,'") for piece in re.split(r"\.\.\.|;|\b\d+\b|<image>|media\.images", message)]
    for piece in pieces:
        assert piece in code, f"no message with {piece!r}"
