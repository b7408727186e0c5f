"""README.md: its first run file trains, its first verifier passes the check; and no page links to nowhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PLANNED = ("settings.md", "python.md")
"""Pages that are linked before they are there; take a name out once its page has come."""
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def block(kind: str) -> str:
    """The first one of its kind."""
    found = re.search(rf"^```{kind}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def vlmrl(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "vlmrl.cli", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_run_file_trains(tmp_path) -> None:
    (tmp_path / "run.toml").write_text(block("toml"))
    flags = "--run.steps 1 --rollout.prompts 4 --rollout.group 2 --data.heldout []"
    vlmrl(tmp_path, "train", "run.toml", *flags.split())
    assert (tmp_path / "runs" / "first" / "report.html").is_file()


def test_the_verifier_passes_the_check(tmp_path) -> None:
    (tmp_path / "side.py").write_text(block("python"))
    assert "side: contract and probes hold" in vlmrl(tmp_path, "check", "side.py")


def links(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith("http")]


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if target.name in PLANNED and not target.exists():
            continue
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
