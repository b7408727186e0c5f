"""Verifiers of the user by path, reward functions above all: what is refused, what a function gets and may return."""

from __future__ import annotations

import importlib
import json
import math
import os
import subprocess
import sys

import pytest

from vlmrl import catalog, interop
from vlmrl.cli import main
from vlmrl.errors import UserError
from vlmrl.rewards.composite import Call, check_spec, run_calls, score
from vlmrl.rewards.workers import Workers
from vlmrl.sample import Message, RewardSpec, Sample
from vlmrl.verdict import Member, Verdict, verdict_from

REWARDS = '''
import sys, time
import numpy as np

def polite(response, target=None, **row):
    """Says please."""
    return "please" in response

def short(response, target, words=3):
    return min(1.0, words / len(response.split()))

def sees(response, target, meta, **row):
    assert meta["page"] == 7 and row["source"] == "letters" and row["messages"][0]["content"] == "Ask."
    return 1

def level(response, target, level):
    return level

def swears(response, target):
    return -1 if response == "damn" else 1 / 0

def hangs(response, target):
    while True: pass

def prints(response, target=None):
    print("a word that is no row")
    return 1.0

def completions_only(completions, **kwargs):
    return 1.0

def math(response, target):
    return 1.0

NOT_A_FUNCTION = 3
'''


@pytest.fixture
def path(tmp_path):
    """A file of reward functions; what becomes known of it is forgotten afterwards."""
    file = tmp_path / "rewards.py"
    file.write_text(REWARDS)
    before = dict(catalog._ADDED)
    yield str(file)
    catalog._ADDED.clear()
    catalog._ADDED.update(before)
    catalog.load.cache_clear()


def sample(**spec) -> Sample:
    turn = Message(role="user", content="Ask.")
    return Sample(id="1", source="letters", messages=(turn,), reward=(RewardSpec(**spec),), meta={"page": 7})


@pytest.mark.parametrize("value", [0, 1, 0.5, True, False])
def test_numbers_are_scores(value) -> None:
    assert verdict_from(value) == Verdict(float(value))


@pytest.mark.parametrize("value", ["0.5", math.nan, math.inf, 2.0, -0.1, [1.0], object(), 1j])
def test_nothing_else_is(value) -> None:
    with pytest.raises(ValueError, match="return a number from 0 to 1, None or a Verdict"):
        verdict_from(value)


def test_none_is_unscored_and_a_verdict_is_itself() -> None:
    assert verdict_from(None).score is None
    verdict = Verdict(0.5, parts={"tone": 0.1}, answer="x")
    assert verdict_from(verdict) is verdict


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("polit", "no function 'polit'; did you mean 'polite'?"),
        ("", r"rewards\.py:: not a function of"),
        ("NOT_A_FUNCTION", "no function 'NOT_A_FUNCTION'"),
        ("completions_only", r"takes \(completions, \*\*kwargs\); begin with \(response, target\)"),
        ("math", "there is a verifier 'math' already; rename the function"),
    ],
)
def test_what_is_no_reward_function_is_refused(path, name, says) -> None:
    for _ in range(2):  # a refused name is not taken
        with pytest.raises(UserError, match=says):
            catalog.add_verifiers(f"{path}:{name}")


def test_missing_files_and_taken_names(path, tmp_path) -> None:
    with pytest.raises(UserError, match=r"no such file .*nowhere\.py"):
        catalog.add_verifiers(tmp_path / "nowhere.py:polite")
    catalog.add_verifiers(path)
    with pytest.raises(UserError, match=r"name it: rewards\.py:FUNCTION"):
        catalog.load("verifiers", "rewards")
    other = tmp_path / "other.py"
    other.write_text(REWARDS)
    assert catalog.add_verifiers(f"{path}:polite", f"{path}:short") == ["polite", "short"]
    assert catalog.add_verifiers(f"{path}:polite") == ["polite"]
    with pytest.raises(UserError, match="there is a verifier 'polite' already"):
        catalog.add_verifiers(f"{other}:polite")


def test_an_edited_file_is_read_again(path) -> None:
    catalog.add_verifiers(f"{path}:short")
    assert score(sample(verifier="short", target=""), "one two three four").score == 0.75
    with open(path, "w") as file:
        file.write("def short(response, target, letters=2):\n    return 0.5\n")
    catalog.add_verifiers(f"{path}:short")
    assert catalog.parameters("short") == ("letters",)
    assert score(sample(verifier="short", target=""), "one two three four").score == 0.5


def test_what_a_function_receives(path) -> None:
    catalog.add_verifiers(*(f"{path}:{name}" for name in ("sees", "short", "level", "polite")))
    assert score(sample(verifier="sees", target=1), "x").score == 1.0
    assert score(sample(verifier="short", target=1, params={"words": 1}), "a b").score == 0.5
    assert not catalog.needs_target("polite")
    assert catalog.needs_target("short")
    check_spec(RewardSpec(verifier="sees", target=1, params={"anything": 1}))
    with pytest.raises(UserError, match=r"params\.word: unknown parameter of short; did you mean 'words'"):
        check_spec(RewardSpec(verifier="short", target=1, params={"word": 1}))
    with pytest.raises(UserError, match="missing a required argument: 'level'"):
        check_spec(RewardSpec(verifier="level", target=1))
    assert catalog.summary("verifiers", "polite") == "Says please."


