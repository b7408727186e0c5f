"""The English of docstrings, comments, messages and docs, as far as a test can check it."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for part in ("vlmrl", "verifiers", "data_recipes") for path in (ROOT / part).rglob("*.py"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

FRAGMENT = re.compile(r"Of ")
"""Write "Entropy of the policy.", not "Of the policy."."""
IS_NO = re.compile(r"(?<!there )\b(?:is|are) no (?!longer\b)[a-z]+", re.IGNORECASE)
"""Write "is not a file", not "is no file". Allowed are "there is no" and "is no longer"."""
COINED = re.compile(r"\bmend(?:s|ed|ing)?\b", re.IGNORECASE)
"""Write "fix"."""


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring, also of attributes."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value.strip()


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of all prose in a file: docstrings, messages and comments, or the lines of a page."""
    if path.suffix == ".md":
        yield from enumerate(path.read_text().splitlines(), 1)
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, " ".join(node.value.split())
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_docstring_is_a_fragment(path: Path) -> None:
    assert [f"{path.name}:{line}: {text[:60]}" for line, text in docstrings(path) if FRAGMENT.match(text)] == []


@pytest.mark.parametrize("path", [*SOURCES, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_the_words_are_those_of_a_native_writer(path: Path) -> None:
    matches = [
        (line, match[0]) for line, text in texts(path) for rule in (IS_NO, COINED) for match in rule.finditer(text)
    ]
    assert [f"{path.name}:{line}: {words}" for line, words in matches] == []
