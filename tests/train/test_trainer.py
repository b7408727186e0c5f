"""The whole loop on a miniature model: repeatable, resumable after a kill at any moment, and clear when refused."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from vlmrl.cli import main
from vlmrl.config.model import ModelSettings
from vlmrl.models.policy import Policy
from vlmrl.train import checkpoint

RUN = """
[run]
name = "x"
folder = "{runs}"
steps = 6
checkpoint_every = 2
sinks = ["jsonl"]

[model]
path = "{model}"
device = "cpu"

[data]
train = [{{ recipe = "synthetic", n = 12, sources = ["ocr", "grounding"] }}]
heldout = [{{ recipe = "synthetic", split = "heldout", n = 4, sources = ["ocr", "grounding"] }}]

[rollout]
prompts = 6
group = 4
max_new_tokens = 6

[learner]
learning_rate = 1e-3
warmup_steps = 0
updates_per_step = 2
"""


@pytest.fixture(scope="module")
def seeing_model(model_folder, tmp_path_factory) -> Path:
    """The miniature after a few supervised steps, so that some of its answers earn a reward."""
    folder = tmp_path_factory.mktemp("seeing")
    (folder / "sft.toml").write_text(
        RUN.format(runs=folder, model=model_folder("qwen2_5_vl")) + "\n[sft]\npatch_classes = 45\n"
    )
    flags = "--run.name sft --run.steps 60 --run.checkpoint_every 100 --rollout.prompts 16 --learner.learning_rate 3e-3"
    vlmrl("train", folder / "sft.toml", *flags.split(), "--data.heldout", "[]")
    latest = checkpoint.load_latest(folder / "sft" / "checkpoints")
    assert latest is not None
    policy = Policy.load(ModelSettings(path=str(model_folder("qwen2_5_vl")), device="cpu"))
    policy.load_state_dict(latest[1]["weights"])
    policy.save(folder / "seeing")  # in float32, which the run's own export is not
    return folder / "seeing"


@pytest.fixture(scope="module")
def run_file(tmp_path_factory, seeing_model) -> Path:
    folder = tmp_path_factory.mktemp("trainer")
    path = folder / "run.toml"
    path.write_text(RUN.format(runs=folder / "runs", model=seeing_model))
    return path


def command(*arguments: Any) -> list[str]:
    return [sys.executable, "-m", "vlmrl.cli", *map(str, arguments)]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}


def vlmrl(*arguments: Any, code: int = 0) -> str:
    """Runs the command as a user would; its standard error."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, env=environment())
    assert done.returncode == code, done.stderr
    return done.stderr


