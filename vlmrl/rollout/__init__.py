"""Rollout engines answer the prompts. Each is a file: `hf`, `vllm`, `replay`.

`create(settings, policy)` of its module returns an engine:

    groups = engine.generate(prompts, n=8, sampling)      # one list of n rollouts for each prompt
    engine.sync(policy.weights(), version)                # before the next generate

Every engine consumes the `EncodedPrompt` that the learner trains on, returns the logprob of each sampled token under
the sampling distribution, and never samples a vision or audio placeholder.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import torch

    from vlmrl.models.encoded_prompt import EncodedPrompt


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to decode. `temperature` 0 is greedy. The same `seed` gives the same rollouts."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 64
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Rollout:
    """One response. `logprobs[t]` belongs to `token_ids[t]`; the end-of-turn token is part of both."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    finish: Literal["stop", "length"]
    version: int
    """Version (number of updates) of the policy that sampled it."""
    kind: Literal["policy", "hint", "demo"] = "policy"
    """Its author: the policy on the group's prompt, the policy with a hint in its prompt, or a demonstrator."""
    trained: tuple[bool, ...] | None = None
    """Whether each token may be trained on; None: all. Tokens that the policy did not sample may not."""


class Engine(Protocol):
    """The protocol of every engine."""

    def generate(self, prompts: Sequence[EncodedPrompt], n: int, sampling: Sampling) -> list[list[Rollout]]: ...

    def sync(self, weights: Iterable[tuple[str, torch.Tensor]], version: int) -> None:
        """Loads new weights (names as in the model's state dict) and drops everything computed with older ones."""
        ...

    def close(self) -> None: ...
