"""Samples to prompts: token counts, positions, limits, and clear refusals."""

from __future__ import annotations

import json

import pytest
import torch
from conftest import prompt_sample

from vlmrl.errors import UserError
from vlmrl.formatting import Formatter, load_config
from vlmrl.sample import Media, Message, Sample
from vlmrl.settings import ModelSettings


@pytest.fixture(scope="module", params=["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def formatter(request: pytest.FixtureRequest, model_folder) -> Formatter:
    return Formatter.load(str(model_folder(request.param)))


def test_batch_equals_one_by_one(formatter: Formatter, mixed_samples):
    batch = formatter.encode(mixed_samples)
    assert [p.modality for p in batch] == ["image", "images", "text", "video"]
    for sample, prompt in zip(mixed_samples, batch, strict=True):
        (single,) = formatter.encode([sample])
        assert torch.equal(prompt.input_ids, single.input_ids)
        assert torch.equal(prompt.positions, single.positions)
        assert prompt.vision.keys() == single.vision.keys()
        assert all(torch.equal(prompt.vision[k], single.vision[k]) for k in prompt.vision)
        assert prompt.next_position == single.next_position


def test_placeholders_match_features(formatter: Formatter, mixed_samples):
    merge = formatter.config.vision_config.spatial_merge_size**2
    for prompt in formatter.encode(mixed_samples):
        placeholders = int((prompt.token_types > 0).sum())
        assert placeholders * merge == prompt.patches


def test_a_demonstration_is_no_part_of_the_prompt(formatter: Formatter, mixed_samples):
    sample = mixed_samples[2]
    taught = sample.model_copy(update={"messages": (*sample.messages, Message(role="assistant", content="3"))})
    with_it, without = formatter.encode([taught, sample])
    assert torch.equal(with_it.input_ids, without.input_ids)


def test_images_are_resized_to_the_limits(model_folder, mixed_samples):
    folder = str(model_folder("qwen2_5_vl"))
    small = Formatter.load(folder, ModelSettings(max_pixels=56 * 56))
    (prompt,) = small.encode(mixed_samples[:1])
    assert prompt.patches == 16


def test_a_long_prompt_is_refused_not_cut(model_folder, mixed_samples):
    formatter = Formatter.load(str(model_folder("qwen2_5_vl")), ModelSettings(max_prompt_tokens=20))
    with pytest.raises(UserError, match=r"sample 'one'.*32 tokens.*max_prompt_tokens = 20"):
        formatter.encode(mixed_samples)


def test_a_placeholder_typed_into_the_text_is_refused(formatter: Formatter):
    with pytest.raises(UserError, match=r"sample 'x'.*placeholder"):
        formatter.encode([prompt_sample("x", "what is <|image_pad|>?")])


def test_audio_is_refused_with_the_model_family(formatter: Formatter):
    sample = Sample.model_validate(
        {
            "id": "a",
            "source": "s",
            "messages": [{"role": "user", "content": "<audio>?"}],
            "media": {"audios": ["a.wav"]},
            "reward": [{"verifier": "counting", "target": 1}],
        }
    )
    with pytest.raises(UserError, match="has audio"):
        formatter.encode([sample])


def test_a_broken_video_is_named(formatter: Formatter, tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"not a video")
    with pytest.raises(UserError, match=r"clip\.mp4: cannot read the video"):
        formatter.encode([prompt_sample("v", "<video>?", videos=(Media(path=str(path)),))])


def test_a_model_that_is_no_qwen_vl_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be loaded"):
        load_config(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(UserError, match="'bert' model, not a Qwen-VL one"):
        load_config(str(tmp_path))


def test_responses_round_trip(formatter: Formatter):
    text = '{"bbox_2d":[28,2,65,39]}'
    ids = formatter.encode_response(text)
    assert ids[-1] in formatter.stop_ids
    assert formatter.decode(ids) == text
