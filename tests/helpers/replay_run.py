"""A run file whose answers are canned: nothing is decoded, and each prompt earns what a test wants it to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

RUN: dict[str, dict[str, Any]] = {
    "run": {"name": "x", "sinks": ["jsonl"]},
    "model": {"device": "cpu"},
    "rollout": {"engine": "replay", "prompts": 4, "max_new_tokens": 40},
    "reward": {"workers": 0},
    "learner": {"learning_rate": 1e-4, "warmup_steps": 0},
}
"""What such runs share."""


def write_replay_run(folder: Path, responses: Mapping[str, Sequence[str]], **sections: Mapping[str, Any]) -> Path:
    """`run.toml` in `folder`, its runs beside it in `runs/`. `responses`: the answers to a prompt, by the sample's id;
    `sections` add to `RUN`."""
    canned = folder / "canned.jsonl"
    with canned.open("w") as file:
        file.writelines(json.dumps({"id": name, "responses": texts}) + "\n" for name, texts in responses.items())
    config = {name: RUN.get(name, {}) | dict(sections.get(name, {})) for name in RUN | sections}
    config["run"]["folder"] = str(folder / "runs")
    config["rollout"]["replay"] = {"path": str(canned)}
    path = folder / "run.toml"
    path.write_text(tomli_w.dumps(config))
    return path
