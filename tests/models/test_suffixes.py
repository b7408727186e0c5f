"""Names of tensors end in their shape; `vlmrl/models/__init__.py` says what each letter means."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from vlmrl import models

ROOT = Path(__file__).parents[2]
FILES = sorted(path for part in ("vlmrl", "verifiers", "data_recipes") for path in (ROOT / part).rglob("*.py"))
LEGEND = dict(re.findall(r"^    ([A-Z])   (\S.*)$", models.__doc__ or "", re.MULTILINE))
SUFFIX = re.compile(r"[a-z][a-z0-9_]*_([A-Z][A-Z0-9]*)")


def suffixes(path: Path) -> Iterator[str]:
    """The suffixes of all variables, arguments and attributes of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        name = getattr(node, "id", None) or getattr(node, "arg", None) or getattr(node, "attr", None)
        if isinstance(name, str) and (match := SUFFIX.fullmatch(name)):
            yield match[1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_letter_is_in_the_legend(path: Path) -> None:
    unknown = {suffix for suffix in suffixes(path) if set(re.sub(r"\d", "", suffix)) - LEGEND.keys()}
    assert not unknown, f"shape suffixes {sorted(unknown)}: add their letters to vlmrl/models/__init__.py"


def test_every_letter_of_the_legend_is_used() -> None:
    used = {letter for path in FILES for suffix in suffixes(path) for letter in suffix}
    docstrings = "".join(path.read_text() for path in FILES)
    assert len(LEGEND) > 10
    assert {
        letter for letter in LEGEND if letter not in used and not re.search(rf"\[[^\]]*\b{letter}\b", docstrings)
    } == set()
