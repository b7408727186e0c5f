"""TRL's side of `vlmrl bench`: its GRPOTrainer on our groups. It needs the extra `bench`.

The whole update is TRL's code: `GRPOTrainer` builds its batch from data rows with images, it gets our completions and
scores through its `rollout_func` and a reward function, and an update is its `training_step` (loss and backward pass),
gradient clipping and optimizer. The settings are TRL's defaults (loss `dapo`, no KL term, images through the processor,
prompts left-padded, completions right-padded) except for these:

    epsilon_high, Adam's betas, learning rate    those of our objective and learner, so that the updates are equal
    gradient_checkpointing                       as on our side; TRL's default, on, is slower and needs less memory
    bf16                                         as on our side: off on CPU
    per_device_train_batch_size                  the fastest of several on this machine; gradients are accumulated
    attn_implementation                          the fastest of several on this machine; FlashAttention if installed
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from transformers.utils.import_utils import is_flash_attn_2_available

from vlmrl.config.learner import LearnerSettings
from vlmrl.config.objective import ObjectiveSettings
from vlmrl.data.media import load_image
from vlmrl.errors import UserError
from vlmrl.rollout import Rollout
from vlmrl.rollout.group import Group
from vlmrl.sample import Sample

ATTENTION = {
    "sdpa": "sdpa",
    "eager": "eager",
    "sdpa, vision eager": {"text_config": "sdpa", "vision_config": "eager"},
    **({"flash_attention_2": "flash_attention_2"} if is_flash_attn_2_available() else {}),
}


def require() -> None:
    """`UserError` if TRL is not installed."""
    try:
        import trl  # noqa: F401
    except ImportError:
        raise UserError("--against trl: TRL is not installed; uv pip install 'vlmrl-toolkit[bench]'") from None


class TrlUpdate:
    """TRL's update on these groups; a call returns (loss, gradient norm). All groups have the same size."""

    def __init__(
        self,
        path: str,
        groups: Sequence[Group],
        learner: LearnerSettings,
        objective: ObjectiveSettings,
        attention: str,
        micro_batch: int,
        **settings: Any,
    ) -> None:
        longest = max(len(rollout.token_ids) for rollout in _rollouts(groups))
        size, total = len(groups[0].rollouts), sum(len(group.rollouts) for group in groups)
        settings |= _batch(total, micro_batch, size, longest) | _learning(learner, objective)
        self.trainer = _replayed(path, groups, attention, settings)
        self.trainer.model.train()
        self.trainer.buffer([row for group in groups for row in rows(group.sample, size)])

    def share(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Uses the weights and optimizer state of that model instead of its own, so that a GPU holds only one model."""
        trl_parameters = dict(self.trainer.model.named_parameters())
        for name, parameter in model.named_parameters():
            trl_parameters[name].data = parameter.data
            self.trainer.optimizer.state[trl_parameters[name]] = optimizer.state[parameter]

    def __call__(self) -> tuple[float, float]:
        return optimizer_step(self.trainer, [])


class TrlStep:
    """TRL's whole training step on these samples: generation by transformers, reward, update."""

    def __init__(
        self,
        path: str,
        samples: Sequence[Sample],
        group: int,
        completion: int,
        reward: Callable[..., list[float | None]],
        learner: LearnerSettings,
        objective: ObjectiveSettings,
        **settings: Any,
    ) -> None:
        from trl.trainer.grpo_trainer import GRPOTrainer

        total = group * len(samples)
        settings |= _batch(total, total, group, completion) | _learning(learner, objective)
        self.trainer = GRPOTrainer(reward_funcs=reward, **_parts(path, "sdpa", settings))
        _prepare_for_steps(self.trainer)
        self.rows = [row for sample in samples for row in rows(sample, group)]

    def __call__(self) -> int:
        """Does one step; returns the number of generated completion tokens."""
        optimizer_step(self.trainer, self.rows)
        batches: Any = self.trainer._buffered_inputs
        return sum(int(batch["completion_mask"].sum()) for batch in batches)


def optimizer_step(trainer: Any, batch: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """One step of transformers' training loop: backward passes, clipping, optimizer. Returns (loss, gradient norm)."""
    losses = [
        trainer.training_step(trainer.model, batch, None) for _ in range(trainer.args.gradient_accumulation_steps)
    ]
    norm = trainer.accelerator.clip_grad_norm_(trainer.model.parameters(), trainer.args.max_grad_norm)
    trainer.optimizer.step()
    trainer.model.zero_grad()
    return float(sum(losses)), float(norm)


def rows(sample: Sample, copies: int) -> list[dict[str, Any]]:
    """Data rows, repeated as by TRL's sampler, with the sample's reward as JSON text."""
    prompt = [{"role": turn.role, "content": turn.content.replace("<image>", "")} for turn in sample.prompt]
    row: dict[str, Any] = {"prompt": prompt, "reward": json.dumps([spec.model_dump() for spec in sample.reward])}
    if sample.media.images:
        row["images"] = [load_image(image) for image in sample.media.images]
    return [row] * copies


def _replayed(path: str, groups: Sequence[Group], attention: str, settings: dict[str, Any]) -> Any:
    """A trainer with the completions and scores of the groups."""
    from trl.trainer.grpo_trainer import GRPOTrainer

    class Replayed(GRPOTrainer):
        """A trainer that generates one batch and repeats updates on it, in its own order."""

        def _generate_and_score_completions(self, inputs: Any) -> Any:
            batch = super()._generate_and_score_completions(inputs)
            old = torch.zeros_like(batch["completion_ids"], dtype=torch.float32)
            for row, rollout in zip(old, _rollouts(groups), strict=True):
                row[: len(rollout.logprobs)] = torch.tensor(rollout.logprobs)
            return batch | {"old_per_token_logps": old}

        def buffer(self, inputs: Any) -> None:
            super()._prepare_inputs(inputs)

        def _prepare_inputs(self, generation_batch: Any) -> Any:
            batches = self._buffered_inputs
            assert batches is not None
            return batches[self._step % len(batches)]

    def replay(prompts: Any, trainer: Any) -> dict[str, Any]:
        return {
            "prompt_ids": [g.prompt.input_ids.tolist() for g in groups for _ in g.rollouts],
            "completion_ids": [list(rollout.token_ids) for rollout in _rollouts(groups)],
            "logprobs": None,
        }

    def score(**columns: Any) -> list[float | None]:
        return [verdict.score for group in groups for verdict in group.verdicts]

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are using 'rollout_func'")
        trainer = Replayed(reward_funcs=score, rollout_func=replay, **_parts(path, attention, settings))
    _prepare_for_steps(trainer)
    return trainer


def _parts(path: str, attention: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a GRPOTrainer for the model in that folder."""
    from datasets import Dataset
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from trl.trainer.grpo_config import GRPOConfig

    model = AutoModelForImageTextToText.from_pretrained(
        path, dtype=torch.float32, attn_implementation=ATTENTION[attention]
    )
    cpu = not torch.cuda.is_available()
    return {
        "model": model,
        "args": GRPOConfig(output_dir=tempfile.gettempdir(), report_to=[], use_cpu=cpu, **settings),
        "train_dataset": Dataset.from_list([{"prompt": [{"role": "user", "content": "?"}]}]),  # it is never drawn from
        "processing_class": AutoProcessor.from_pretrained(path),
    }


def _prepare_for_steps(trainer: Any) -> None:
    """The setup of transformers' training loop before the first step; `prepare_model` also makes the model bf16."""
    trainer.model = trainer.accelerator.prepare_model(trainer.model)
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    trainer.create_optimizer()


def _batch(total: int, micro_batch: int, group: int, completion: int) -> dict[str, Any]:
    return {
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": total // micro_batch,
        "num_generations": group,
        "max_completion_length": completion,
    }


def _learning(learner: LearnerSettings, objective: ObjectiveSettings) -> dict[str, Any]:
    return {
        "learning_rate": learner.learning_rate,
        "adam_beta1": learner.betas[0],
        "adam_beta2": learner.betas[1],
        "weight_decay": learner.weight_decay,
        "max_grad_norm": learner.max_grad_norm,
        "epsilon": objective.clip_low,
        "epsilon_high": objective.clip_high,
    }


def _rollouts(groups: Sequence[Group]) -> Iterator[Rollout]:
    return (rollout for group in groups for rollout in group.rollouts)
