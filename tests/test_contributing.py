"""The guide followed to the letter: a verifier outside the checkout, and one file each in a copy of the toolkit."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
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


# --- a sampler, an objective and a hook -----------------------------------------------------------------------

ROOT = Path(__file__).resolve().parents[1]
PLUGINS = {
    "A sampler": ("vlmrl/curriculum/samplers", "hardest"),
    "An objective": ("vlmrl/objectives", "capped"),
    "A hook": ("vlmrl/rollout/hooks", "drop_long"),
}
USED = """
[sampler]
name = "hardest"
hardest.others = 0.3
[objective]
preset = "capped"
capped.cap = 1.5
[rollout]
hooks = ["drop_long"]
drop_long.tokens = 3
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A copy of the toolkit with the three files of the guide, and no other edit."""
    tree = tmp_path_factory.mktemp("tree")
    for folder in ("vlmrl", "verifiers", "data_recipes"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for heading, (folder, name) in PLUGINS.items():
        section = GUIDE[GUIDE.index(f"### {heading}: `{folder}/<name>.py`") :]
        assert f"`{name}.py`" in section.partition("```python")[0]
        (tree / folder / f"{name}.py").write_text(section.partition("```python\n")[2].partition("```")[0])
    shared, _, rollout = RUN.replace("train.jsonl", str(tree / "train.jsonl")).partition("[rollout]\n")
    (tree / "run.toml").write_text(shared + USED + rollout)
    sample = {"source": "s", "messages": [{"role": "user", "content": "where?"}]}
    reward = [{"verifier": "ocr", "target": "left"}]
    rows = [json.dumps({"id": str(i)} | sample | {"reward": reward}) for i in range(4)]
    (tree / "train.jsonl").write_text("\n".join(rows) + "\n")
    return tree


def run_in(tree: Path, *arguments: str) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(tree)}
    command = [sys.executable, "-m", "vlmrl.cli", *arguments]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("kind", "name", "setting"),
    [
        ("samplers", "hardest", "sampler.hardest.others\tnumber > 0, <= 1\t0.1\tchance that another prompt is drawn"),
        ("objectives", "capped", "objective.capped.cap\tnumber > 0\t2.0\tlargest importance ratio"),
        ("hooks", "drop_long", "rollout.drop_long.tokens\tinteger > 0\t1024\ttokens above which an answer is too long"),
    ],
)
def test_one_file_is_listed_with_its_settings(tree: Path, kind: str, name: str, setting: str) -> None:
    assert name in [line.partition("\t")[0] for line in run_in(tree, "list", kind).splitlines()]
    assert setting in run_in(tree, "settings").splitlines()


def test_a_run_uses_all_three(tree: Path) -> None:
    run_in(tree, "train", "run.toml")
    stored = tomllib.loads((tree / "runs" / "x" / "config.toml").read_text())
    assert stored["sampler"]["hardest"] == {"up_to": 0.5, "others": 0.3}
    assert stored["objective"]["capped"] == {"cap": 1.5}
    assert stored["objective"]["loss"] == "capped"
    (row, *_) = [json.loads(line) for line in (tree / "runs" / "x" / "metrics.jsonl").read_text().splitlines()]
    assert row["hooks/dropped"] in (0, 1, 2)
