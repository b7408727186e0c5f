"""Logprobs of responses under a policy. The [L, V] logits never exist as a whole.

All passes use one definition: logits / temperature in float32, banned placeholder ids at -inf, log-softmax. The engines
sample from the same distribution, so the two agree to rounding. The operands of the head have the compute type; their
products are summed and stored in float32. In bfloat16 the head runs on tensor cores (in float32 it would take longer
than the rest of a 3B model), and no logit is rounded.

The backward pass computes the logits of a chunk again and turns them into their own gradient in place. A fused linear
cross-entropy kernel cannot be used: it returns a reduced loss, but the weight of a token depends on its logprob.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from vlmrl.models.attention.tree import Tree
from vlmrl.models.fork import Fork, rows_of
from vlmrl.models.packing import Item, Row, Span
from vlmrl.models.policy import Policy
from vlmrl.models.prefix_state import PrefixState

CHUNK = 512
"""Tokens whose logits exist at the same time."""


class Scores(NamedTuple):
    """Scores of the L response tokens of a row, in float32 with gradient."""

    logprob_L: torch.Tensor
    entropy_L: torch.Tensor
    """Entropy, in nats, of the distribution of each token."""


def score_row(policy: Policy, row: Row, temperature: float = 1.0) -> Scores:
    """Scores of a packed row from one forward pass."""
    assert not (policy.recurrent and "tree" in row.inputs), "a recurrence would run from one response into the next"
    hidden_LH = hidden_states(policy, row)[row.predictor_L.to(policy.device)]
    return _scores(policy, hidden_LH, row.target_L, temperature)


def _scores(policy: Policy, hidden_LH: torch.Tensor, target_L: torch.Tensor, temperature: float) -> Scores:
    banned = torch.tensor(policy.formatter.placeholder_ids, dtype=torch.long, device=policy.device)
    target_L = target_L.to(policy.device)
    return Scores(*token_scores(hidden_LH, policy.core.lm_head.weight, target_L, banned, temperature, policy.compute))


def score(policy: Policy, row: Row | Fork, temperature: float = 1.0) -> Iterator[tuple[list[Span], Scores]]:
    """Scores of a row's responses, a part at a time: the whole row, or a chunk of a fork.

    With gradients, call `backward()` on what is made of a part before taking the next; the end of the iteration runs
    the backward pass of a fork's prompt.
    """
    if isinstance(row, Row):
        yield row.spans, score_row(policy, row, temperature)
        return
    state = PrefixState(policy, row.item.prompt)
    for chunk in row.chunks:
        hidden_LH = state.run(chunk.input_ids_BT)[chunk.predictor_BS.to(policy.device)]
        yield chunk.spans, _scores(policy, hidden_LH, chunk.target_L, temperature)
    state.backward()


@torch.no_grad()
def score_item(policy: Policy, item: Item, temperature: float = 1.0) -> list[torch.Tensor]:
    """Logprobs of each response to an item's prompt, in one pass over the prompt where the model's layers allow it."""
    logprobs: dict[int, torch.Tensor] = {}
    for row in rows_of(item, policy.sharing):
        for spans, scores in score(policy, row, temperature):
            first = spans[0].start
            for span in spans:
                logprobs[span.response] = scores.logprob_L[span.start - first : span.stop - first]
    return [logprobs[number] for number in sorted(logprobs)]


def hidden_states(policy: Policy, row: Row) -> torch.Tensor:
    """Last hidden state [T, H] of a row, in the compute type."""
    inputs = {key: _move(value, policy.device) for key, value in row.inputs.items()}
    with policy.forward_context([item.prompt for item in row.items]):
        return policy.hidden_states(**inputs, use_cache=False)[0]


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
    """Logprob of each target and entropy of its distribution in nats, both [L], in at least float32.

    The operands of the head are rounded to `compute`; None: to the type of the hidden states.
    """
    compute = compute or hidden_LH.dtype
    return _TokenScores.apply(hidden_LH, weight_VH, target_L, banned, temperature, compute)  # pyright: ignore[reportReturnType]


class _TokenScores(torch.autograd.Function):
    """Saves one log-sum-exp and one entropy for each token, instead of the logits."""

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
            # 1. The logits of a chunk and the logprob of each target.
            logits_LV = _logits(hidden, rounded_VH, banned, temperature)
            lse_L = logits_LV.logsumexp(-1)
            logprob_L = logits_LV.gather(1, target[:, None])[:, 0] - lse_L
            # 2. Entropy = lse - sum of p * logit. A banned id has p = 0; its logit becomes 0, because 0 * -inf is NaN.
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
        dlogprob_L, dentropy_L = grads
        compute, rounded_VH = hidden_LH.dtype, weight_VH.to(hidden_LH.dtype)
        dhidden = torch.empty_like(hidden_LH, dtype=ctx.hidden_dtype) if ctx.needs_input_grad[0] else None
        dweight = torch.zeros_like(weight_VH, dtype=lse_L.dtype) if ctx.needs_input_grad[1] else None
        for start in range(0, len(target_L), CHUNK):
            part = slice(start, start + CHUNK)
            # 1. The logprobs of the chunk, computed again.
            logprob_LV = _logits(hidden_LH[part], rounded_VH, banned, ctx.temperature).sub_(lse_L[part, None])
            # 2. The gradient of the logits, in place of the probabilities p:
            #    d logprob / d logit = [is the target] - p,   d entropy / d logit = -p (log p + entropy).
            dlogits_LV = logprob_LV.exp()
            dtarget_L = torch.zeros_like(lse_L[part]) if dlogprob_L is None else dlogprob_L[part]
            if dentropy_L is None:
                dlogits_LV.mul_(-dtarget_L[:, None])
            else:
                centred_LV = logprob_LV.index_fill_(1, banned, 0.0).add_(entropy_L[part, None])
                dlogits_LV.mul_(centred_LV.mul_(-dentropy_L[part, None]).sub_(dtarget_L[:, None]))
            dlogits_LV.scatter_add_(1, target_L[part, None], dtarget_L[:, None]).div_(ctx.temperature)
            # 3. Through the head, with operands of the compute type.
            rounded_LV = dlogits_LV.to(compute)
            if dhidden is not None:
                dhidden[part] = wide_product(rounded_LV, rounded_VH)
            if dweight is not None:
                _add_product(dweight, rounded_LV.T, hidden_LH[part])
        dweight = None if dweight is None else dweight.to(weight_VH.dtype)
        return dhidden, dweight, None, None, None, None


def _logits(hidden_LH: torch.Tensor, weight_VH: torch.Tensor, banned: torch.Tensor, temperature: float) -> torch.Tensor:
    return wide_product(hidden_LH, weight_VH.T).div_(temperature).index_fill_(1, banned, float("-inf"))


def wide_product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a @ b in at least float32."""
    wide = torch.promote_types(a.dtype, torch.float32)
    if a.is_cuda and a.dtype != wide:
        return torch.mm(a, b, out_dtype=wide)
    return a.to(wide) @ b.to(wide)


def _add_product(total: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
    """total += a @ b; the total has the type of `wide_product`."""
    if a.is_cuda and a.dtype != total.dtype:
        torch.addmm(total, a, b, out_dtype=total.dtype, out=total)
    else:
        total.addmm_(a.to(total.dtype), b.to(total.dtype))


def log_distribution(logits_LV: torch.Tensor, banned: torch.Tensor, temperature: float) -> torch.Tensor:
    """Logprobs [L, V], in float32, of the distribution that rollouts are sampled from; `temperature` > 0."""
    return (logits_LV.float() / temperature).index_fill(-1, banned, float("-inf")).log_softmax(-1)
