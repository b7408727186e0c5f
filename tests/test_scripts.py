"""The scripts, as a user runs them: real processes, with a miniature model in the place of the large one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlmrl import catalog
from vlmrl.config.run_file import load_run

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "scripts"
TRAINING = ("train_qwen2_5_vl_3b", "train_qwen2_5_vl_7b")
SMALL = {
    "model.device": "cpu",
    "rollout.engine": "hf",
    "rollout.prompts": "2",
    "rollout.group": "2",
    "rollout.max_new_tokens": "8",
    "learner.updates_per_step": "1",
    "run.steps": "2",
}


def run(script: str, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a script with the packages that run this test; nothing is installed."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    clean = {name: value for name, value in os.environ.items() if name not in ("DATA", "HELDOUT")}
    return subprocess.run(
        ["bash", str(SCRIPTS / f"{script}.sh"), *arguments],
        cwd=cwd,
        env=clean | {"PATH": path, "VLMRL_SETUP": "skip", "HF_HUB_OFFLINE": "1"} | environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def easyr1_rows() -> list[dict[str, Any]]:
    """Rows in EasyR1's layout: counting questions about synthetic images."""
    samples = catalog.load("recipes", "synthetic").build(6, sources=["counting"])
    return [
        {
            "problem": sample.messages[-1].content,
            "answer": str(sample.reward[0].target),
            "images": [{"bytes": sample.media.images[0].read(), "path": None}],
        }
        for sample in samples
    ]


@pytest.fixture(scope="module")
def easyr1(easyr1_rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("easy r1") / "train.parquet"
    pq.write_table(pa.Table.from_pylist(easyr1_rows), path)
    return str(path)


@pytest.fixture(scope="module")
def miniature(model_folder: Callable[[str], Path]) -> str:
    return str(model_folder("qwen2_5_vl"))


@pytest.mark.slow
@pytest.mark.parametrize("script", TRAINING)
def test_a_training_script_trains(script: str, easyr1: str, miniature: str, tmp_path: Path) -> None:
    heldout = {"HELDOUT": easyr1} if script.endswith("3b") else {}
    flags = [f"--{setting}={value}" for setting, value in SMALL.items()]
    done = run(script, "--model.path", miniature, *flags, cwd=tmp_path, DATA=easyr1, **heldout)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / script.removeprefix("train_")
    steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert {1, 2} <= {row["step"] for row in steps}
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["steps"] == 2
    assert bool(summary["sources"]) == bool(heldout)
    assert (folder / "model" / "model.safetensors").stat().st_size > 0
    assert (folder / "report.html").exists()


@pytest.mark.slow
def test_a_model_that_hears_is_made_and_trained_as_the_script_of_tones_does(tmp_path: Path) -> None:
    """Both of its runs, two steps of each."""
    few = ["--run.steps", "2", "--rollout.prompts", "4", "--data.heldout", "[]"]
    for name, flags in (("tones_sft", ["--learner.warmup_steps", "0"]), ("tones", ["--rollout.group", "2"])):
        assert f"vlmrl train {name}" in (SCRIPTS / "tones.sh").read_text()
        command = [sys.executable, "-m", "vlmrl.cli", "train", name, *few, *flags]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "runs" / "tones" / "summary.json").read_text())["steps"] == 2


@pytest.mark.slow
def test_the_script_of_moments_learns_clips(miniature: str, tmp_path: Path) -> None:
    """Its cold start is there already: the miniature."""
    shutil.copytree(miniature, tmp_path / "runs" / "moments_sft" / "model")
    data = {"data.train": '[{recipe = "moments", n = 4}]', "data.heldout": '[{recipe = "moments", n = 2}]'}
    flags = [f"--{setting}={value}" for setting, value in (SMALL | data).items()]
    done = run("train_moments", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "runs" / "moments" / "summary.json").read_text())
    assert set(summary["sources"]) == {"when", "first"}
    assert (tmp_path / "runs" / "moments" / "metrics.jsonl").read_text().count("seconds/media_wait") == 2


