"""Hooks in the real engine, learner and trainer: what is sampled and trained on, and that a resumed run is equal."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from vlmrl import catalog
from vlmrl.cli import main
from vlmrl.config.model import ModelSettings
from vlmrl.config.rollout import HfSettings, RolloutSettings
from vlmrl.config.run_file import load_run
from vlmrl.config.sft import SftSettings
from vlmrl.models.encoded_prompt import EncodedPrompt
from vlmrl.models.logprobs import score_row
from vlmrl.models.packing import Item, pack
from vlmrl.models.policy import Policy
from vlmrl.monitor.summary import read_metrics
from vlmrl.rollout import Rollout, Sampling, hook
from vlmrl.rollout.engines import hf
from vlmrl.rollout.group import Group
from vlmrl.rollout.hooks import force_answer
from vlmrl.sample import Sample, row_from_sample
from vlmrl.train.run_folder import RunFolder
from vlmrl.train.sft import Supervisor
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


@pytest.fixture(scope="module")
def run_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures without a question, which the hint asks; so do three quarters of the solution."""
    folder = tmp_path_factory.mktemp("hooks")
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

    def remember(groups, *args, **kwargs):
        trained.extend(groups)
        return update(groups, *args, **kwargs)

    trainer.learner.update = remember
    for _ in range(steps):
        trainer.step += 1
        trainer.reinforcement_step()
    return trained


def metrics(run_file: Path, name: str) -> list[dict[str, float]]:
    rows = read_metrics(run_file.parent / "runs" / name)
    return [{k: v for k, v in row.items() if not k.startswith("seconds/")} for row in rows]


def learner_logprobs(policy: Policy, prompt: EncodedPrompt, rollouts: list[Rollout], temperature: float = 1.0):
    """Of each rollout, [T]."""
    (row,) = pack([Item(0, prompt, [r.token_ids for r in rollouts])], 2**30)
    with torch.no_grad():
        logprob_L = score_row(policy, row, temperature).logprob_L
    return [logprob_L[span.start : span.stop] for span in row.spans]


# --- hints ------------------------------------------------------------------------------------------------


def test_ghpo_trains_on_the_hinted_prompt(run_file: Path) -> None:
    trainer = open_trainer(run_file, "ghpo", "--rollout.hooks", '["ghpo"]', "--objective.preset", "bnpo")
    trained = run_steps(trainer, 2)
    trainer.close()
    hinted = [group for group in trained if group.earlier]
    assert any(group.stats for group in hinted)
    for group in hinted:
        solution = str(group.sample.meta["solution"])
        share = (0.25, 0.5, 0.75)[len(group.earlier) - 1]
        assert group.sample.prompt[-1].content == "<image>" + solution[: int(share * len(solution))]
        assert {r.kind for r in group.rollouts} == {"policy"}
        assert all(not any(earlier.scores) for earlier in group.earlier)
    # Agreement is judged on hinted groups like any other.
    assert max(s.diff_max or 0.0 for group in hinted for s in group.stats if s) < 1e-4
    rows = metrics(run_file, "ghpo")
    assert sum(row["hooks/regenerated"] for row in rows) == sum(len(group.earlier) for group in trained)
    for row in rows:
        assert row["all/rollouts"] == 6 * row["all/groups"] == 6 * (6 + row["hooks/regenerated"])
    assert int(trainer.memory.visits_N.sum()) == 12, "the memory knows prompts as they are, once a visit"


def test_guide_trains_on_the_clean_prompt_with_logprobs_under_the_hint(run_file: Path) -> None:
    trainer = open_trainer(run_file, "guide", "--rollout.hooks", '["guide"]', "--objective.preset", "guide")
    clean_policy = trainer.policy.frozen_copy()
    trained = run_steps(trainer, 2)
    trainer.close()
    rows = metrics(run_file, "guide")
    hinted = [group for group in trained if group.earlier]
    assert len(hinted) == sum(row["hooks/regenerated"] - row["hooks/dropped"] for row in rows)
    assert any(group.stats for group in hinted)
    stored = pq.read_table(run_file.parent / "runs" / "guide" / "rollouts")["kind"].to_pylist()
    assert stored.count("hint") == 6 * sum(row["hooks/regenerated"] for row in rows)
    assert stored.count("policy") == 6 * 6 * 2
    for group in hinted:
        assert group.has_spread
        assert group.sample.prompt[-1].content == "<image>"
        assert {r.kind for r in group.rollouts} == {"hint"}
        assert all(s is None or s.diff_max is None for s in group.stats)
    first = next(group for group in hinted if group.rollouts[0].version == 0)
    with_hint = hook.with_hint(first.sample, "{hint}", str(first.sample.meta["hint"]))
    (prompt,) = trainer.policy.formatter.encode([with_hint])
    sampled = torch.tensor([logprob for r in first.rollouts for logprob in r.logprobs])
    hint_gap, clean_gap = (
        (torch.cat(learner_logprobs(clean_policy, under, first.rollouts)) - sampled).abs().max()
        for under in (prompt, first.prompt)
    )
    assert hint_gap < 1e-4
    assert clean_gap > 0.1


