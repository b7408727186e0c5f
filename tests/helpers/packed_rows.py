"""Groups packed into rows, and the reference: transformers alone on repeated prompts."""

from __future__ import annotations

import torch

from vlmrl.models.logprobs import log_distribution, score_row
from vlmrl.models.packing import Item, Row
from vlmrl.models.policy import Policy

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "glm4v")
"""Families that differ in what a packed row holds."""


def make_items(policy: Policy, samples, seed: int = 0) -> list[Item]:
    """Groups of unequal numbers of responses of unequal lengths, single tokens among them."""
    generator = torch.Generator().manual_seed(seed)
    items = []
    for number, prompt in enumerate(policy.formatter.encode(samples)):
        lengths = [1, *torch.randint(1, 12, (3 + number % 2,), generator=generator).tolist()]
        items.append(Item(number, prompt, [torch.randint(8, 350, (n,), generator=generator).tolist() for n in lengths]))
    return items


def plain_logprobs(policy: Policy, item: Item, response: list[int]) -> torch.Tensor:
    """The reference: transformers alone, prompt and media once more for this response, its own positions."""
    prompt, fed = item.prompt, torch.tensor(response)
    out = policy.core(
        input_ids=torch.cat([prompt.input_ids, fed])[None],
        mm_token_type_ids=torch.cat([prompt.token_types, torch.zeros_like(fed)])[None],
        attention_mask=torch.ones(1, len(prompt) + len(fed), dtype=torch.long),
        **prompt.features,
    )
    banned = torch.tensor(policy.formatter.placeholder_ids)
    logprobs = log_distribution(out.logits[0, len(prompt) - 1 : -1], banned, 1.0)
    return logprobs.gather(1, fed[:, None])[:, 0]


def weight(item: int, response: int) -> float:
    return 0.5 + 0.1 * item - 0.2 * response


def gradients(policy: Policy) -> dict[str, torch.Tensor]:
    found = {n: p.grad.clone() for n, p in policy.model.named_parameters() if p.grad is not None}
    policy.model.zero_grad(set_to_none=True)
    return found


def run_packed(policy: Policy, rows: list[Row]) -> dict[tuple[int, int], torch.Tensor]:
    found = {}
    for row in rows:
        scores = score_row(policy, row)
        loss = torch.zeros(())
        for span in row.spans:
            part = scores.logprob_L[span.start : span.stop]
            found[span.item, span.response] = part.detach()
            loss = loss + weight(span.item, span.response) * part.sum()
        loss.backward()
    return found