def metrics(folder: Path) -> list[dict[str, float]]:
    """All but the times."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if not k.startswith("seconds/")} for row in rows]


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def uninterrupted(run_file: Path) -> Path:
    vlmrl("train", run_file, "--run.name", "whole")
    return run_file.parent / "runs" / "whole"


def test_a_run_leaves_what_the_contract_says(uninterrupted: Path):
    summary = json.loads((uninterrupted / "summary.json").read_text())
    assert summary["steps"] == 6
    assert set(summary["sources"]) == {"ocr", "grounding"}
    for entry in (*summary["sources"].values(), summary["all"]):
        for when in ("before", "after"):
            assert set(entry[when]) == {"mean", "low", "high", "n"}
    assert summary["agreement"]["image"]["max"] < 1e-4
    assert {"rollout", "reward", "update", "sync", "eval"} <= set(summary["seconds"])
    rows = metrics(uninterrupted)
    assert [r["step"] for r in rows] == [0, 1, 2, 3, 4, 5, 6, 6]
    assert any(r.get("all/groups_updated", 0) > 0 for r in rows)
    assert len(list((uninterrupted / "rollouts").glob("*.parquet"))) == 6
    assert (uninterrupted / "report.html").stat().st_size > 10_000
    assert (uninterrupted / "config.toml").is_file()


def test_the_same_seed_gives_the_same_run_and_another_seed_another(uninterrupted: Path, run_file: Path):
    for name, seed in (("again", 0), ("other", 1)):
        vlmrl("train", run_file, "--run.name", name, "--run.seed", seed)
    runs = uninterrupted.parent
    assert metrics(uninterrupted) == metrics(runs / "again")
    assert weights(uninterrupted) == weights(runs / "again")
    assert metrics(uninterrupted) != metrics(runs / "other")


def test_a_killed_run_continues_as_if_it_had_not_been(uninterrupted: Path, run_file: Path):
    """SIGKILL at a random moment of a random step, twice, then to the end."""
    folder = run_file.parent / "runs" / "killed"
    chance = random.Random()
    for attempt, resume in enumerate(([], ["--resume"])):
        process = subprocess.Popen(
            command("train", run_file, "--run.name", "killed", *resume), stderr=subprocess.DEVNULL, env=environment()
        )
        target = 1 + 2 * attempt + chance.randrange(2)
        while process.poll() is None and steps_recorded(folder) < target:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
    for _ in range(2):  # one that has ended does so again
        vlmrl("train", run_file, "--run.name", "killed", "--resume")
    assert metrics(folder) == metrics(uninterrupted)
    assert weights(folder) == weights(uninterrupted)


def steps_recorded(folder: Path) -> int:
    try:
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        return max((json.loads(line)["step"] for line in lines), default=0)
    except (FileNotFoundError, json.JSONDecodeError):
        return 0


def test_ctrl_c_saves_and_the_run_goes_on(uninterrupted: Path, run_file: Path):
    folder = run_file.parent / "runs" / "stopped"
    process = subprocess.Popen(
        command("train", run_file, "--run.name", "stopped", "--run.checkpoint_every", "100"),
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    while process.poll() is None and steps_recorded(folder) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "add --resume to go on" in errors
    assert "Traceback" not in errors
    vlmrl("train", run_file, "--run.name", "stopped", "--resume")
    assert metrics(folder) == metrics(uninterrupted)
    assert weights(folder) == weights(uninterrupted)


def test_replayed_answers_train_too(run_file: Path, tmp_path: Path):
    from vlmrl import catalog

    samples = catalog.load("recipes", "synthetic").build(12, sources=["ocr", "grounding"])
    with (tmp_path / "canned.jsonl").open("w") as file:
        for sample in samples:
            file.write(json.dumps({"id": sample.id, "responses": [sample.demonstration, "?"]}) + "\n")
    flags = ["--rollout.engine", "replay", "--rollout.replay.path", tmp_path / "canned.jsonl"]
    flags += ["--rollout.max_new_tokens", "40"]
    vlmrl("train", run_file, *flags, "--run.name", "replayed", "--data.heldout", "[]")
    rows = metrics(run_file.parent / "runs" / "replayed")
    assert all(row["all/reward"] == pytest.approx(0.5, abs=0.05) for row in rows if "all/reward" in row)
    assert rows[-1]["all/entropy"] != rows[0]["all/entropy"]


def test_wrong_input_is_refused_in_one_line(run_file: Path, uninterrupted: Path, tmp_path: Path, capsys):
    def refused(message: str, *arguments: Any) -> None:
        assert main([str(a) for a in arguments]) == 2
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert line.startswith("vlmrl: ")
        assert message in line

    refused("already holds a run", "train", run_file, "--run.name", "whole")
    refused(
        "was started with run.seed = 0, not 5", "train", run_file, "--run.name", "whole", "--resume", "--run.seed", "5"
    )
    refused("did you mean 'steps'", "train", run_file, "--run.step", "3")
    refused("unknown engine 'vlm'; did you mean 'vllm'", "train", run_file, "--rollout.engine", "vlm")
    refused("unknown sampler 'unifrom'", "train", run_file, "--sampler.name", "unifrom")
    refused("cannot be loaded", "train", run_file, "--model.path", tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    refused("'bert' model, not a Qwen-VL one", "train", run_file, "--model.path", tmp_path)
    refused("no such file", "train", run_file, "--data.train", '["none.jsonl"]')
    refused("no parameter 'treshold'", "train", run_file, "--reward.schedules", "{dynamic_iou={treshold=[[0,0.5]]}}")


def test_a_dry_run_trains_nothing(run_file: Path):
    vlmrl("train", run_file, "--dry-run", "--run.name", "dry")
    assert not (run_file.parent / "runs" / "dry").exists()


def test_golden_loss_curve(run_file: Path, seeing_model: Path):
    """A refactor keeps the curve; `golden/loss.json` is rewritten on purpose, by deleting it and running this test."""
    vlmrl("train", run_file, "--run.name", "golden")
    rows = metrics(run_file.parent / "runs" / "golden")
    curve = [round(row["all/loss"], 9) for row in rows if "all/loss" in row]
    golden = Path(__file__).parents[1] / "golden" / "loss.json"
    if not golden.exists():
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(json.dumps(curve) + "\n")
        pytest.fail(f"{golden} was missing: written anew, look at it and commit it")
    assert curve == pytest.approx(json.loads(golden.read_text()), rel=1e-3, abs=1e-6)
