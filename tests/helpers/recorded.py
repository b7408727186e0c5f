"""What a ledger records: groups, updates and held-out rows, made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from vlmrl import Sample, Verdict
from vlmrl.data.media import encode_png
from vlmrl.models.encoded_prompt import EncodedPrompt
from vlmrl.monitor.ledger import EvalRow, Ledger
from vlmrl.rollout import Rollout
from vlmrl.rollout.group import Group, TokenStats, UpdateReport

UPDATE = UpdateReport(loss=0.5, grad_norm=1.5, learning_rate=1e-4, groups=1, optimizer_steps=1)


PROMPT_TOKENS, PATCHES = 10, 16


def make_sample(source: str = "counting", number: int = 0, **reward: object) -> Sample:
    picture = encode_png(Image.new("RGB", (16, 12), (number % 256, 80, 80)))
    row = {
        "id": f"{source}-{number}",
        "source": source,
        "messages": [{"role": "user", "content": f"<image>how many? {number}"}],
        "media": {"images": [{"data": picture}]},
        "reward": [{"verifier": "counting", "target": 3} | reward],
    }
    return Sample.model_validate(row)


def make_prompt(images: int = 1) -> EncodedPrompt:
    ids = torch.zeros(PROMPT_TOKENS, dtype=torch.long)
    grid = torch.tensor([[1, 4, 4]] * images)
    vision = {"pixel_values": torch.zeros(PATCHES * images, 3), "image_grid_thw": grid} if images else {}
    return EncodedPrompt(
        sample_id="",
        input_ids=ids,
        token_types=ids,
        positions=ids.expand(3, -1),
        next_position=PROMPT_TOKENS,
        features=vision,
        modality={0: "text", 1: "image"}.get(images, "images"),
    )


def make_rollout(length: int, text: str = "3", finish: str = "stop", version: int = 0) -> Rollout:
    return Rollout(tuple(range(length)), (-0.5,) * length, text, finish, version)  # pyright: ignore


def make_group(
    source: str, scores: Sequence[float | None], lengths: Sequence[int], images: int = 1, **stats: float
) -> Group:
    verdicts = [Verdict(s, "ok" if s is not None else "timeout", {} if s is None else {"iou": s}) for s in scores]
    measured = {"entropy": 0.5, "clip_fraction": 0.0, "behaviour_kl": 0.0, "diff_mean": 0.0, "diff_max": 0.0}
    group = Group(make_sample(source), make_prompt(images), [make_rollout(n) for n in lengths], verdicts)
    if group.has_spread:
        group.stats = [TokenStats(**measured | stats) for _ in lengths]
    return group


def quiet(folder: Path, **settings: float) -> Ledger:
    return Ledger(folder, sinks=("jsonl",), total_steps=9, **settings)


def held_out(sample: Sample, rollout: Rollout, verdict: Verdict) -> Group:
    return Group(sample, make_prompt(), [rollout], [verdict])


def eval_rows(scores: Sequence[float | None], source: str = "counting") -> list[EvalRow]:
    verdicts = [Verdict(s, "ok" if s is not None else "error", answer="3") for s in scores]
    rows: list[EvalRow] = []
    for number, verdict in enumerate(verdicts):
        rows.append((held_out(make_sample(source, number), make_rollout(4), verdict), "sampled"))
        rows.append((held_out(make_sample(source, number), make_rollout(4), Verdict(1.0)), "greedy"))
    return rows


def run(folder: Path, steps: int = 2) -> Ledger:
    ledger = quiet(folder)
    ledger.record_eval(0, "before", eval_rows([0.0] * 30 + [1.0] * 10), {"eval": 3.0})
    for step in range(1, steps + 1):
        group = make_group("counting", [1.0, 0.0], [step, step], diff_max=step * 1e-6, diff_mean=step * 1e-7)
        ledger.record(step, [group], UPDATE, {"rollout": 1.0, "update": 2.0, "reward": 0.5, "sync": 0.25})
    return ledger
