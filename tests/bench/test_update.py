"""vlmrl bench update: both sides do the same work, and the figures have the form that was promised."""

from __future__ import annotations

import json

import pytest
import torch
from helpers.geometries import small

from vlmrl.bench import update
from vlmrl.bench.geometry import Geometry, groups
from vlmrl.cli import main

CONTRACT = {
    "geometry": dict,
    **dict.fromkeys(("speedup", "speedup_low", "speedup_high", "bound", "efficiency", "peak_memory_ratio"), float),
    **dict.fromkeys(("loss_abs_diff", "ours_s", "theirs_s"), float),
}
SMALL = ["--prompt-tokens", "30", "--image", "56x84", "--completion", "6", "--group", "3", "--rounds", "1"]


@pytest.fixture(scope="module")
def geometry(model_folder) -> Geometry:
    return small(model_folder("qwen2_5_vl"))


@pytest.mark.slow
@pytest.mark.parametrize(("attention", "micro_batch"), [("sdpa", 6), ("eager", 1)])
def test_trl_and_the_learner_compute_the_same_update(geometry: Geometry, attention: str, micro_batch: int) -> None:
    made = groups(geometry, update._without_bans(geometry))
    settings = {"attention": attention, "micro_batch": micro_batch}
    learner = update._learner(update._without_bans(geometry))
    update_theirs = update._other_update(geometry, "trl", made, torch.float32, settings, learner)
    theirs, ours = update_theirs(), update._learner_update(learner, made)()
    assert ours[0] == pytest.approx(theirs[0], abs=1e-6)
    assert ours[1] == pytest.approx(theirs[1], rel=1e-4)
    assert update_theirs() == theirs, "an update moved a weight"
    assert abs(theirs[0]) > 1e-4, "advantages cancel, but for ratios that are not 1"
    banned = update._learner_update(update._learner(geometry.load()), made)()
    with pytest.raises(RuntimeError, match="not the same update"):
        update._compare(banned, theirs, update.TOLERANCE[torch.float32])


@pytest.mark.slow
def test_update_prints_what_was_promised(geometry: Geometry, capsys: pytest.CaptureFixture[str]) -> None:
    """Against TRL; its memory is that of its fastest setting, and of its whole batch if that is another one."""
    assert main(["bench", "update", "--model", str(geometry.model), "--against", "trl", *SMALL, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {name: type(told[name]) for name in CONTRACT} == CONTRACT
    assert told["geometry"]["prompt"] == 30 + told["geometry"]["patches"] // 4 == 36
    assert told["efficiency"] == pytest.approx(told["speedup"] / told["bound"])
    assert told["unique_tokens"] == 36 + 3 * 6
    assert told["plain_tokens"] == 3 * (36 + 6)
    assert told["loss_abs_diff"] < 1e-6
    assert told["grad_norm_rel_diff"] < 1e-4
    assert told["peak_memory_ratio"] == pytest.approx(told["ours_peak_bytes"] / told["theirs_peak_bytes"])
    one_by_one = told["theirs_settings"]["micro_batch"] == 1
    assert (told["theirs_whole_peak_bytes"] is not None) == one_by_one
    assert (told["peak_memory_ratio_whole"] is not None) == one_by_one


def test_several_values_make_a_table(geometry, capsys) -> None:
    several = [*SMALL, "--no-memory", "--json", "--group", "2", "4"]
    assert main(["bench", "update", "--model", str(geometry.model), *several]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["geometry"]["group"] for row in told] == [2, 4]
    assert told[0]["bound"] < told[1]["bound"]
    assert told[0]["peak_memory_ratio"] is None


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_5"])
def test_a_fork_is_measured_with_its_chunks(model_folder, family: str, capsys) -> None:
    """The bench fails unless loss and gradient norm are those of repeated prompts."""
    flags = [
        *SMALL,
        "--model",
        str(model_folder(family)),
        "--mode",
        "fork",
        "--memory-mb",
        "1",
        "--no-memory",
        "--json",
    ]
    assert main(["bench", "update", *flags]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["chunks"] == [3]
    assert told["bound"] > 1
    assert told["ours_settings"] == {"mode": "fork", "memory_mb": 1}


def test_recurrent_layers_are_not_packed(model_folder, capsys) -> None:
    assert main(["bench", "update", *SMALL, "--model", str(model_folder("qwen3_5")), "--mode", "packed"]) == 2
    assert "--mode packed: 'qwen3_5' has recurrent layers; give fork" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_trl_with_the_least_memory_runs_one_completion_at_a_time(geometry: Geometry, capsys) -> None:
    flags = [*SMALL, "--model", str(geometry.model), "--against", "trl-lean", "--mode", "fork", "--json"]
    assert main(["bench", "update", *flags]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["theirs_settings"] == {"attention": "sdpa", "micro_batch": 1}
    assert told["peak_memory_ratio"] > 0
    assert told["theirs_whole_peak_bytes"] is None


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--prompt-tokens", "3"], "--prompt-tokens 3: the chat template takes"),
        (["--group", "1"], "--group 1: one completion has no advantage"),
        (["--group", "0"], "expected a positive whole number"),
        (["--image", "448x"], "448x"),
        (["--image", "wide"], "wide"),
        (["--against", "verl"], "invalid choice: 'verl'"),
        (["--model", "tests"], "model.path 'tests'"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_line(flags, said, capsys) -> None:
    try:
        code = main(["bench", "update", *flags])
    except SystemExit as stop:
        code = stop.code
    told = capsys.readouterr()
    assert (code, told.out) == (2, "")
    assert said in told.err.splitlines()[-1]
