"""A vision tower attends the same by batches of segments as one segment after the other, in value and gradient."""

from __future__ import annotations

import pytest
import torch
from helpers.packed_rows import FAMILIES

from vlmrl.config.model import ModelSettings
from vlmrl.models.attention.segments import NAME, segment_batches, use_batched_segments
from vlmrl.models.policy import Policy


@pytest.mark.parametrize("family", FAMILIES)
def test_batched_equals_one_by_one(model_folder, family) -> None:
    policy = Policy.load(ModelSettings(path=str(model_folder(family)), device="cpu"))
    policy.core.set_attn_implementation({"vision_config": "sdpa"})
    tower = policy.core.model.visual
    channels = getattr(tower.config, "in_channels", None) or tower.config.in_chans
    # Broken windows, several frames, whole windows.
    frames = [[1, 8, 4]] * 3 if family == "glm4v" else [[3, 8, 4]]  # the tower of GLM takes each frame as an image
    grid_thw = torch.tensor([[1, 18, 26], *frames, [1, 16, 16]])
    width = channels * tower.config.temporal_patch_size * tower.config.patch_size**2
    pixels = torch.randn(int(grid_thw.prod(-1).sum()), width, generator=torch.Generator().manual_seed(0))
    results = []
    for batched in (False, True):
        if batched:
            use_batched_segments(policy.core)
            assert tower.config._attn_implementation == NAME
        out = tower(pixels, grid_thw=grid_thw)
        embedding = torch.cat([out.pooler_output, *(getattr(out, "deepstack_features", None) or [])], 1)
        parameters = [p for p in tower.parameters() if p.requires_grad]
        results.append((embedding, *torch.autograd.grad(embedding.square().sum(), parameters)))
    for one_by_one, together in zip(*results, strict=True):
        torch.testing.assert_close(together, one_by_one, rtol=1e-5, atol=1e-6)


def test_segments_of_one_length_stay_where_they_are() -> None:
    found = segment_batches(torch.tensor([0, 4, 8, 12], dtype=torch.int32))
    assert found.shapes == [(3, 4)]
    assert found.order_N is None


def test_segments_are_sorted_by_length_and_put_back() -> None:
    found = segment_batches(torch.tensor([0, 3, 4, 7, 8], dtype=torch.int32))
    assert found.shapes == [(2, 1), (2, 3)]
    assert found.order_N is not None
    assert found.inverse_N is not None
    assert found.order_N.tolist() == [3, 7, 0, 1, 2, 4, 5, 6]
    assert found.order_N[found.inverse_N].tolist() == list(range(8))
