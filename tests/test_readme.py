"""README.md: its first run file trains, its first verifier passes the check, its list of folders is complete.

No page links to a file, or names a path of the library, that does not exist.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_architecture import HALL, HOUSE

from vlmrl import catalog

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def block(kind: str) -> str:
    """The first code block of this language in README.md."""
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


def test_the_table_of_models_is_that_of_the_families() -> None:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in README.splitlines() if line.startswith("| `")]
    said = {name: cells for first, *cells in rows if len(cells) == 4 for name in re.findall(r"`(\w+)`", first)}
    assert sorted(said) == catalog.names("families")
    for name, (takes, boxes, times, update) in said.items():
        family = catalog.load("families", name).FAMILY
        assert takes == ", ".join(family.modalities)
        assert boxes.startswith({"relative_1000": "per mille", "pixels": "pixels of"}[family.coords])
        assert (times, update) == (family.times, "forked" if family.recurrent else "packed")


def links(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith("http")]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def paths(page: Path) -> set[str]:
    """The paths below vlmrl/, tests/ and scripts/ that a page names; of `tests/train/test_<name>.py` the folder."""
    named = re.findall(r"(?<![\w./~-])(?:vlmrl|tests|scripts)/[\w./<>*-]*", page.read_text())
    return {re.sub(r"[^/]*[<*].*", "", path).rstrip(".") for path in named}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_that_a_page_names_exist(page: Path) -> None:
    assert [path for path in sorted(paths(page)) if not (ROOT / path).exists()] == []


def test_the_house_lists_every_folder_in_the_order_of_imports() -> None:
    house = README.partition("## The house")[2].partition("\n## ")[0]
    library, _, others = house.partition("\nverifiers/ ")
    assert re.findall(r"^  (\w+)/ ", library, re.MULTILINE) == list(HOUSE)
    assert re.findall(r"(\w+)\.py", library.partition("vlmrl/   ")[2].partition("reading/")[0]) == list(HALL)
    rows = others.partition("\ndata_recipes/")[0].splitlines()[1:]
    assert sorted(name for row in rows for name in row.split()[:-1]) == sorted(catalog.names("verifiers"))
    assert all((ROOT / name).is_dir() for name in ("verifiers", "data_recipes", "scripts", "tests", "docs"))
