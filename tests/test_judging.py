"""Judging inside a run: what cannot be judged is counted, kept and never a zero; the policy answers questions."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vlmrl import Sample, catalog
from vlmrl.calls import score_file
from vlmrl.judging import Judge
from vlmrl.reward import run_calls
from vlmrl.rollout import Rollout
from vlmrl.settings import RewardSettings

SOMETIMES = '''
"""Half of all answers hang this verifier, for good."""
from vlmrl.verdict import Example, Verdict
EXAMPLES = [Example("ab", 1, 0.0), Example("a", "x", None)]
def check_target(target):
    if not isinstance(target, int): raise ValueError(f"target {target!r}")
def gold(target): return "a" * target
def verify(response, target):
    while sum(map(ord, response)) % 2: pass
    return Verdict(float(len(response) == target))
'''
ASKS = '''
"""Is the answer to a question, which the policy is asked, the right one?"""
from vlmrl.verdict import Example, Verdict
EXAMPLES = [Example("ab", 1, None)]
def check_target(target): pass
def gold(target): return "ab"
def question(response, target): return f"how long is {response}?" if response else None
def verify(response, target, reply=None):
    if reply is None: return Verdict(None, "error", why="nobody answered")
    return Verdict(float(reply == str(len(response))), answer=reply)
'''


@pytest.fixture
def own_verifiers(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "sometimes.py").write_text(SOMETIMES)
    (folder / "asks.py").write_text(ASKS)
    catalog.add_verifiers(folder)
    yield folder
    catalog._ADDED.clear()
    catalog.load.cache_clear()
    catalog.parameters.cache_clear()


def sample(verifier: str, number: int = 0) -> Sample:
    row = {"id": f"{verifier}-{number}", "source": verifier, "messages": [{"role": "user", "content": "?"}]}
    return Sample.model_validate(row | {"reward": [{"verifier": verifier, "target": 4}]})


def rollout(text: str) -> Rollout:
    return Rollout((1,) * len(text), (0.0,) * len(text), text, "stop", 0)


class TextPrompt:
    modality = "text"


def test_what_cannot_be_judged_is_kept_and_judged_again_by_score(own_verifiers, tmp_path, capfd) -> None:
    with_deadline = RewardSettings(workers=1, deadline=0.5)
    judge = Judge(with_deadline, None, tmp_path, lambda _: [])  # pyright: ignore[reportArgumentType]
    judge.step = 7
    groups = [[rollout("a" * n) for n in (2, 3, 4)], [rollout("aaab"), rollout("bbbb")]]
    samples = [sample("sometimes", 0), sample("sometimes", 1)]
    verdicts = judge.training(samples, [TextPrompt()] * 2, groups, 0.5)  # pyright: ignore[reportArgumentType]
    judge.close()
    assert [[v.score for v in group] for group in verdicts] == [[0.0, None, 1.0], [None, 1.0]]
    assert verdicts[0][1].status == "timeout"
    kept = [json.loads(line) for line in judge.path.read_text().splitlines()]
    assert [(row["id"], row["response"], row["step"], row["status"]) for row in kept] == [
        ("sometimes-0", "aaa", 7, "timeout"),
        ("sometimes-1", "aaab", 7, "timeout"),
    ]
    command = [sys.executable, "-m", "vlmrl.cli", "score", str(judge.path), "--verifiers-path", str(own_verifiers)]
    done = subprocess.run([*command, "--deadline", "0.5"], capture_output=True, text=True, check=True)
    again = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["status"], row["score"]) for row in again] == [("timeout", None)] * 2
    judge.truncate(6)
    assert judge.path.read_text() == ""


def test_a_verifier_may_ask_the_policy(own_verifiers, tmp_path) -> None:
    asked: list[str] = []

    def answer(questions) -> list[str]:
        asked.extend(q.messages[0].content for q in questions)
        return ["4"] * len(questions)

    judge = Judge(RewardSettings(workers=0), None, tmp_path, answer)  # pyright: ignore[reportArgumentType]
    groups = [[rollout("four"), rollout(""), rollout("other")]]
    verdicts = judge.training([sample("asks")], [TextPrompt()], groups, 0.5)  # pyright: ignore[reportArgumentType]
    assert asked == ["how long is four?", "how long is other?"]
    assert [(v.score, v.answer) for v in verdicts[0]] == [(1.0, "4"), (None, None), (0.0, "4")]


def test_group_rows_go_through_score(tmp_path) -> None:
    members = [{"response": "word " * n, "tokens": n, "score": 1.0} for n in (3, 9)]
    row = {"id": 1, "verifier": "brevity_bonus", "members": members, "params": {"least": 1}}
    source, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    source.write_text(json.dumps(row) + "\n")
    score_file(str(source), str(out), run_calls)
    verdicts = json.loads(out.read_text())["verdicts"]
    assert len(verdicts) == 2
    assert verdicts[0]["score"] > verdicts[1]["score"]


RUN = """
[run]
name = "x"
folder = "{folder}"
steps = 2
sinks = ["jsonl"]
[model]
path = "tiny"
device = "cpu"
[data]
train = ["{folder}/train.jsonl"]
[rollout]
prompts = 4
group = 4
max_new_tokens = 8
[reward]
workers = 2
deadline = 0.3
"""


def test_a_run_goes_on_without_the_answers_that_hang(own_verifiers, tmp_path) -> None:
    from vlmrl.cli import main

    assert main(["data", "build", "synthetic", "--n", "4", "--sources", "ocr", "--out", f"{tmp_path}/ocr.jsonl"]) == 0
    rows = [json.loads(line) for line in (tmp_path / "ocr.jsonl").read_text().splitlines()]
    for row in rows:
        row["reward"] = [{"verifier": "sometimes", "target": 4}]
        row["messages"] = row["messages"][:1]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "run.toml").write_text(RUN.format(folder=tmp_path))
    command = [sys.executable, "-m", "vlmrl.cli", "train", str(tmp_path / "run.toml")]
    done = subprocess.run([*command, "--verifiers-path", str(own_verifiers)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    metrics = [json.loads(line) for line in (tmp_path / "x" / "metrics.jsonl").read_text().splitlines()]
    shares = [row["source/ocr/unscored"] for row in metrics if "source/ocr/unscored" in row]
    assert len(shares) == 2
    assert 0 < max(shares) < 1
    kept = [json.loads(line) for line in (tmp_path / "x" / "unscored.jsonl").read_text().splitlines()]
    assert len(kept) == sum(round(share * 16) for share in shares)
    assert {row["status"] for row in kept} == {"timeout"}
    assert f"vlmrl score {Path(tmp_path, 'x', 'unscored.jsonl')}" in done.stderr
