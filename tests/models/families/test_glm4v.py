"""GLM-4.1V: what its processor, tokens and videos have of their own."""

from __future__ import annotations

import pytest
import torch
from helpers.packed_rows import make_items, run_packed
from helpers.samples import prompt_sample
from PIL import Image
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

from vlmrl.config.model import ModelSettings
from vlmrl.data.media import encode_png
from vlmrl.models.formatting import Formatter
from vlmrl.models.logprobs import log_distribution
from vlmrl.models.packing import pack
from vlmrl.models.policy import Policy
from vlmrl.rewards.composite import score
from vlmrl.sample import Media, Sample


@pytest.fixture(scope="module")
def policy(model_folder) -> Policy:
    return Policy.load(ModelSettings(path=str(model_folder("glm4v")), device="cpu"))


def picture(width: int, height: int, colour: str = "white") -> Media:
    return Media(data=encode_png(Image.new("RGB", (width, height), colour)))


def test_a_video_scores_as_transformers_scores_it(policy: Policy, mixed_samples: list[Sample]) -> None:
    """The reference gets the processor's own batch, with the video as a video, and computes positions itself."""
    item = make_items(policy, mixed_samples[3:])[0]
    ours = run_packed(policy, pack([item], 10_000))
    frames, metadata = policy.formatter._video(mixed_samples[3].media.videos[0])
    about = {"video_metadata": [metadata], "do_sample_frames": False, "do_resize": False}
    text = policy.formatter._chat(mixed_samples[3])
    batch = policy.formatter.processor(text=[text], videos=[frames], videos_kwargs=about, return_tensors="pt")
    for number, response in enumerate(item.responses):
        ids = torch.tensor([list(response)])
        own = {name: batch[name] for name in ("pixel_values_videos", "video_grid_thw")}
        logits = policy.core(
            input_ids=torch.cat([batch["input_ids"], ids], 1),
            mm_token_type_ids=torch.cat([batch["mm_token_type_ids"], torch.zeros_like(ids)], 1),
            **own,
        ).logits[0, len(item.prompt) - 1 : -1]
        banned = torch.tensor(policy.formatter.placeholder_ids)
        theirs = log_distribution(logits, banned, 1.0).gather(1, ids.T)[:, 0]
        assert (theirs - ours[0, number]).abs().max() < 1e-5


def test_images_and_videos_keep_the_order_of_the_prompt(policy: Policy, mixed_samples: list[Sample]) -> None:
    image, clip = picture(56, 84, "red"), mixed_samples[3].media.videos[0]
    encode = policy.formatter.encode
    mixed, single, film = encode(
        [
            prompt_sample("mixed", "<video><image> or <video>?", (image,), (clip, clip)),
            prompt_sample("single", "<image>?", (image,)),
            prompt_sample("film", "<video>?", videos=(clip,)),
        ]
    )
    one, frames = single.features["pixel_values"], film.features["pixel_values"]
    assert torch.equal(mixed.features["pixel_values"], torch.cat([frames, one, frames]))
    assert mixed.features["image_grid_thw"].tolist() == [[1, 6, 6]] * 2 + [[1, 6, 4]] + [[1, 6, 6]] * 2
    assert mixed.modality == "video"
    assert mixed.shown == ((56, 84),)
    assert len(mixed.media) == 5


@pytest.mark.parametrize(("width", "height"), [(840, 560), (300, 1200)])
def test_a_limit_of_pixels_means_what_it_means_for_qwen(model_folder, width: int, height: int) -> None:
    """GLM's processor counts the pixels of both frames of a patch, so its own limit is twice as high."""
    formatter = Formatter.load(str(model_folder("glm4v")), ModelSettings(max_pixels=112 * 112))
    (prompt,) = formatter.encode([prompt_sample("s", "<image>?", (picture(width, height),))])
    rows, columns = smart_resize(height, width, factor=28, min_pixels=28 * 28, max_pixels=112 * 112)
    assert prompt.shown == ((columns, rows),)


def test_its_tokens(policy: Policy) -> None:
    formatter = policy.formatter
    stops = set(formatter.tokenizer.convert_ids_to_tokens(formatter.stop_ids))
    assert stops == {"<|endoftext|>", "<|user|>", "<|observation|>"}
    banned = set(formatter.tokenizer.convert_ids_to_tokens(formatter.placeholder_ids))
    assert {"<|image|>", "<|video|>", "<|begin_of_image|>", "<|end_of_video|>"} <= banned
    assert not banned & {"<|begin_of_box|>", "<|end_of_box|>", "<think>", "<answer>", "<|assistant|>"}


def test_a_box_in_its_own_form_earns_1(policy: Policy) -> None:
    answer = "<think>On the left.</think><answer><|begin_of_box|>[[100,200,400,600]]<|end_of_box|></answer>"
    row = {
        "id": "s",
        "source": "boxes",
        "messages": [{"role": "user", "content": "<image>Where is it?"}],
        "media": {"images": [{"data": encode_png(Image.new("RGB", (840, 560)))}]},
        "reward": [{"verifier": "dynamic_iou", "target": [[84, 112, 336, 336]], "params": {"coords": "pixels"}}],
    }
    sample = Sample.model_validate(row)
    formatter = policy.formatter
    text = formatter.decode(formatter.encode_response(answer))
    assert text == answer
    (frame,) = formatter.frames.decided(sample)
    assert score(sample, text, {"dynamic_iou": frame}).score == 1.0
