"""Earlier names of settings: refused in run files, translated in run folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vlmrl.config.listing import settings
from vlmrl.config.moved import MOVED, Gone, translated
from vlmrl.config.run_file import load_run, validated
from vlmrl.errors import UserError
from vlmrl.train.run_folder import RunFolder

BASE = {"run": {"name": "x", "steps": 1}, "data": {"train": [{"recipe": "synthetic"}]}}


@pytest.fixture
def base(tmp_path) -> str:
    path = tmp_path / "base.toml"
    path.write_text('[run]\nname = "x"\nsteps = 10\n[data]\ntrain = [{ recipe = "synthetic" }]\n')
    return str(path)


def test_every_moved_setting_is_there_and_no_earlier_one_is_left() -> None:
    names = {row.name for row in settings()}
    for earlier, moved in MOVED.items():
        assert earlier not in names
        assert isinstance(moved, Gone) or moved in names, moved
        assert isinstance(moved, Gone) or moved.partition(".")[0] == earlier.partition(".")[0]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--objective.nft_weight", "one"], r"objective\.nft_weight: is now objective\.nft\.weight; rename it"),
        (["--sampler.admit.graded_pass_rate", "[0, 0.5]"], r"is now sampler\.admit; rename it"),
        (
            ["--sampler.stages", "[{until = 1.0, admit = {graded_pass_rate = [0, 1]}}]"],
            r"sampler\.admit\.graded_pass_rate: is now sampler\.admit",
        ),
        (["--eval.batch", "3"], r"eval\.batch: was deleted, its value is always 256; leave it out"),
        (["--model.lora", "{dropout = 0.1}"], r"model\.lora\.dropout: was deleted, its value is always 0\.0"),
        (["--sft.transforms", "[{name = 'thought_dropout'}]"], r"sft\.transforms: .*; write sft\.thought_dropout"),
        (["--agreement.stop", "0.3"], r"agreement\.stop: .*; write agreement\.tolerance"),
        (["--data.train", "[{recipe = 'synthetic', difficulty = 2}]"], r"data\.train\.difficulty: .*data build"),
    ],
)
def test_an_earlier_name_is_refused_in_one_line(base: str, flags: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_run([base], flags)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{base}: ")


def test_the_config_of_an_earlier_run_is_translated() -> None:
    stage = {"until": 1.0, "admit": {"pass_rate": [0.0, 1.0], "graded_pass_rate": [0.0, 0.5]}}
    earlier: dict[str, Any] = BASE | {
        "sampler": {"admit": {"pass_rate": [0.0, 1.0], "graded_pass_rate": [0.25, 1.0]}, "stages": [stage]},
        "objective": {"loss": "nft", "nft_weight": "odds", "unbiased_std": True, "denominator": "trained"},
        "learner": {"share_prompt": True},
        "reward": {"schedules": {"dynamic_iou": {"threshold": {"part": "iou", "least": 0.0, "most": 0.9}}}},
        "sft": {"transforms": [], "source_weights": {"a": 2.0}},
        "agreement": {},
    }
    now = translated(earlier, "runs/x")
    assert now["data"] == BASE["data"]
    assert now["sampler"] == {"admit": [0.25, 1.0], "stages": [{"until": 1.0, "admit": [0.0, 0.5]}]}
    assert now["objective"] == {"loss": "nft", "nft": {"weight": "odds"}, "high_entropy": {"denominator": "trained"}}
    assert now["reward"]["schedules"] == {"dynamic_iou": {"threshold": {"part": "iou", "most": 0.9}}}
    assert now["sft"] == {"source_weights": {"a": 2.0}}
    config = validated(now, "runs/x")
    assert config.objective.own("nft").weight == "odds"
    assert translated(config.model_dump(mode="json", exclude_none=True), "x") == config.model_dump(
        mode="json", exclude_none=True
    )


@pytest.mark.parametrize(
    ("section", "values"),
    [("objective", {"unbiased_std": False}), ("sft", {"transforms": [{"name": "thought_dropout", "p": 0.5}]})],
)
def test_a_deleted_setting_must_have_had_its_default(section: str, values: dict[str, Any]) -> None:
    (name,) = values
    with pytest.raises(UserError, match=rf"runs/x: was started with {section}\.{name} = .*finish the run") as caught:
        translated(BASE | {section: values}, "runs/x")
    assert "\n" not in str(caught.value)


EARLIER = Path(__file__).with_name("earlier_run.toml")
"""The config.toml of a run with stages, a schedule and a preset, as the first version wrote it."""
FLAGS = (
    *("--objective.preset", "high_entropy", "--learner.learning_rate", "1e-4"),
    *("--sampler.stages", "[{until=0.5, name='skip_solved'},{until=1.0,name='variance'}]"),
    *("--reward.schedules", "{dynamic_iou={threshold=[[0.0,0.5],[0.5,0.9]]}}"),
)
RUN = """
[run]
name = "stages"
steps = 4
checkpoint_every = 2
sinks = ["jsonl"]
[model]
device = "cpu"
[data]
train = [{ recipe = "synthetic", n = 24 }]
heldout = [{ recipe = "synthetic", split = "heldout", n = 4 }]
[rollout]
prompts = 8
group = 4
max_new_tokens = 16
"""


def test_a_run_folder_of_the_first_version_goes_on(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(RUN)
    flags = [*FLAGS, "--run.folder", str(tmp_path)]
    config = load_run([str(tmp_path / "run.toml")], flags)
    folder = tmp_path / "stages"
    folder.mkdir()
    stored = EARLIER.read_text().replace('folder = "runs"', f'folder = "{tmp_path}"')
    (folder / "config.toml").write_text(stored)
    (folder / "metrics.jsonl").write_text("{}\n")
    assert RunFolder.open(config, resume=True).path == folder
    changed = load_run([str(tmp_path / "run.toml")], [*flags, "--objective.high_entropy.share", "0.5"])
    with pytest.raises(UserError, match=r"was started with objective\.high_entropy\.share = 0\.2, not 0\.5"):
        RunFolder.open(changed, resume=True)
    (folder / "config.toml").write_text(stored.replace("unbiased_std = true", "unbiased_std = false"))
    with pytest.raises(UserError, match=r"was started with objective\.unbiased_std = False"):
        RunFolder.open(config, resume=True)
