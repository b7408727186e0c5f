"""Thought dropout in supervised learning: half of the thoughts are dropped, others each time."""

from __future__ import annotations

import json
from pathlib import Path

from helpers.hook_runs import metrics, open_trainer, write_hook_run

from vlmrl import catalog
from vlmrl.config.model import ModelSettings
from vlmrl.config.sft import SftSettings
from vlmrl.models.policy import Policy
from vlmrl.sample import Sample, row_from_sample
from vlmrl.train.sft import Supervisor


def thinking(n: int) -> list[Sample]:
    """Samples whose demonstrations think."""
    found = []
    for sample in catalog.load("recipes", "synthetic").build(n, sources=["counting"]):
        answer = f"<think>one by one</think><answer>{sample.demonstration}</answer>"
        turn = sample.messages[-1].model_copy(update={"content": answer})
        found.append(sample.model_copy(update={"messages": (*sample.messages[:-1], turn)}))
    return found


def test_half_of_the_thoughts_are_dropped_and_others_each_time(model_folder) -> None:
    policy = Policy.load(ModelSettings(path=str(model_folder("qwen2_5_vl")), device="cpu"))
    samples = thinking(100)

    def dropped(p: float, seed: int) -> list[bool]:
        supervisor = Supervisor(policy, SftSettings(thought_dropout=p))
        texts = [policy.formatter.decode(supervisor._answer(sample, seed)) for sample in samples]
        assert all("one by one" in text or "<think>\n\n</think><answer>" in text for text in texts)
        return ["one by one" not in text for text in texts]

    first, again, later = dropped(0.5, 1), dropped(0.5, 1), dropped(0.5, 2)
    assert first == again != later
    assert all(35 <= sum(draw) <= 65 for draw in (first, later))  # three standard deviations
    assert 30 <= sum(a == b for a, b in zip(first, later, strict=True)) <= 70
    assert sum(dropped(0.0, 1)) == 0
    assert sum(dropped(1.0, 1)) == 100


def test_a_cold_start_learns_the_demonstrations_without_their_thoughts(tmp_path: Path) -> None:
    run_file, path = write_hook_run(tmp_path), tmp_path / "thoughts.jsonl"
    path.write_text("".join(json.dumps(row_from_sample(sample)) + "\n" for sample in thinking(12)))
    losses = {}
    for p in (0.0, 0.5, 1.0):
        flags = ("--data.train", json.dumps([str(path)]), "--sft.thought_dropout", str(p))
        trainer = open_trainer(run_file, f"ton_{p}", *flags)
        for _ in range(2):
            trainer.step += 1
            trainer.supervised_step()
        trainer.close()
        losses[p] = [row["all/loss"] for row in metrics(run_file, f"ton_{p}")]
    assert len(set(map(tuple, losses.values()))) == 3
    assert all(full > half > none for full, half, none in zip(*losses.values(), strict=True))
