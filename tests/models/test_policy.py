"""However a policy is trained, packed rows equal plain passes: adapters, frozen tower, checkpointing, bfloat16."""

from __future__ import annotations

import pytest
import torch
from helpers.packed_rows import FAMILIES, gradients, make_items, plain_logprobs, run_packed, weight

from vlmrl.config.model import LoraSettings, ModelSettings
from vlmrl.models.packing import pack
from vlmrl.models.policy import Policy

VARIANTS = {
    "lora": {"lora": LoraSettings(rank=4, alpha=8)},
    "lora, trained tower": {"lora": LoraSettings(rank=4, alpha=8, targets=r".*\.(q_proj|v_proj|qkv|proj)")},
    "frozen tower": {"freeze_towers": True},
    "frozen tower, checkpointing": {"freeze_towers": True, "gradient_checkpointing": True},
    "lora, checkpointing": {"lora": LoraSettings(rank=4, alpha=8), "gradient_checkpointing": True},
}


def load(folder, **settings) -> Policy:
    policy = Policy.load(ModelSettings(path=str(folder), device="cpu", **settings))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if "lora_B" in name:  # zero at the start, which would hide what the adapters do
                parameter.normal_(std=0.1)
    policy.model.train()
    return policy


def plain_pass(policy: Policy, items) -> dict[tuple[int, int], torch.Tensor]:
    found = {}
    for item in items:
        for number, response in enumerate(item.responses):
            with policy.autocast():
                plain = plain_logprobs(policy, item, list(response))
            (weight(item.name, number) * plain.sum()).backward()
            found[item.name, number] = plain.detach()
    return found


CASES = [(family, variant) for family in FAMILIES for variant in ("lora, trained tower", "frozen tower, checkpointing")]
CASES += [("qwen2_5_vl", variant) for variant in ("lora", "frozen tower", "lora, checkpointing")]
"""Where adapters sit and what a frozen tower hands over is the family's; the rest is not."""


@pytest.mark.parametrize(("family", "variant"), CASES)
def test_packed_equals_plain(model_folder, mixed_samples, family, variant):
    policy = load(model_folder(family), **VARIANTS[variant])
    items = make_items(policy, mixed_samples)
    packed = run_packed(policy, pack(items, 100_000))
    packed_gradients = gradients(policy)
    plain = plain_pass(policy, items)
    plain_gradients = gradients(policy)
    assert max((plain[key] - packed[key]).abs().max() for key in plain) < 1e-5
    trained = {name for name, p in policy.model.named_parameters() if p.requires_grad}
    assert packed_gradients.keys() == plain_gradients.keys() == trained
    scale = max(g.norm() for g in plain_gradients.values())
    for name, gradient in plain_gradients.items():
        difference = (gradient - packed_gradients[name]).norm()
        assert difference <= 1e-4 * max(gradient.norm(), 1e-2 * scale), name


def test_in_bfloat16_packing_adds_no_error_to_that_of_the_type(model_folder, mixed_samples):
    exact = load(model_folder("qwen3_vl"))
    rounded = load(model_folder("qwen3_vl"), compute="bfloat16")
    items = make_items(exact, mixed_samples)
    true = plain_pass(exact, items)
    packed, plain = run_packed(rounded, pack(items, 100_000)), plain_pass(rounded, items)

    def error(of: dict[tuple[int, int], torch.Tensor]) -> float:
        return torch.cat([(of[key] - true[key]).abs() for key in true]).mean().item()

    assert 1e-4 < error(plain) < 0.1, "bfloat16 would show nothing"
    assert error(packed) < 1.2 * error(plain)
