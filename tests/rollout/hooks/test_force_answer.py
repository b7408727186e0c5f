"""Forced answers: all that the policy wrote has the learner's logprobs, and they train."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.hook_runs import learner_logprobs, metrics, open_trainer, run_steps, write_hook_run

from vlmrl.config.model import ModelSettings
from vlmrl.config.rollout import HfSettings, RolloutSettings
from vlmrl.models.policy import Policy
from vlmrl.rollout import Sampling, hook
from vlmrl.rollout.engines import hf
from vlmrl.rollout.hooks import force_answer
from vlmrl.sample import Sample


@pytest.fixture(scope="module")
def run_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hook_run(tmp_path_factory.mktemp("hooks"))


@pytest.mark.parametrize(("family", "temperature"), [("qwen2_vl", 1.0), ("qwen2_5_vl", 0.6), ("qwen3_vl", 1.0)])
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
