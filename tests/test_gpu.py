"""What needs a CUDA device: the same loop in bfloat16, packed = plain on the GPU, engines that agree."""

from __future__ import annotations

import pytest
import torch
from test_learner import learner_of, make_groups
from test_packing import make_items, run_packed

from vlmrl.packing import Item, pack
from vlmrl.policy import Policy
from vlmrl.rollout import Sampling
from vlmrl.rollout.hf import create
from vlmrl.scoring import score_row
from vlmrl.settings import HfSettings, ModelSettings

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
@pytest.mark.parametrize(("compute", "tolerance"), [("float32", 1e-3), ("bfloat16", 0.15)])
def test_packed_on_gpu_equals_packed_on_cpu(model_folder, mixed_samples, family: str, compute: str, tolerance: float):
    path = str(model_folder(family))
    on_cpu = Policy.load(ModelSettings(path=path, device="cpu"))
    on_gpu = Policy.load(ModelSettings(path=path, device="cuda", compute=compute))
    expected = run_packed(on_cpu, pack(make_items(on_cpu, mixed_samples), 10_000))
    with torch.no_grad():
        for row in pack(make_items(on_gpu, mixed_samples), 200):
            scores = score_row(on_gpu, row)
            for span in row.spans:
                difference = scores.logprob_L[span.start : span.stop].cpu() - expected[span.item, span.response]
                assert difference.abs().max() < tolerance


def test_rollouts_and_learner_agree_on_gpu(model_folder, mixed_samples):
    policy = Policy.load(ModelSettings(path=str(model_folder("qwen2_5_vl")), device="cuda", compute="float32"))
    prompts = policy.formatter.encode(mixed_samples)
    groups = create(HfSettings(), policy).generate(prompts, 4, Sampling(max_new_tokens=12, seed=3))
    items = [Item(n, p, [r.token_ids for r in g]) for n, (p, g) in enumerate(zip(prompts, groups, strict=True))]
    with torch.no_grad():
        for row in pack(items, 300):
            logprobs = score_row(policy, row).logprob_L.cpu()
            for span in row.spans:
                sampled = torch.tensor(groups[span.item][span.response].logprobs)
                assert (logprobs[span.start : span.stop] - sampled).abs().max() < 1e-3


def test_an_update_in_bfloat16_keeps_float32_weights(model_folder, mixed_samples):
    policy = Policy.load(ModelSettings(path=str(model_folder("qwen2_5_vl")), device="cuda"))
    assert policy.compute == torch.bfloat16
    report = learner_of(policy).update(make_groups(policy, mixed_samples))
    assert report.grad_norm > 0
    assert all(p.dtype == torch.float32 for p in policy.model.parameters())
