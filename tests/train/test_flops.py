"""FLOPs of an update: by hand, and as torch counts them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers.geometries import small
from torch.utils.flop_counter import FlopCounterMode

from vlmrl.bench.geometry import Geometry, groups
from vlmrl.config.model import ModelSettings
from vlmrl.models.policy import Policy
from vlmrl.train.flops import update_flops, vision_flops


@pytest.fixture(scope="module")
def geometry(model_folder) -> Geometry:
    return small(model_folder("qwen2_5_vl"))


@pytest.fixture(scope="module")
def policy(geometry: Geometry) -> Policy:
    return geometry.load()


def test_flops_of_a_small_update_by_hand(geometry, policy) -> None:
    """Three completions of two tokens, one of which is computed, to a text prompt of 20."""
    made = groups(replace(geometry, image=None, prompt_tokens=20, completion=2, groups=1), policy)
    unique, plain = (update_flops(policy.core, made, share) for share in (True, False))
    # The tiny model: 4 layers of width 192, 6 heads and 2 key-value heads of 32, inner width 512, 352 ids.
    layer = 2 * 192 * 192 + 2 * 192 * 64 + 3 * 192 * 512
    assert unique.language == 3 * 2 * 4 * layer * (20 + 3)
    assert plain.language == 3 * 2 * 4 * layer * 3 * 21
    assert unique.attention == 3 * 4 * 192 * 4 * (210 + 3 * 21)
    assert plain.attention == 3 * 4 * 192 * 4 * 3 * 231
    assert unique.head == plain.head == 3 * 2 * 192 * 352 * 6
    assert unique.towers == plain.towers == 0


def test_flops_are_those_that_torch_counts(model_folder) -> None:
    """For each family: a forward pass of the model itself over a prompt with an image that has broken windows."""
    for family in ("qwen2_5_vl", "qwen2_vl", "qwen3_vl", "glm4v"):
        geometry = replace(small(model_folder(family)), image=(336, 196))
        policy = geometry.load()
        policy.model.set_attn_implementation("eager")
        group = groups(geometry, Policy.load(ModelSettings(path=str(geometry.model))))[0]
        prompt, core = group.prompt, policy.core
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            core.model(
                input_ids=prompt.input_ids[None],
                mm_token_type_ids=prompt.token_types[None],
                position_ids=prompt.positions[:, None],
                use_cache=False,
                **prompt.features,
            )
        ours = update_flops(core, [group], share_prompt=True)
        fed = sum(len(r.token_ids) - 1 for r in group.rollouts)
        tokens, text = len(prompt), core.config.text_config
        head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        square = 4 * text.num_hidden_layers * text.num_attention_heads * head * tokens**2
        language = ours.language / 3 * tokens / (tokens + fed)
        expected = language + square + vision_flops(core.model.visual, prompt)
        assert counter.get_total_flops() == pytest.approx(expected, rel=2e-3), family


def test_plain_work_is_g_times_the_prompt(geometry, policy) -> None:
    made = groups(replace(geometry, groups=1), policy)
    unique, plain = (update_flops(policy.core, made, share) for share in (True, False))
    assert plain.towers == pytest.approx(3 * unique.towers)
    assert plain.head == unique.head
    tokens = len(made[0].prompt)
    assert plain.language / unique.language == pytest.approx(3 * (tokens + 5) / (tokens + 15))
