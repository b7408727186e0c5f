"""The guide to adding a verifier, followed to the letter: its file, then its commands, outside the checkout."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

GUIDE = (Path(__file__).resolve().parents[1] / "CONTRIBUTING.md").read_text()
SECTION = GUIDE[GUIDE.index("### A verifier") : GUIDE.index("### A recipe")]
RUN = """
[run]
name = "x"
steps = 1
sinks = ["jsonl"]
[model]
path = "tiny"
device = "cpu"
[data]
train = ["train.jsonl"]
[rollout]
prompts = 2
group = 2
max_new_tokens = 4
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """What a reader of the guide has: the verifier in a folder, some rows, a data set and a run file."""
    folder = tmp_path_factory.mktemp("guide")
    (folder / "my_verifiers").mkdir()
    code = re.search(r"```python\n(.*?)```", SECTION, re.DOTALL)
    assert code
    (folder / "my_verifiers" / "direction.py").write_text(code[1])
    rows = re.findall(r'\{"id": 1.*?\}', SECTION)
    assert len(rows) == 1
    (folder / "rows.jsonl").write_text(rows[0] + "\n")
    reward = re.search(r'\[\{"verifier": "direction".*?\]', SECTION)
    assert reward
    sample = {"source": "arrows", "messages": [{"role": "user", "content": "where?"}], "reward": json.loads(reward[0])}
    (folder / "train.jsonl").write_text("".join(json.dumps({"id": f"{i}"} | sample) + "\n" for i in range(2)))
    (folder / "run.toml").write_text(RUN)
    return folder


def commands() -> dict[str, list[str]]:
    block = re.search(r"```bash\n(.*?)```", SECTION, re.DOTALL)
    assert block
    lines = [line.split() for line in block[1].splitlines()]
    assert all(line[0] == "vlmrl" for line in lines)
    return {line[1]: [sys.executable, "-m", "vlmrl.cli", *line[1:]] for line in lines}


def follow(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        commands()[name], cwd=folder, capture_output=True, text=True, env=environment, check=False, timeout=300
    )


def test_the_guide_shows_every_command_that_judges() -> None:
    assert list(commands()) == ["check", "score", "train", "serve"]


def test_check(workplace) -> None:
    done = follow("check", workplace)
    assert done.returncode == 0, done.stderr
    assert "direction: contract and probes hold" in done.stdout


def test_score(workplace) -> None:
    done = follow("score", workplace)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["score"] == 1.0


def test_train(workplace) -> None:
    done = follow("train", workplace)
    assert done.returncode == 0, done.stderr
    metrics = [json.loads(line) for line in (workplace / "runs" / "x" / "metrics.jsonl").read_text().splitlines()]
    assert metrics[0]["source/arrows/unscored"] == 0.0


def test_serve(workplace) -> None:
    command = [*commands()["serve"], "--port", "0"]
    with subprocess.Popen(command, cwd=workplace, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            address = re.search(r"http://\S+", process.stdout.readline())
            assert address
            row = json.loads((workplace / "rows.jsonl").read_text())
            reply = httpx.post(f"{address[0]}/judge", json={"rows": [row]}, timeout=60)
            assert reply.status_code == 200
            assert '"score":1.0' in reply.text.replace(" ", "")
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
