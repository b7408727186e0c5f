"""Logprobs of responses under a policy, without ever holding the [tokens, vocabulary] logits.

One definition serves every pass: logits / temperature in float32, the banned placeholder ids at -inf,
log-softmax. It is the distribution the engines sample from, so the two agree to rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.utils.checkpoint import checkpoint

from vlmrl.attention import Tree
from vlmrl.packing import Row
from vlmrl.policy import Policy

CHUNK = 1024
"""Tokens whose logits exist at one time."""


class Scores(NamedTuple):
    """Of the L scored tokens of a row."""

    logprob_L: torch.Tensor
    """float32, with gradient."""
    entropy_L: torch.Tensor
    """float32, in nats, without gradient."""


def score_row(policy: Policy, row: Row, temperature: float = 1.0) -> Scores:
    """One forward pass over a packed row."""
    hidden_LH = hidden_states(policy, row)[row.predictor_L.to(policy.device)]
    target_L = row.target_L.to(policy.device)
    head = policy.core.lm_head
    banned = torch.tensor(policy.formatter.placeholder_ids, device=policy.device)
    parts = [
        checkpoint(_score_chunk, h, t, head.weight, banned, temperature, use_reentrant=False)
        for h, t in zip(hidden_LH.split(CHUNK), target_L.split(CHUNK), strict=True)
    ]
    return Scores(torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts]))


def hidden_states(policy: Policy, row: Row) -> torch.Tensor:
    """Last hidden state [T, H] of a row, in the compute type."""
    inputs = {key: _move(value, policy.device) for key, value in row.inputs.items()}
    with policy.autocast():
        return policy.core.model(**inputs, use_cache=False).last_hidden_state[0]


def _move(value: torch.Tensor | Tree, device: torch.device) -> torch.Tensor | Tree:
    return value.to(device)


def _score_chunk(
    hidden_LH: torch.Tensor,
    target_L: torch.Tensor,
    weight_VH: torch.Tensor,
    banned: torch.Tensor,
    temperature: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    logprob_LV = log_distribution(hidden_LH.float() @ weight_VH.float().T, banned, temperature)
    entropy_L = -(logprob_LV.exp() * logprob_LV.clamp(min=-1e4)).sum(-1).detach()
    return logprob_LV.gather(1, target_L[:, None])[:, 0], entropy_L


def log_distribution(
    logits_LV: torch.Tensor, banned: torch.Tensor, temperature: float, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Log-probabilities [L, V] that rollouts are drawn from; `temperature` > 0."""
    logits_LV = logits_LV.to(dtype) / temperature
    return logits_LV.index_fill(-1, banned, float("-inf")).log_softmax(-1)
