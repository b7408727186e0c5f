"""vlmrl bench rollout: both sides write the same text, and what they generate is counted right."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.geometries import small

from vlmrl.bench import rollout
from vlmrl.bench.geometry import Geometry


@pytest.fixture(scope="module")
def geometry(model_folder) -> Geometry:
    return small(model_folder("qwen2_5_vl"))


def check_figures(figures: dict[str, Any], geometry: Geometry) -> None:
    """Of one round, in which each side writes whole responses of one to `completion` tokens."""
    responses = geometry.group * geometry.groups
    for side in ("ours", "theirs"):
        tokens = figures[f"{side}_tokens_per_s"] * figures[f"{side}_s"]
        assert tokens == pytest.approx(round(tokens))
        assert responses <= round(tokens) <= responses * geometry.completion
    rates = figures["ours_tokens_per_s"] / figures["theirs_tokens_per_s"]
    assert figures["speedup"] == figures["speedup_low"] == figures["speedup_high"] == pytest.approx(rates)


@pytest.mark.slow
def test_trl_takes_a_whole_step(geometry: Geometry) -> None:
    check_figures(rollout.measure(geometry, "trl", rounds=1), geometry)


def test_the_engine_and_generate_write_the_same_text(geometry: Geometry, monkeypatch: pytest.MonkeyPatch) -> None:
    check_figures(rollout.measure(geometry, "generate", rounds=1), geometry)
    monkeypatch.setattr(rollout, "generate", lambda *_: lambda seed: [[1]])
    with pytest.raises(RuntimeError, match="not the same text"):
        rollout.measure(geometry, "generate", rounds=1)
