"""Group-once packing is exact: the same logprobs and gradients as the unmodified model on repeated prompts."""

from __future__ import annotations

import pytest
import torch

from vlmrl.config.model import ModelSettings
from vlmrl.models.logprobs import log_distribution, score_row
from vlmrl.models.packing import Item, Row, pack
from vlmrl.models.policy import Policy

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")


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
        **prompt.vision,
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


@pytest.fixture(scope="module", params=FAMILIES)
def policy(request: pytest.FixtureRequest, model_folder) -> Policy:
    return Policy.load(ModelSettings(path=str(model_folder(request.param)), device="cpu"))


@pytest.mark.parametrize("row_tokens", [100_000, 80])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_packed_equals_plain(policy: Policy, mixed_samples, row_tokens: int, checkpointing: bool):
    items = make_items(policy, mixed_samples)
    if checkpointing:
        policy.model.gradient_checkpointing_enable({"use_reentrant": False})
    policy.model.train()
    rows = pack(items, row_tokens)
    assert (len(rows) == 1) == (row_tokens == 100_000)
    packed = run_packed(policy, rows)
    packed_gradients = gradients(policy)
    policy.model.gradient_checkpointing_disable()

    worst = 0.0
    for item in items:
        for number, response in enumerate(item.responses):
            plain = plain_logprobs(policy, item, list(response))
            (weight(item.name, number) * plain.sum()).backward()
            worst = max(worst, (plain.detach() - packed[item.name, number]).abs().max().item())
    assert worst < 1e-5
    plain_gradients = gradients(policy)
    assert packed_gradients.keys() == plain_gradients.keys()
    scale = max(g.norm() for g in plain_gradients.values())
    for name, gradient in plain_gradients.items():
        difference = (gradient - packed_gradients[name]).norm()
        assert difference <= 1e-4 * max(gradient.norm(), 1e-2 * scale), name


def test_a_shared_prompt_is_computed_once(policy: Policy, mixed_samples):
    items = make_items(policy, mixed_samples)
    (row,) = pack(items, 100_000)
    assert row.tokens == sum(len(i.prompt) + sum(len(r) - 1 for r in i.responses) for i in items)
    repeated = pack(items, 100_000, share_prompt=False)
    assert sum(r.tokens for r in repeated) == sum(len(i.prompt) + len(r) - 1 for i in items for r in i.responses)


def test_repeating_the_prompt_changes_no_logprob(policy: Policy, mixed_samples):
    items = make_items(policy, mixed_samples)
    with torch.no_grad():
        shared = {(s.item, s.response): p for r in pack(items, 200) for s, p in parts(policy, r)}
        repeated = {(s.item, s.response): p for r in pack(items, 200, share_prompt=False) for s, p in parts(policy, r)}
    assert shared.keys() == repeated.keys()
    assert all(torch.allclose(shared[key], repeated[key], atol=1e-5) for key in shared)


def parts(policy: Policy, row: Row):
    scores = score_row(policy, row)
    return [(span, scores.logprob_L[span.start : span.stop]) for span in row.spans]


def test_a_group_too_large_for_a_row_is_split_with_its_prompt(policy: Policy, mixed_samples):
    (prompt,) = policy.formatter.encode(mixed_samples[:1])
    item = Item(7, prompt, [[9] * 10 for _ in range(8)])
    rows = pack([item], len(prompt) + 40)
    assert [len(r.items) for r in rows] == [1, 1]
    assert all(r.tokens <= len(prompt) + 40 for r in rows)
    assert sorted((s.item, s.response) for r in rows for s in r.spans) == [(7, n) for n in range(8)]


def test_a_response_that_fits_no_row_still_gets_one(policy: Policy, mixed_samples):
    (prompt,) = policy.formatter.encode(mixed_samples[:1])
    rows = pack([Item(0, prompt, [[9] * 50, [9] * 3])], 20)
    assert sorted(s.response for r in rows for s in r.spans) == [0, 1]
