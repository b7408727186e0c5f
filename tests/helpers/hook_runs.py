"""Runs with hooks: pictures whose question is the hint, and trainers driven step by step."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from vlmrl import catalog
from vlmrl.config.run_file import load_run
from vlmrl.models.encoded_prompt import EncodedPrompt
from vlmrl.models.logprobs import score_row
from vlmrl.models.packing import Item, pack
from vlmrl.models.policy import Policy
from vlmrl.monitor.summary import read_metrics
from vlmrl.rollout import Rollout
from vlmrl.rollout.group import Group
from vlmrl.sample import row_from_sample
from vlmrl.train.run_folder import RunFolder
from vlmrl.train.trainer import Trainer

RUN = """
[run]
name = "x"
folder = "{folder}/runs"
steps = 2
sinks = ["jsonl"]

[model]
device = "cpu"

[data]
train = ["{folder}/train.jsonl"]

[rollout]
prompts = 6
group = 6
max_new_tokens = 6
ghpo.template = "{{hint}}"
guide.template = "{{hint}}"

[reward]
workers = 0

[learner]
learning_rate = 1e-4
warmup_steps = 0
"""


def write_hook_run(folder: Path) -> Path:
    """`run.toml`; its pictures have no question, which the hint asks; so do three quarters of the solution."""
    with (folder / "train.jsonl").open("w") as file:
        for sample in catalog.load("recipes", "synthetic").build(24, sources=["counting"]):
            question = sample.prompt[0].content.removeprefix("<image>")
            turn = sample.prompt[0].model_copy(update={"content": "<image>"})
            meta = {"solution": question + "." * (len(question) // 3 + 1), "hint": question}
            changed = sample.model_copy(update={"messages": (turn,), "meta": meta})
            file.write(json.dumps(row_from_sample(changed)) + "\n")
    (folder / "run.toml").write_text(RUN.format(folder=folder))
    return folder / "run.toml"


def open_trainer(run_file: Path, name: str, *flags: str, resume: bool = False) -> Trainer:
    config = load_run([str(run_file)], ["--run.name", name, *flags])
    return Trainer(config, RunFolder.open(config, resume))


def run_steps(trainer: Trainer, steps: int) -> list[Group]:
    """The groups of all updates."""
    trained: list[Group] = []
    update = trainer.learner.update

    def record(groups, *args, **kwargs):
        trained.extend(groups)
        return update(groups, *args, **kwargs)

    trainer.learner.update = record
    for _ in range(steps):
        trainer.step += 1
        trainer.reinforcement_step()
    return trained


def metrics(run_file: Path, name: str) -> list[dict[str, float]]:
    rows = read_metrics(run_file.parent / "runs" / name)
    return [{k: v for k, v in row.items() if not k.startswith("seconds/")} for row in rows]


def learner_logprobs(policy: Policy, prompt: EncodedPrompt, rollouts: list[Rollout], temperature: float = 1.0):
    """The learner's logprobs of each rollout, [T]."""
    (row,) = pack([Item(0, prompt, [r.token_ids for r in rollouts])], 2**30)
    with torch.no_grad():
        logprob_L = score_row(policy, row, temperature).logprob_L
    return [logprob_L[span.start : span.stop] for span in row.spans]


REFILL = ("--sampler.name", "refill", "--sampler.refill.margin", "3", "--rollout.prompts", "3")


def check_resumed_run(run_file: Path, name: str) -> None:
    """A run with this hook whose checkpoint holds hinted groups goes on as if it had not been interrupted."""
    flags = (*REFILL, "--rollout.hooks", f'["{name}", "force_answer"]', "--rollout.max_new_tokens", "2")
    whole = open_trainer(run_file, f"{name}_whole", *flags)
    run_steps(whole, 2)
    cut = open_trainer(run_file, f"{name}_cut", *flags)
    run_steps(cut, 1)
    pending = cut.sampler.pending
    hinted = [g for g in pending if g.rollouts[0].kind == "hint" or g.sample.prompt[-1].content != "<image>"]
    assert hinted, "the checkpoint is to hold hinted groups"
    cut.save()
    cut.close()
    again = open_trainer(run_file, f"{name}_cut", *flags, resume=True)
    run_steps(again, 1)
    assert metrics(run_file, f"{name}_cut") == metrics(run_file, f"{name}_whole")
    for parameter, other in zip(whole.policy.model.parameters(), again.policy.model.parameters(), strict=True):
        assert parameter.equal(other)
    whole.close()
    again.close()
