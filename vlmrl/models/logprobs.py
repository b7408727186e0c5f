"""Logprobs of responses under a policy, without ever holding the [tokens, vocabulary] logits.

One definition serves every pass: logits / temperature in float32, the banned placeholder ids at -inf,
log-softmax. It is the distribution the engines sample from, so the two agree to rounding. The operands of the head
are of the compute type, their products are summed and kept in float32: in bfloat16 the head runs on tensor cores (in
float32 it would take longer than the rest of a 3B model), and no logit is rounded.

The backward pass computes a chunk's logits again and turns them into their own gradient in place. A fused
linear cross-entropy kernel does not serve here: it returns a reduced loss, and the weight of a token is known
only after its logprob.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from vlmrl.models.attention.tree import Tree
from vlmrl.models.packing import Row
from vlmrl.models.policy import Policy

CHUNK = 512
"""Tokens whose logits exist at one time."""


class Scores(NamedTuple):
    """Of the L scored tokens of a row, both float32 with gradient."""

    logprob_L: torch.Tensor
    entropy_L: torch.Tensor
    """In nats."""


def score_row(policy: Policy, row: Row, temperature: float = 1.0) -> Scores:
    """One forward pass over a packed row."""
    hidden_LH = hidden_states(policy, row)[row.predictor_L.to(policy.device)]
    banned = torch.tensor(policy.formatter.placeholder_ids, dtype=torch.long, device=policy.device)
    target_L = row.target_L.to(policy.device)
    return Scores(*token_scores(hidden_LH, policy.core.lm_head.weight, target_L, banned, temperature, policy.compute))


def hidden_states(policy: Policy, row: Row) -> torch.Tensor:
    """Last hidden state [T, H] of a row, in the compute type."""
    inputs = {key: _move(value, policy.device) for key, value in row.inputs.items()}
    with policy.pass_over([item.prompt for item in row.items]):
        return policy.core.model(**inputs, use_cache=False).last_hidden_state[0]


def _move(value: torch.Tensor | Tree, device: torch.device) -> torch.Tensor | Tree:
    return value.to(device)


def token_scores(
    hidden_LH: torch.Tensor,
    weight_VH: torch.Tensor,
    target_L: torch.Tensor,
    banned: torch.Tensor,
    temperature: float = 1.0,
    compute: torch.dtype | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logprob of each target and entropy of its distribution, both [L], in at least float32.

    Operands of the head are rounded to `compute`; None: to the type of the hidden states.
    """
    compute = compute or hidden_LH.dtype
    return _TokenScores.apply(hidden_LH, weight_VH, target_L, banned, temperature, compute)  # pyright: ignore[reportReturnType]


class _TokenScores(torch.autograd.Function):
    """Saves one log-sum-exp and one entropy a token."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,
        hidden_LH: torch.Tensor,
        weight_VH: torch.Tensor,
        target_L: torch.Tensor,
        banned: torch.Tensor,
        temperature: float,
        compute: torch.dtype,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rounded_LH, rounded_VH, parts = hidden_LH.to(compute), weight_VH.to(compute), []
        for hidden, target in zip(rounded_LH.split(CHUNK), target_L.split(CHUNK), strict=True):
            logits_LV = _logits(hidden, rounded_VH, banned, temperature)
            lse_L = logits_LV.logsumexp(-1)
            logprob_L = logits_LV.gather(1, target[:, None])[:, 0] - lse_L
            # H = lse - sum p * logit; a banned id has p = 0, so any finite logit serves.
            p_LV = torch.exp(logits_LV - lse_L[:, None])
            entropy_L = lse_L - torch.linalg.vecdot(p_LV, logits_LV.index_fill_(1, banned, 0.0))
            parts.append((logprob_L, entropy_L, lse_L))
        logprob_L, entropy_L, lse_L = (torch.cat(x) for x in zip(*parts, strict=True))
        ctx.save_for_backward(rounded_LH, weight_VH, target_L, banned, entropy_L, lse_L)
        ctx.temperature, ctx.hidden_dtype = temperature, hidden_LH.dtype
        ctx.set_materialize_grads(False)
        return logprob_L, entropy_L

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        hidden_LH, weight_VH, target_L, banned, entropy_L, lse_L = ctx.saved_tensors
        of_logprob_L, of_entropy_L = grads
        compute, rounded_VH = hidden_LH.dtype, weight_VH.to(hidden_LH.dtype)
        of_hidden = torch.empty_like(hidden_LH, dtype=ctx.hidden_dtype) if ctx.needs_input_grad[0] else None
        of_weight = torch.zeros_like(weight_VH, dtype=lse_L.dtype) if ctx.needs_input_grad[1] else None
        for start in range(0, len(target_L), CHUNK):
            part = slice(start, start + CHUNK)
            logprob_LV = _logits(hidden_LH[part], rounded_VH, banned, ctx.temperature).sub_(lse_L[part, None])
            of_logits_LV = logprob_LV.exp()
            of_target_L = torch.zeros_like(lse_L[part]) if of_logprob_L is None else of_logprob_L[part]
            if of_entropy_L is None:  # d logprob / d logit = [is the target] - p
                of_logits_LV.mul_(-of_target_L[:, None])
            else:  # d entropy / d logit = -p (log p + entropy)
                surprise_LV = logprob_LV.index_fill_(1, banned, 0.0).add_(entropy_L[part, None])
                of_logits_LV.mul_(surprise_LV.mul_(-of_entropy_L[part, None]).sub_(of_target_L[:, None]))
            of_logits_LV.scatter_add_(1, target_L[part, None], of_target_L[:, None]).div_(ctx.temperature)
            rounded_LV = of_logits_LV.to(compute)
            if of_hidden is not None:
                of_hidden[part] = wide_product(rounded_LV, rounded_VH)
            if of_weight is not None:
                _add_product(of_weight, rounded_LV.T, hidden_LH[part])
        of_weight = None if of_weight is None else of_weight.to(weight_VH.dtype)
        return of_hidden, of_weight, None, None, None, None


def _logits(hidden_LH: torch.Tensor, weight_VH: torch.Tensor, banned: torch.Tensor, temperature: float) -> torch.Tensor:
    return wide_product(hidden_LH, weight_VH.T).div_(temperature).index_fill_(1, banned, float("-inf"))


def wide_product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a @ b in at least float32."""
    wide = torch.promote_types(a.dtype, torch.float32)
    if a.is_cuda and a.dtype != wide:
        return torch.mm(a, b, out_dtype=wide)
    return a.to(wide) @ b.to(wide)


def _add_product(total: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
    """total += a @ b, where the total has the type of `wide_product`."""
    if a.is_cuda and a.dtype != total.dtype:
        torch.addmm(total, a, b, out_dtype=total.dtype, out=total)
    else:
        total.addmm_(a.to(total.dtype), b.to(total.dtype))


def log_distribution(logits_LV: torch.Tensor, banned: torch.Tensor, temperature: float) -> torch.Tensor:
    """Log-probabilities [L, V] in float32 that rollouts are drawn from; `temperature` > 0."""
    return (logits_LV.float() / temperature).index_fill(-1, banned, float("-inf")).log_softmax(-1)
