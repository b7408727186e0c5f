"""Forks are exact: logprobs and gradients of the unmodified model on repeated prompts, whatever the chunks."""

from __future__ import annotations

import pytest
import torch
from helpers.packed_rows import gradients, make_items, plain_logprobs, weight

from vlmrl.config.model import LoraSettings, ModelSettings
from vlmrl.models.fork import Fork, chunk_work
from vlmrl.models.logprobs import score, score_item, score_row
from vlmrl.models.packing import Item, Work, build, repeat
from vlmrl.models.policy import Policy

FAMILIES = ("qwen2_5_vl", "qwen3_vl", "qwen3_5")
TINY = ("A_log", "dt_bias")
"""Parameters of a recurrence whose gradients nearly cancel: their norm is a thousandth of the others'."""


def load(model_folder, family: str, **settings) -> Policy:
    return Policy.load(ModelSettings(path=str(model_folder(family)), device="cpu", **settings))


def chunks_of(item: Item, size: int) -> Fork:
    places = range(len(item.responses))
    return Fork(item, [places[start : start + size] for start in range(0, len(places), size)])


def run_forked(policy: Policy, items: list[Item], size: int) -> dict[tuple[int, int], torch.Tensor]:
    found = {}
    for item in items:
        for spans, scores in score(policy, chunks_of(item, size)):
            parts = scores.logprob_L.split([span.stop - span.start for span in spans])
            found |= {(s.item, s.response): part.detach() for s, part in zip(spans, parts, strict=True)}
            loss = [weight(s.item, s.response) * part.sum() for s, part in zip(spans, parts, strict=True)]
            torch.stack(loss).sum().backward()
    return found


@pytest.fixture(scope="module", params=FAMILIES)
def plain(request, model_folder, mixed_samples):
    """A policy with items, and the reference for both."""
    policy = load(model_folder, request.param)
    items = make_items(policy, mixed_samples)
    logprobs = {}
    for item in items:
        for number, response in enumerate(item.responses):
            found = plain_logprobs(policy, item, list(response))
            (weight(item.name, number) * found.sum()).backward()
            logprobs[item.name, number] = found.detach()
    return policy, items, logprobs, gradients(policy)


@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_forked_equals_plain(plain, size: int, checkpointing: bool):
    policy, items, plain_logprobs, plain_gradients = plain
    if checkpointing:
        policy.model.gradient_checkpointing_enable({"use_reentrant": False})
    policy.model.train()
    forked = run_forked(policy, items, size)
    forked_gradients = gradients(policy)
    policy.model.gradient_checkpointing_disable()
    assert forked.keys() == plain_logprobs.keys()
    assert max((forked[key] - plain_logprobs[key]).abs().max() for key in forked) < 1e-5
    assert forked_gradients.keys() == plain_gradients.keys()
    scale = max(g.norm() for g in plain_gradients.values())
    for name, gradient in plain_gradients.items():
        floor = 1e-2 * scale if name.endswith(TINY) else 1e-3 * scale
        assert (gradient - forked_gradients[name]).norm() <= 1e-4 * max(gradient.norm(), floor), name


def test_checkpointing_keeps_less_of_prompt_and_responses(model_folder, mixed_samples):
    """Where layers are recurrent, transformers would drop the cache instead."""
    policy = load(model_folder, "qwen3_5")
    (item, *_) = make_items(policy, mixed_samples)
    saved = {}
    for checkpointing in (False, True):
        if checkpointing:
            policy.model.gradient_checkpointing_enable({"use_reentrant": False})
        policy.model.train()
        tensors: list[torch.Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, kept=tensors: kept.append(x) or x, lambda x: x):
            ((_, scores),) = score(policy, chunks_of(item, 100))
        saved[checkpointing] = sum(x.nbytes for x in tensors)
        assert scores.logprob_L.requires_grad
    assert saved[True] < 0.7 * saved[False]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fork_with_adapters_trains_them_alone(model_folder, mixed_samples, family: str):
    policy = load(model_folder, family, lora=LoraSettings(rank=2), freeze_towers=True, vision_cache_mb=0)
    items = make_items(policy, mixed_samples[:2])
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    run_forked(policy, items, 2)
    forked = gradients(policy)
    assert forked.keys() == {name for name, p in policy.model.named_parameters() if p.requires_grad}
    for item in repeat(items):
        loss = score_row(policy, build([item], tree=False)).logprob_L.sum()
        (weight(item.name, (item.numbers or [0])[0]) * loss).backward()
    for name, gradient in gradients(policy).items():
        # What reaches the decay of a recurrence goes through an exponential of a sum, which float32 rounds more.
        within = 1e-3 if ".in_proj_a." in name else 1e-4
        assert (gradient - forked[name]).norm() <= within * gradient.norm(), name


def test_responses_of_one_token_need_no_pass_of_their_own(model_folder, mixed_samples):
    policy = load(model_folder, "qwen3_5")
    (prompt,) = policy.formatter.encode(mixed_samples[:1])
    item = Item(0, prompt, [[9], [10], [11]])
    ((_, scores),) = score(policy, chunks_of(item, 3))
    scores.logprob_L.sum().backward()
    alone = torch.cat([score_row(policy, build([one], tree=False)).logprob_L for one in repeat([item])])
    torch.testing.assert_close(scores.logprob_L, alone, atol=1e-5, rtol=0)
    assert gradients(policy)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_item_is_scored_in_the_order_of_its_responses(model_folder, mixed_samples, family: str):
    policy = load(model_folder, family)
    (item, *_) = make_items(policy, mixed_samples)
    logprobs = score_item(policy, item)
    assert not logprobs[0].requires_grad
    for response, found in zip(item.responses, logprobs, strict=True):
        torch.testing.assert_close(found, plain_logprobs(policy, item, list(response)), atol=1e-5, rtol=0)


def test_a_packed_row_of_recurrent_layers_is_refused(model_folder, mixed_samples):
    policy = load(model_folder, "qwen3_5")
    with pytest.raises(AssertionError, match="from one response into the next"):
        score_row(policy, build(make_items(policy, mixed_samples)))


def test_the_work_of_a_chunk_counts_its_padding(model_folder, mixed_samples):
    policy = load(model_folder, "qwen2_5_vl")
    (prompt,) = policy.formatter.encode(mixed_samples[:1])
    item = Item(0, prompt, [[9] * 5, [9] * 2, [9] * 3])
    one = Work.of_response(prompt, 5)
    assert chunk_work(item, [0, 1]) == Work(2 * one.tokens, 2 * one.pairs, scored=7)
    assert chunk_work(item, [1, 2], block=64).tokens == 2 * 64