@pytest.mark.slow
def test_a_dry_run_checks_all_and_trains_nothing(easyr1: str, miniature: str, tmp_path: Path) -> None:
    done = run(TRAINING[1], "--dry-run", "--model.path", miniature, cwd=tmp_path, DATA=easyr1, HELDOUT=easyr1)
    assert done.returncode == 0, done.stderr
    assert "fit to start" in done.stdout
    assert "200 steps" in done.stdout
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"answer": None}, "answer"),
        ({"images": [{"bytes": b"no image", "path": None}]}, "image"),
    ],
    ids=["refused by convert", "refused by check"],
)
def test_a_dry_run_ends_with_the_row_that_is_wrong(
    change: dict[str, Any], complaint: str, easyr1_rows: list[dict[str, Any]], miniature: str, tmp_path: Path
) -> None:
    """What else these commands refuse: tests/data."""
    rows = [*easyr1_rows[:2], easyr1_rows[2] | change]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "bad.parquet")
    done = run(TRAINING[0], "--dry-run", "--model.path", miniature, cwd=tmp_path, DATA="bad.parquet")
    assert done.returncode == 2
    assert "row 3" in done.stderr
    assert complaint in done.stderr
    assert "== 3/3" not in done.stdout
    assert "Traceback" not in done.stderr


def test_a_hub_id_out_of_reach_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vlmrl.cli", "train", TRAINING[0], "--dry-run", "--model.path", "nobody/absent"]
    offline = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=offline, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert [line for line in done.stderr.splitlines() if "model.path 'nobody/absent'" in line]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("script", TRAINING)
def test_a_whole_group_fits_where_the_run_file_puts_it(script: str) -> None:
    config = load_run([script])
    longest = config.model.max_prompt_tokens + config.rollout.max_new_tokens
    assert longest <= config.rollout.vllm.max_model_len
    group = config.model.max_prompt_tokens + config.rollout.group * config.rollout.max_new_tokens
    assert group <= config.learner.row_tokens


@pytest.mark.parametrize("script", TRAINING)
def test_a_training_script_asks_for_its_data(script: str, tmp_path: Path) -> None:
    done = run(script, cwd=tmp_path)
    assert done.returncode == 2
    assert "set DATA" in done.stderr


def test_quickstart_never_touches_an_earlier_run(tmp_path: Path) -> None:
    for name in ("quickstart", "quickstart-2"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    done = run("quickstart", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "runs/quickstart-3" in done.stdout
    done = run("quickstart", "--resume", "--dry-run", cwd=tmp_path)
    assert "goes on with quickstart-2" in done.stdout


# --- setup.sh ---------------------------------------------------------------------------------------------


def run_setup(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """setup.sh in a checkout of its own, with no program on PATH but a few of the system's."""
    tools = folder / "tools"
    tools.mkdir()
    for name in ("bash", "dirname", "cat", "mkdir", "rm"):
        (tools / name).symlink_to(shutil.which(name) or name)
    (folder / "checkout").mkdir()
    for name in ("scripts", "requirements"):
        shutil.copytree(ROOT / name, folder / "checkout" / name)
    return subprocess.run(
        [tools / "bash", folder / "checkout" / "scripts" / "setup.sh", *arguments],
        env={"PATH": str(tools)} | environment,
        capture_output=True,
        text=True,
    )


def test_setup_says_which_python_it_needs(tmp_path: Path) -> None:
    done = run_setup(tmp_path)
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr


def test_setup_refuses_an_unknown_set(tmp_path: Path) -> None:
    done = run_setup(tmp_path, "everything")
    assert done.returncode == 2
    assert "unknown set 'everything'; known: train, test, gpu" in done.stderr


def test_setup_can_be_skipped_where_the_command_exists(tmp_path: Path) -> None:
    done = run_setup(tmp_path, VLMRL_SETUP="skip")
    assert done.returncode == 1
    assert "no command vlmrl on PATH" in done.stderr


def test_every_set_holds_the_pins_of_train() -> None:
    """setup.sh lets the other sets stand in for it."""

    def pins(name: str) -> set[str]:
        lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
        return {line.partition(" ;")[0] for line in lines if not line.startswith("#")}

    elsewhere = {"colorama", "httpx2-jsfetch"}  # of other systems than Linux
    common = {pin for pin in pins("train") if pin.partition("==")[0] not in elsewhere}
    assert common <= pins("test")
    assert common <= pins("gpu")