def test_in_workers_every_failure_is_unscored(path) -> None:
    names = ("polite", "swears", "hangs", "short")
    catalog.add_verifiers(*(f"{path}:{name}" for name in names))
    calls = [Call(name, (Member("damn" if name == "swears" else "yes please"),), "", {}) for name in names]
    calls.append(Call("swears", (Member("oh"),), "", {}))
    with Workers(1, deadline=2.0) as workers:
        found = [(verdicts[0].score, verdicts[0].status) for verdicts in workers(calls)]
    assert found == [(1.0, "ok"), (None, "error"), (None, "timeout"), (1.0, "ok"), (None, "error")]
    (verdict,) = run_calls([calls[1]])[0]
    assert verdict.why == "swears failed: ValueError: returned -1; return a number from 0 to 1, None or a Verdict"


def test_a_function_rewards_another_trainer(path) -> None:
    catalog.add_verifiers(f"{path}:polite")
    reward = interop.trl("polite", run=run_calls)
    assert reward(prompts=["Ask."] * 2, completions=["please", "now"], completion_ids=[[1], [2]]) == [1.0, 0.0]


def test_commands_with_functions(path, tmp_path, capsys) -> None:
    assert main(["check", f"{path}:polite"]) == 0
    assert "polite: a reward function" in capsys.readouterr().out
    data = tmp_path / "data.jsonl"
    data.write_text(sample(verifier="short", target="x").model_dump_json() + "\n")
    assert main(["data", "check", str(data), "--verifiers-path", f"{path}:short"]) == 0
    assert main(["data", "check", str(data), "--verifiers-path", f"{path}:shorter"]) == 2
    assert "no function 'shorter'; did you mean 'short'" in capsys.readouterr().err


def test_scored_rows_hold_nothing_that_a_function_prints(path, tmp_path) -> None:
    rows = tmp_path / "rows.jsonl"
    names = ("prints", "polite")
    rows.write_text("".join(json.dumps({"id": n, "verifier": n, "response": "please"}) + "\n" for n in names))
    flags = [word for name in names for word in ("--verifiers-path", f"{path}:{name}")]
    done = subprocess.run(
        [sys.executable, "-m", "vlmrl.cli", "score", str(rows), "--workers", "1", *flags],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    assert [json.loads(line)["score"] for line in done.stdout.splitlines()] == [1.0, 1.0]
    assert "a word that is no row" in done.stderr


def test_a_verifier_file_from_before_the_folders_still_works(tmp_path, monkeypatch) -> None:
    """The guide of the first version had `from vlmrl import answers` and `from vlmrl.verdict import ...`."""
    monkeypatch.setattr(catalog, "_ADDED", {})
    (tmp_path / "earlier.py").write_text(
        "from vlmrl import answers\n"
        "from vlmrl.verdict import Example, Verdict, bad_target, unparsed\n"
        "EXAMPLES = [Example('<answer>up</answer>', 'up', 1.0)]\n"
        "def check_target(target): pass\n"
        "def gold(target): return target\n"
        "def verify(response, target):\n"
        "    return Verdict(float(answers.extract(response).text == target))\n"
    )
    assert catalog.add_verifiers(tmp_path / "earlier.py") == ["earlier"]
    assert catalog.load("verifiers", "earlier").verify("<answer>up</answer>", "up").score == 1.0
    catalog.load.cache_clear()


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        ("samplers", "def create(:", r"broken\.py: cannot be loaded \(SyntaxError"),
        ("hooks", "import no_such_module", r"broken\.py: cannot be loaded \(ModuleNotFoundError"),
        ("samplers", '"""A sampler."""', r"broken\.py: has no create; CONTRIBUTING\.md shows a whole sampler"),
        ("recipes", "SOURCES = ()", r"broken\.py: has no build"),
        ("objectives", '"""An objective."""', r"broken\.py: has no PRESET"),
    ],
)
def test_a_broken_file_of_a_registry_is_named(kind, text, says, tmp_path, monkeypatch) -> None:
    package = importlib.import_module(f"vlmrl.{catalog.FOLDERS[kind].replace('/', '.')}")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.setattr(catalog, "folder", lambda _: tmp_path)
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(UserError, match=says):
        catalog.load.__wrapped__(kind, "broken")
    sys.modules.pop(f"{package.__name__}.broken", None)


def test_a_file_with_the_name_of_a_preset_in_the_table_is_refused(tmp_path, monkeypatch) -> None:
    table = {"mine": {"settings": {}}}
    monkeypatch.setattr(catalog, "folder", lambda _: tmp_path)
    monkeypatch.setattr(catalog, "_presets", lambda _: table)
    (tmp_path / "mine.py").write_text("PRESET = {}")
    with pytest.raises(UserError, match=r"mine\.py: presets\.toml has 'mine' too"):
        catalog.load.__wrapped__("objectives", "mine")
