"""Every family file: its miniature reads every kind of prompt, trains, resumes, takes adapters and is exported."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import tomli_w
import torch
from helpers.packed_rows import gradients, make_items, plain_logprobs, run_packed, weight

from vlmrl import catalog
from vlmrl.cli import main
from vlmrl.config.model import LoraSettings, ModelSettings
from vlmrl.data.sample_files import write_samples
from vlmrl.models.family import family_of, language_layers
from vlmrl.models.logprobs import score_row
from vlmrl.models.packing import Item, Row, build, pack, repeat
from vlmrl.models.policy import Policy
from vlmrl.sample import RewardSpec, Sample

FAMILIES = [name for name in catalog.names("families") if "image" in family_of(name).modalities]
"""Those that see; `test_sounds.py` has those that hear."""
every_family = pytest.mark.parametrize("family", FAMILIES)


def load(model_folder, family: str, **settings) -> Policy:
    return Policy.load(ModelSettings(path=str(model_folder(family)), device="cpu", **settings))


def rows_of(policy: Policy, items: list[Item]) -> list[Row]:
    """One packed row; where layers are recurrent, each response has a row of its own."""
    if policy.formatter.family.recurrent:
        return [build([item], tree=False) for item in repeat(items)]
    return pack(items, 100_000)


@every_family
def test_its_prompts_hold_text_image_images_and_video(model_folder, mixed_samples: list[Sample], family: str) -> None:
    formatter = load(model_folder, family).formatter
    one, two, text, clip = formatter.encode(mixed_samples)
    assert [p.modality for p in (one, two, text, clip)] == ["image", "images", "text", "video"]
    assert [len(p.shown) for p in (one, two, text, clip)] == [1, 2, 0, 1]
    assert len(two.media) == 2
    assert not text.media
    assert [len(p) for p in (one, two, text)] == [formatter.size(sample).tokens for sample in mixed_samples[:3]]
    media = set(clip.input_ids.tolist()) & set(formatter.placeholder_ids)
    assert media, "no placeholder of the video is banned"
    assert not media & set(formatter.stop_ids)
    # The clip has two frames, a second apart: position ids count frames, or parts of a second, or the time is in the
    # text.
    written = re.search(r"\d", formatter.tokenizer.decode([i for i in clip.input_ids.tolist() if i not in media]))
    (step, *_) = clip.positions[0, clip.token_types > 0].unique().diff().tolist()
    assert (formatter.family.times == "text") == bool(written)
    parts = {"qwen2_5_omni": 25, "qwen3_omni_moe": 13}.get(family, 2)
    assert {"none": 1, "positions": parts}.get(formatter.family.times, step) == step


@every_family
def test_it_scores_as_transformers_alone_does(model_folder, mixed_samples: list[Sample], family: str) -> None:
    policy = load(model_folder, family)
    items = make_items(policy, mixed_samples)
    packed = run_packed(policy, rows_of(policy, items))
    packed_gradients = gradients(policy)
    worst = 0.0
    for item in items:
        for number, response in enumerate(item.responses):
            plain = plain_logprobs(policy, item, list(response))
            (weight(item.name, number) * plain.sum()).backward()
            worst = max(worst, (plain.detach() - packed[item.name, number]).abs().max().item())
    assert worst < 1e-5
    plain_gradients = gradients(policy)
    assert packed_gradients.keys() == plain_gradients.keys()
    scale = max(g.norm() for g in plain_gradients.values())
    for name, gradient in plain_gradients.items():
        difference = (gradient - packed_gradients[name]).norm()
        assert difference <= 1e-4 * max(gradient.norm(), 1e-2 * scale), name


@every_family
def test_a_run_is_repeated_by_one_that_was_stopped(
    model_folder, mixed_samples: list[Sample], family: str, tmp_path: Path, capsys
) -> None:
    data = [s.model_copy(update={"reward": (RewardSpec(verifier="ocr", target="aeiou rst"),)}) for s in mixed_samples]
    write_samples(tmp_path / "train.jsonl", data)
    assert main(["data", "check", str(tmp_path / "train.jsonl")]) == 0
    run = write_run(tmp_path, model_folder(family))
    assert main(["train", run, "--dry-run"]) == 0
    assert f"({family}" in capsys.readouterr().out
    assert main(["train", run, "--run.name", "whole"]) == 0
    assert main(["train", run, "--run.name", "stopped", "--run.max_minutes", "1e-6"]) == 0
    assert main(["train", run, "--run.name", "stopped", "--resume"]) == 0
    whole, stopped = (tmp_path / "runs" / name for name in ("whole", "stopped"))
    steps = metrics(whole)
    assert steps == metrics(stopped)
    assert (whole / "model" / "model.safetensors").read_bytes() == (
        stopped / "model" / "model.safetensors"
    ).read_bytes()
    assert len(steps) == 2
    assert all(step["all/grad_norm"] > 0 for step in steps)
    agreement = json.loads((whole / "summary.json").read_text())["agreement"]
    assert agreement.keys() == {"text", "image", "images", "video"}
    assert max(figures["max"] for figures in agreement.values()) < 1e-4


def write_run(folder: Path, model: Path) -> str:
    """A run of two steps, with answers of the learner's own model."""
    config = {
        "run": {"name": "x", "folder": str(folder / "runs"), "steps": 2, "sinks": ["jsonl"]},
        "model": {"path": str(model), "device": "cpu"},
        "data": {"train": [str(folder / "train.jsonl")]},
        "rollout": {"engine": "hf", "prompts": 4, "group": 2, "max_new_tokens": 8},
        "reward": {"workers": 0},
        "learner": {"learning_rate": 1e-4, "warmup_steps": 0},
    }
    path = folder / "run.toml"
    path.write_text(tomli_w.dumps(config))
    return str(path)


def metrics(folder: Path) -> list[dict[str, float]]:
    """All but the times."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if not k.startswith("seconds/")} for row in rows]


@every_family
def test_with_adapters_it_learns_and_is_exported_with_them(
    model_folder, mixed_samples: list[Sample], family: str, tmp_path: Path
) -> None:
    """Every layer has adapters, nothing else gets a gradient, and transformers loads the merged model."""
    policy = load(model_folder, family, lora=LoraSettings(rank=4, alpha=8), freeze_towers=True)
    items = make_items(policy, mixed_samples)
    before = logprobs(policy, items)
    trained = [(name, p) for name, p in policy.model.named_parameters() if p.requires_grad]
    layers = len(language_layers(policy.core))
    assert {int(name.partition("layers.")[2].partition(".")[0]) for name, _ in trained} == set(range(layers))
    run_packed(policy, rows_of(policy, items))
    assert all(p.grad is not None for _, p in trained)
    with torch.no_grad():
        for _, parameter in trained:
            parameter.sub_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    after = logprobs(policy, items)
    assert (after - before).abs().max() > 1e-3
    policy.save(tmp_path)
    exported = Policy.load(ModelSettings(path=str(tmp_path), device="cpu"))
    torch.testing.assert_close(logprobs(exported, items), after, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def logprobs(policy: Policy, items: Sequence[Item]) -> torch.Tensor:
    return torch.cat([score_row(policy, row).logprob_L for row in rows_of(policy, list(items))])
