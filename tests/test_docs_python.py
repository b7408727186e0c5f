"""docs/python.md, followed to the letter: its blocks run one after another, as the cells of a notebook would."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "python.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)[0].splitlines()
FIGURES = """
import json
print(json.dumps([before, after, Run.load("quickstart", {"run.name": "notebook"}).folder.name]))
"""


def python(folder: Path, *arguments: str) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def followed(tmp_path_factory) -> tuple[Path, str]:
    """The folder of a reader who ran every block, and what they printed."""
    folder = tmp_path_factory.mktemp("notebook")
    (rewards,) = (block for block in BLOCKS if block.startswith("# my_rewards.py\n"))
    (folder / "my_rewards.py").write_text(rewards)
    (folder / "page.py").write_text("\n".join(block for block in BLOCKS if block != rewards) + FIGURES)
    return folder, python(folder, "page.py")


def test_every_block_gives_what_it_says(followed) -> None:
    _, printed = followed
    assert "\n1.0 4\nmath 1.0 ok\nchoice 0.0 ok\n0.666" in printed
    before, after, _ = json.loads(printed.splitlines()[-1])
    for table in (before, after):
        assert {"all", "counting"} <= table.keys()
        assert table["counting"]["greedy"]["n"] == 4
        assert table["counting"]["sampled"].keys() >= {"mean", "low", "high", "n"}


def test_the_function_rewarded_the_run(followed) -> None:
    folder, _ = followed
    rows = [json.loads(line) for line in (folder / "runs" / "close" / "metrics.jsonl").read_text().splitlines()]
    assert [row["source/counting/unscored"] for row in rows if "all/loss" in row] == [0.0, 0.0]
    assert any(key.startswith("source/counting/") and "close" in key for key in rows[-1])


@pytest.mark.parametrize("name", ["score", "data"])
def test_the_commands_take_the_path(followed, name) -> None:
    folder, _ = followed
    (folder / "rows.jsonl").write_text('{"id": 1, "verifier": "close", "response": "4", "target": 4}\n')
    (line,) = (line.split() for line in COMMANDS if line.startswith(f"vlmrl {name}"))
    printed = python(folder, "-m", "vlmrl.cli", *line[1:])
    assert '"score": 1.0' in printed if name == "score" else "8 good rows" in printed
