"""The canary: an engine that displaces boxes is refused before the first step."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlmrl import catalog
from vlmrl.config.run_file import RunConfig, load_run
from vlmrl.errors import UserError
from vlmrl.models.policy import Policy
from vlmrl.rollout.rollouter import Rollouter
from vlmrl.train.canary import check_positions, with_plain_positions

SETTINGS = ["--model.path", "tiny", "--model.device", "cpu", "--model.vision_cache_mb", "0", "--reward.workers", "0"]


@pytest.fixture(scope="module")
def config() -> RunConfig:
    return load_run(["quickstart"], SETTINGS)


@pytest.fixture
def rollouter(config: RunConfig, tmp_path: Path):
    rollouter = Rollouter(config, Policy.load(config.model), tmp_path)
    rollouter.sync(0)
    yield rollouter
    rollouter.close()


def samples():
    return catalog.load("recipes", "synthetic").build(2)


def test_an_engine_with_the_learners_positions_passes(config, rollouter) -> None:
    check_positions(config, rollouter, samples())


def test_an_engine_that_reads_positions_as_those_of_text_is_refused(config, rollouter) -> None:
    generate = rollouter.engine.generate
    rollouter.engine.generate = lambda prompts, n, sampling: generate(
        [with_plain_positions(prompt) for prompt in prompts], n, sampling
    )
    with pytest.raises(UserError, match=r"'grounding-.*whose target is a place.*three-dimensional positions"):
        check_positions(config, rollouter, samples())


def test_any_other_difference_is_refused_too(config, rollouter) -> None:
    generate = rollouter.engine.generate

    def hotter(prompts, n, sampling):
        return generate(prompts, n, type(sampling)(2.0, 1.0, sampling.max_new_tokens, sampling.seed))

    rollouter.engine.generate = hotter
    with pytest.raises(UserError, match=r"engine and learner differ on sample .*docs/agreement\.md"):
        check_positions(config, rollouter, samples())


def test_data_without_places_ask_nothing_of_the_engine(config, rollouter) -> None:
    rollouter.engine.generate = lambda *_: pytest.fail("asked")
    check_positions(config, rollouter, (s for s in samples() if s.source == "counting"))