def test_a_dry_run_names_the_hooks_that_no_sample_helps(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    solved = [json.loads(line) for line in (run_file.parent / "train.jsonl").read_text().splitlines()]
    for row in solved:
        del row["meta"]["hint"]
    path = run_file.parent / "solved.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in solved))

    def warnings(*files: Path) -> list[str]:
        entries = json.dumps([str(file) for file in files])
        flags = ["--dry-run", "--data.train", entries, "--rollout.hooks", '["ghpo", "force_answer", "guide"]']
        assert main(["train", str(run_file), *flags]) == 0
        return [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]

    assert warnings(path) == ["warning: no checked sample has meta.hint, so hook 'guide' does nothing"]
    assert warnings(path, run_file.parent / "train.jsonl") == []


REFILL = ("--sampler.name", "refill", "--sampler.refill.margin", "3", "--rollout.prompts", "3")


@pytest.mark.parametrize("name", ["ghpo", "guide"])
def test_a_resumed_run_equals_an_uninterrupted_one(run_file: Path, name: str) -> None:
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


# --- force answering --------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_all_that_the_policy_wrote_has_the_learners_logprobs(
    model_folder, mixed_samples: list[Sample], family: str, temperature: float
) -> None:
    policy = Policy.load(ModelSettings(path=str(model_folder(family)), device="cpu"))
    prompts = policy.formatter.encode(mixed_samples)
    plain = hf.create(HfSettings(), policy)
    settings = RolloutSettings.model_validate({"hooks": ["force_answer"], "force_answer": {"max_new_tokens": 5}})
    engine = hook.wrap_engine(plain, policy.formatter, settings)
    sampling = Sampling(temperature=temperature, max_new_tokens=7, seed=3)
    groups, begun = engine.generate(prompts, 3, sampling), plain.generate(prompts, 3, sampling)
    cue = tuple(policy.formatter.tokenizer("</think><answer>").input_ids)
    for prompt, group, short in zip(prompts, groups, begun, strict=True):
        assert any(start.finish == "length" for start in short)
        for rollout, start, learnt in zip(
            group, short, learner_logprobs(policy, prompt, group, temperature), strict=True
        ):
            if start.finish == "stop":
                assert rollout == start
                continue
            assert rollout.token_ids[: 7 + len(cue)] == start.token_ids + cue
            assert 1 <= len(rollout.token_ids) - 7 - len(cue) <= 5
            assert rollout.text == policy.formatter.decode(rollout.token_ids)
            assert rollout.trained
            assert [i for i, t in enumerate(rollout.trained) if not t] == list(range(7, 7 + len(cue)))
            trained_T = torch.tensor(rollout.trained)
            assert (learnt - torch.tensor(rollout.logprobs))[trained_T].abs().max() < 1e-4


def test_thinking_that_has_ended_gets_the_rest_of_the_cue(model_folder) -> None:
    policy = Policy.load(ModelSettings(path=str(model_folder("qwen2_5_vl")), device="cpu"))
    engine = force_answer.wrap(hf.create(HfSettings(), policy), policy.formatter, force_answer.Settings())
    texts = {text: policy.formatter.decode(engine._cue(text)) for text in ("<think>so", "<think>so</think> it")}
    assert list(texts.values()) == ["</think><answer>", "<answer>"]


def test_forced_answers_train_and_agree(run_file: Path) -> None:
    """With a question, and a cue that leaves what was said before it an answer: so that some are right."""
    flags = ("--rollout.hooks", '["force_answer"]', "--rollout.max_new_tokens", "1", "--rollout.force_answer.cue", ".")
    asked = '[{recipe = "synthetic", n = 24, sources = ["counting"]}]'
    flags = (*flags, "--rollout.force_answer.max_new_tokens", "4", "--data.train", asked)
    trainer = open_trainer(run_file, "forced", *flags)
    trained = run_steps(trainer, 2)
    trainer.close()
    rollouts = [rollout for group in trained for rollout in group.rollouts]
    forced = [rollout for rollout in rollouts if rollout.trained]
    assert all(rollout.trained and rollout.trained[:2] == (True, False) for rollout in forced)
    assert all("." in rollout.text for rollout in forced)
    rows = metrics(run_file, "forced")
    assert sum(row["hooks/forced"] for row in rows) == len(forced) > 0
    assert max(s.diff_max or 0.0 for group in trained for s in group.stats if s) < 1e-4
    assert any(group.stats for group in trained)


# --- thought dropout --------------------------------------------------------------------------------------


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


def test_a_cold_start_learns_the_demonstrations_without_their_thoughts(run_file: Path) -> None:
    path = run_file.parent / "thoughts.jsonl"
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
