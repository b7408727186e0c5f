"""The way in from Python: settings become a run, a run trains, resumes and is evaluated, answers are judged."""

from __future__ import annotations

import sys

import pytest

import vlmrl
from vlmrl import Run, UserError, catalog, score, verifier

TINY = {
    "run": {"name": "x", "steps": 2, "sinks": ["jsonl"], "checkpoint_every": 1},
    "model.path": "tiny",
    "model.device": "cpu",
    "rollout": {"prompts": 2, "group": 2, "max_new_tokens": 8},
    "data.train": [{"recipe": "synthetic", "n": 4, "sources": ["counting"]}],
    "data.heldout": [{"recipe": "synthetic", "n": 3, "split": "heldout", "sources": ["counting", "ocr"]}],
}
REWARDS = """
def even(response, target, **row):
    return len(response) % 2 == 0

def broken(response, target):
    raise KeyError(target)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a file of reward functions, as the place where Python runs."""
    (tmp_path / "door_rewards.py").write_text(REWARDS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = dict(catalog._ADDED)
    yield tmp_path
    catalog._ADDED.clear()
    catalog._ADDED.update(before)
    catalog.load.cache_clear()
    sys.modules.pop("door_rewards", None)


def test_layers_by_name_path_and_setting(folder) -> None:
    (folder / "mine.toml").write_text("[run]\nsteps = 7\n[rollout]\ngroup = 5\n")
    settings = {"run": {"name": "a"}, "run.steps": 9, "run.seed": 3}
    config = Run.load("quickstart", folder / "mine.toml", settings, {"rollout.prompts": 6}).config
    assert (config.run.name, config.run.steps, config.run.seed) == ("a", 9, 3)
    assert (config.rollout.group, config.rollout.prompts, config.model.path) == (5, 6, "tiny")
    assert settings == {"run": {"name": "a"}, "run.steps": 9, "run.seed": 3}


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        (("quickstrat",), "no such run file; did you mean 'quickstart'"),
        (("quickstart", {"run.stepz": 3}), r"quickstart, settings: run\.stepz: unknown field; did you mean 'steps'"),
        (("quickstart", {"run.steps": "many"}), r"run\.steps: .*'many'"),
        (({"run": {"name": "x", "steps": 1}},), "data: missing"),
    ],
)
def test_wrong_settings_are_named(layers, says) -> None:
    with pytest.raises(UserError, match=says):
        Run.load(*layers)


def test_a_run_from_a_dict_trains_resumes_and_is_evaluated(folder) -> None:
    run = Run.load(TINY)
    before = run.evaluate()
    summary = run.train()
    trained = run.evaluate(run.folder / "model")
    assert trained == Run.load(TINY, {"model.path": str(run.folder / "model")}).evaluate()
    assert run.folder.resolve() == folder / "runs" / "x"
    assert summary["steps"] == 2
    for source, entry in (summary["sources"] | {"all": summary["all"]}).items():
        assert entry["before"] == before[source]["sampled"]
        assert entry["greedy"]["before"] == before[source]["greedy"]
        assert entry["after"]["n"] == trained[source]["sampled"]["n"]  # the folder holds bfloat16: answers may differ
    with pytest.raises(UserError, match="already holds a run"):
        run.train()
    assert run.train(resume=True)["sources"] == summary["sources"]


def test_evaluation_needs_data(folder) -> None:
    with pytest.raises(UserError, match=r"data\.heldout: is empty"):
        Run.load(TINY, {"data.heldout": []}).evaluate()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_function_is_the_reward_of_a_run(folder, workers) -> None:
    import door_rewards  # pyright: ignore[reportMissingImports]

    rows = [
        vlmrl.Sample(
            id=f"{name}{i}",
            source=name,
            messages=(vlmrl.Message(role="user", content=f"Say {i}."),),
            reward=(vlmrl.RewardSpec(verifier=name, target=i),),
        ).model_dump_json()
        for name in ("even", "broken")
        for i in range(2)
    ]
    (folder / "train.jsonl").write_text("\n".join(rows))
    data = {"data": {"train": ["train.jsonl"]}, "data.heldout": [], "rollout.prompts": 4, "reward.workers": workers}
    run = Run.load(TINY, data, verifiers=[door_rewards.even, "door_rewards.py:broken"])
    run.dry_run()
    run.train()
    stored = Run.load(run.folder / "config.toml")
    assert stored.config == run.config
    stored.train(resume=True)
    metrics = (run.folder / "metrics.jsonl").read_text()
    assert '"source/even/unscored": 0.0' in metrics
    assert '"source/broken/unscored": 1.0' in metrics
    assert "broken failed: KeyError" in (run.folder / "unscored.jsonl").read_text()


def test_functions_that_workers_cannot_import_are_refused() -> None:
    def local(response, target):
        return 1.0

    for function in (local, lambda response, target: 1.0, "x".startswith):
        with pytest.raises(UserError, match="write it at the top level of a file of its own"):
            verifier(function)


def test_a_verifier_is_a_function(folder) -> None:
    assert verifier("math")(r"\boxed{4}", "4").score == 1.0
    assert verifier("numeric")("4.1", 4, relative=0.1).score == 1.0
    assert verifier("door_rewards.py:even")("ab", None).score == 1.0
    assert verifier("door_rewards.py:broken")("ab", 3).why == "broken failed: KeyError: 3"
    with pytest.raises(UserError, match="unknown verifier 'maths'; did you mean 'math'"):
        verifier("maths")
    with pytest.raises(UserError, match="math: target: missing"):
        verifier("math")("4")
    with pytest.raises(UserError, match=r"params\.tol: unknown parameter of numeric"):
        verifier("numeric")("4", 4, tol=1)


def test_rows_are_judged_whole(folder) -> None:
    data_row = {
        "source": "s",
        "messages": [{"role": "user", "content": "2 + 2?"}],
        "reward": [{"verifier": "math", "target": "4", "weight": 3.0}, {"verifier": "even", "target": 0}],
        "response": "4",
    }
    rows = [data_row, {"verifier": "choice", "response": "(B)", "target": "B"}, data_row | {"response": "4."}]
    found = score(rows, verifiers=["door_rewards.py:even"], workers=1)
    assert [row["score"] for row in found] == [0.75, 1.0, 1.0]
    assert found[0]["parts"] == {"math": 1.0, "even": 0.0}
    assert found[1]["verifier"] == "choice"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"verifier": "math", "target": "4"}, "row 0: response: missing"),
        ({"verifier": "math", "response": "4"}, "row 0: target: missing"),
        ({"reward": [{"verifier": "math", "target": "4"}], "response": 4}, "row 0: response: expected text, got 4"),
        ({"reward": [{"verifier": "math", "target": "4"}], "response": "4"}, "row 0: source: missing"),
    ],
)
def test_a_wrong_row_is_named(row, says) -> None:
    with pytest.raises(UserError, match=says):
        score([row])
