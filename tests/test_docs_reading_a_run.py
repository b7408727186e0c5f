"""docs/reading_a_run.md names every metric that a run can write."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from vlmrl import catalog
from vlmrl.cli import main
from vlmrl.config.sampler import SamplerSettings
from vlmrl.curriculum import create_sampler
from vlmrl.curriculum.memory import PromptMemory

PAGE = (Path(__file__).parents[1] / "docs" / "reading_a_run.md").read_text()
TABLES = "\n".join(line for line in PAGE.splitlines() if line.startswith("|"))
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
train = [{{ recipe = "synthetic", n = 12, sources = ["ocr", "grounding"] }}]
heldout = [{{ recipe = "synthetic", split = "heldout", n = 2, sources = ["ocr", "grounding"] }}]

[sampler]
source_weights = {{ ocr = 1, grounding = 1 }}

[[sampler.stages]]
name = "refill"
until = 1.0
refill = {{ base = "skip_solved", max_rounds = 2 }}

[rollout]
prompts = 4
group = 4
max_new_tokens = 8
hooks = ["force_answer"]

[reward]
workers = 0

[reward.schedules.dynamic_iou]
threshold = {{ part = "iou", reached_by = 0.5 }}
completeness = [[0.0, 0.3]]
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> set[str]:
    """The keys that a run wrote: sampler, stages, schedules and hooks included."""
    folder = tmp_path_factory.mktemp("reading")
    (folder / "run.toml").write_text(RUN.format(folder=folder))
    assert main(["train", str(folder / "run.toml")]) == 0
    lines = (folder / "x" / "metrics.jsonl").read_text().splitlines()
    return {key for line in lines for key in json.loads(line)} - {"step"}


def family(key: str) -> str:
    """How the page writes a key: `reward` for that of all and of a source, `<name>` for what is a name."""
    key = re.sub(r"^heldout/\w+/(?:sampled|greedy)/", "", key)
    key = re.sub(r"^source/\w+/", "", key)
    key = re.sub(r"^modality/\w+/", "modality/<name>/", key)
    key = re.sub(r"^seconds/source/\w+", "seconds/source/<name>", key)
    key = re.sub(r"^sampler/(epoch|pass_rate)/\w+", r"sampler/\1/<source>", key)
    key = re.sub(r"^schedule/\w+/\w+", "schedule/<verifier>/<name>", key)
    key = re.sub(r"(?<=^schedule/<verifier>/<name>/)\w+", "<source>", key)
    return re.sub(r"^(all/)?part/\w+(/.+)?$", "part/<verifier>", key)


def in_the_page(key: str) -> bool:
    return any(f"`{name}`" in TABLES for name in (family(key), family(key).removeprefix("all/")))


def test_the_run_has_every_kind_of_figure(written) -> None:
    kinds = {"all", "source", "modality", "heldout", "sampler", "schedule", "hooks", "plan", "seconds"}
    assert {key.split("/")[0] for key in written} == kinds
    assert "all/entropy" in written, "no group had spread, so that no update was made"
    assert "schedule/dynamic_iou/threshold/grounding" in written
    assert {"sampler/stage", "sampler/explore_easy", "sampler/rounds", "sampler/epoch/ocr"} <= written


def test_every_key_of_a_run_is_explained(written) -> None:
    assert sorted(key for key in written if not in_the_page(key)) == []


@pytest.mark.parametrize("name", catalog.names("samplers"))
def test_every_figure_of_a_sampler_is_explained(name: str) -> None:
    memory = PromptMemory(np.arange(8, dtype=np.int16) % 2, ("ocr", "counting"))
    memory.graded_pass_rate_N[:], memory.graded_length_N[:] = 0.5, 10.0
    sampler = create_sampler(SamplerSettings(name=name), memory, seed=0)
    sampler.begin(1, 0.5)
    keys = {f"sampler/{key}" for key in sampler.metrics()}
    assert keys
    assert [key for key in keys if not in_the_page(key)] == []


def test_a_key_that_is_not_explained_is_noticed() -> None:
    assert not in_the_page("all/unheard_of")
    assert not in_the_page("sampler/unheard_of")
    assert in_the_page("all/not_finite")
    assert in_the_page("sampler/threshold")
