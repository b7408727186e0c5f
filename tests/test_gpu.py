"""What needs a CUDA device: packed = plain on the GPU, in value and gradient, engines that agree, an update in bf16."""

from __future__ import annotations

import pytest
import torch
from helpers.learners import learner_of, make_groups
from helpers.packed_rows import gradients, make_items, run_packed
from helpers.tree_masks import LONG, TREES, dense_mask, inputs, plain

from vlmrl.config.model import ModelSettings
from vlmrl.config.rollout import HfSettings
from vlmrl.models import logprobs
from vlmrl.models.attention.segments import use_batched_segments
from vlmrl.models.attention.tree import Tree, flex_tree
from vlmrl.models.logprobs import score_row
from vlmrl.models.packing import Item, pack
from vlmrl.models.policy import Policy
from vlmrl.rollout import Sampling
from vlmrl.rollout.engines.hf import create

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device, or not asked for by -m gpu"),
]


@pytest.fixture(autouse=True)
def whole_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions of float32 round to TF32 by default."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.mark.parametrize("width", [16, 80, 128])
@pytest.mark.parametrize("name", TREES | LONG)
def test_flex_attention_equals_masked_attention_in_value_and_gradient(name, width) -> None:
    branches = (TREES | LONG)[name]
    mask = dense_mask(branches).cuda()
    tensors = [x.detach().cuda().requires_grad_() for x in inputs(len(mask), 8, 2, torch.float32, width=width)]
    results = []
    for out in (flex_tree(*tensors, 0.2, Tree(tuple(branches), "cuda")), plain(*tensors, 0.2, mask)):
        results.append((out, *torch.autograd.grad(out.square().sum(), tensors)))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_the_head_in_bfloat16() -> None:
    """Against float64 on the same rounded operands: values to float32, gradients to bfloat16."""
    torch.manual_seed(0)
    hidden, weight = torch.randn(700, 64), torch.randn(1000, 64)
    target, banned = torch.randint(0, 900, (700,)), torch.tensor([950, 951])
    results = []
    for device, dtype, compute in (("cuda", torch.float32, torch.bfloat16), ("cpu", torch.float64, torch.float64)):
        operands = [x.bfloat16().to(device, dtype).requires_grad_() for x in (hidden, weight)]
        scores = logprobs.token_scores(*operands, target.to(device), banned.to(device), compute=compute)
        grads = torch.autograd.grad(scores[0].sum() + 0.1 * scores[1].sum(), operands)
        results.append([x.detach().cpu().double() for x in (*scores, *grads)])
    for number, (ours, theirs) in enumerate(zip(*results, strict=True)):
        if number < 2:
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
        else:
            assert (ours - theirs).norm() < 1e-2 * theirs.norm()


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
@pytest.mark.parametrize(("compute", "logprob", "gradient"), [("float32", 1e-3, 1e-2), ("bfloat16", 0.1, 0.2)])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_packed_on_gpu_equals_packed_on_cpu(
    model_folder, mixed_samples, family: str, compute: str, logprob: float, gradient: float, checkpointing: bool
):
    """Mean difference of a logprob, and of the gradient in relation to its norm."""
    path = str(model_folder(family))
    on_cpu = Policy.load(ModelSettings(path=path, device="cpu"))
    settings = {"compute": compute, "gradient_checkpointing": checkpointing}
    on_gpu = Policy.load(ModelSettings(path=path, device="cuda", **settings))
    use_batched_segments(on_gpu.core)
    on_gpu.model.train()
    expected = run_packed(on_cpu, pack(make_items(on_cpu, mixed_samples), 10_000))
    found = run_packed(on_gpu, pack(make_items(on_gpu, mixed_samples), 200))
    differences = torch.cat([(found[key].cpu() - expected[key]).abs() for key in expected])
    assert differences.mean() < logprob
    theirs = gradients(on_cpu)
    squares = {name: (ours.cpu() - theirs[name]).square().sum() for name, ours in gradients(on_gpu).items()}
    assert squares.keys() == theirs.keys()
    assert sum(squares.values()) ** 0.5 < gradient * sum(g.square().sum() for g in theirs.values()) ** 0.5


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
    learner = learner_of(policy)
    groups = make_groups(policy, mixed_samples)
    reports = [learner.update(groups) for _ in range(2)]
    assert all(report.grad_norm > 0 for report in reports)
    assert all(p.dtype == torch.float32 for p in policy.model.parameters())
    metrics = learner.planner.metrics()
    assert 0 < metrics["seconds/plan/memory_mb"] < metrics["plan/memory_mb"]
