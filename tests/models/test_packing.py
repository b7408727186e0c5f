"""Group-once packing is exact: the same logprobs and gradients as the unmodified model on repeated prompts."""

from __future__ import annotations

import pytest
import torch
from helpers.packed_rows import FAMILIES, gradients, make_items, plain_logprobs, run_packed, weight

from vlmrl.config.model import ModelSettings
from vlmrl.models.logprobs import score_row
from vlmrl.models.packing import Item, Row, pack
from vlmrl.models.policy import Policy


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


def test_an_item_that_fits_no_row_gets_its_own(policy: Policy, mixed_samples):
    prompts = policy.formatter.encode(mixed_samples[:2])
    rows = pack([Item(n, prompt, [[9] * 50, [9] * 3]) for n, prompt in enumerate(prompts)], 20)
    assert sorted([(s.item, s.response) for s in row.spans] for row in rows) == [[(n, 0), (n, 1)] for n in range(2)]
