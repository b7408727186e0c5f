"""Samples to prompts: token counts, positions, limits, and clear refusals."""

from __future__ import annotations

import io
import random

import pytest
import torch
from conftest import write_video
from helpers import clips
from helpers.samples import prompt_sample
from PIL import ExifTags, Image

from vlmrl.config.model import ModelSettings
from vlmrl.errors import UnreadableError, UserError
from vlmrl.models.family import load_config
from vlmrl.models.formatting import Formatter
from vlmrl.sample import Media, Message, Sample


@pytest.fixture(scope="module", params=["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "glm4v"])
def formatter(request: pytest.FixtureRequest, model_folder) -> Formatter:
    return Formatter.load(str(model_folder(request.param)))


def test_batch_equals_one_by_one(formatter: Formatter, mixed_samples):
    batch = formatter.encode(mixed_samples)
    assert [p.modality for p in batch] == ["image", "images", "text", "video"]
    for sample, prompt in zip(mixed_samples, batch, strict=True):
        (single,) = formatter.encode([sample])
        assert torch.equal(prompt.input_ids, single.input_ids)
        assert torch.equal(prompt.positions, single.positions)
        assert prompt.features.keys() == single.features.keys()
        assert all(torch.equal(prompt.features[k], single.features[k]) for k in prompt.features)
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
        formatter.encode([prompt_sample("x", f"what is {formatter.processor.image_token}?")])


def test_a_placeholder_beside_images_is_refused_in_its_own_row(formatter: Formatter, mixed_samples):
    image = mixed_samples[0].media.images
    wrong = prompt_sample("x", f"<image>what is {formatter.processor.image_token}?", image)
    for batch in ([wrong], [mixed_samples[0], wrong, mixed_samples[1]]):
        with pytest.raises(UserError, match=r"sample 'x': \d+ image_tokens in the prompt.*placeholder"):
            formatter.encode(batch)


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


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("text", r"it is text"),
        ("cut", r"cut off: [\d,]+ of its [\d,]+ bytes are there"),
        ("damaged", r"damaged or cut off after frame \d+ of 40"),
    ],
)
def test_a_broken_video_is_named_with_its_row_and_its_fault(formatter: Formatter, tmp_path, kind: str, says: str):
    path = tmp_path / "clip.mp4"
    write_video(path, frames=40)
    data = bytearray(path.read_bytes())
    if kind == "damaged":
        data[200:-2000] = random.Random(1).randbytes(len(data) - 2200)
    path.write_bytes({"text": b"not a video", "cut": data[: len(data) // 2]}.get(kind, data))
    with pytest.raises(UnreadableError, match=rf"^sample 'v': media\.videos\.0: .*clip\.mp4: not a readable .*{says}"):
        formatter.encode([prompt_sample("v", "<video>?", videos=(Media(path=str(path)),))])


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be loaded"):
        load_config(str(tmp_path))


def test_responses_round_trip(formatter: Formatter):
    text = '{"bbox_2d":[28,2,65,39]}'
    ids = formatter.encode_response(text)
    assert ids[-1] in formatter.stop_ids
    assert formatter.decode(ids) == text


# --- sizes ------------------------------------------------------------------------------------------------


def picture(width: int, height: int, form: str = "PNG", turned: bool = False) -> Media:
    """With `turned`, a quarter to the right of how it is stored."""
    buffer, exif = io.BytesIO(), Image.Exif()
    if turned:
        exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (width, height), "red").save(buffer, form, exif=exif)
    return Media(data=buffer.getvalue())


SIDES = ((1, 1), (28, 28), (33, 57), (448, 448), (1999, 1501), (30, 900), (7, 1300), (2600, 13), (100, 43))
LIMITS = (
    ModelSettings(),
    ModelSettings(max_pixels=90 * 90),
    ModelSettings(max_pixels=200 * 200),
)


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "glm4v"])
def test_a_size_is_that_of_the_encoded_prompt(model_folder, mixed_samples, family: str, limits: ModelSettings):
    formatter = Formatter.load(str(model_folder(family)), limits)
    turned = [picture(60, 200, form, turned=True) for form in ("JPEG", "TIFF", "PNG", "WEBP")]
    pictures = [picture(*side) for side in SIDES] + turned
    samples = [prompt_sample(str(n), "é <image>\n<b>what?", (one,)) for n, one in enumerate(pictures)]
    samples += [prompt_sample("all", "<image>" * len(pictures), tuple(pictures)), *mixed_samples[:3]]
    for sample in samples:
        (prompt,), size = formatter.encode([sample]), formatter.size(sample)
        assert (size.sample_id, size.tokens, size.patches) == (sample.id, len(prompt), prompt.patches)


VIDEOS = tuple(
    {"size": size, "frames": frames, "rate": rate}
    for size, frames, rate in zip(
        [(56, 56), (64, 48), (200, 90), (90, 200), (322, 242)] * 4,
        [1, 2, 3, 8, 9, 30, 31, 64, 100, 200] * 2,
        [1, 2, 5, 10, 24, 25, 30, 60, 7, 12, 30, 3, 1, 2, 15, 50, 8, 10, 30, 4],
        strict=True,
    )
)
"""Clips of 20 different sizes, lengths and rates."""


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_the_size_of_a_video_is_known_from_its_header(model_folder, tmp_path, monkeypatch, family: str):
    formatter = Formatter.load(str(model_folder(family)), ModelSettings(video_max_pixels=90_000, video_max_frames=40))
    media = [Media(path=str(clips.write(tmp_path / f"{n}.mp4", **clip))) for n, clip in enumerate(VIDEOS)]
    media += [Media(path=media[9].path, start=1, end=4), Media(data=clips.animated("GIF", [80] * 17))]
    samples = [prompt_sample(str(n), "é <video>\nwhen?", videos=(one,)) for n, one in enumerate(media)]
    samples.append(prompt_sample("three", "<video>or <video><video>?", videos=tuple(media[3:6])))
    prompts = [formatter.encode([sample])[0] for sample in samples]
    monkeypatch.setattr("vlmrl.models.formatting.read_video", None)
    for sample, prompt in zip(samples, prompts, strict=True):
        size = formatter.size(sample)
        assert (size.sample_id, size.tokens, size.patches) == (sample.id, len(prompt), prompt.patches)
    assert len({len(prompt) for prompt in prompts}) > 10


def test_a_video_that_is_too_long_is_refused_before_it_is_decoded(model_folder, tmp_path, monkeypatch):
    formatter = Formatter.load(str(model_folder("qwen2_5_vl")), ModelSettings(max_prompt_tokens=100))
    media = Media(path=str(clips.write(tmp_path / "clip.mp4", frames=200, size=(112, 112))))
    with pytest.raises(UserError) as of_prompt:
        formatter.encode([prompt_sample("v", "<video>?", videos=(media,))])
    monkeypatch.setattr("vlmrl.models.formatting.read_video", None)
    with pytest.raises(
        UserError, match=r"^sample 'v': its prompt has \d+ tokens, over model.max_prompt_tokens"
    ) as of_size:
        formatter.size(prompt_sample("v", "<video>?", videos=(media,)))
    assert str(of_size.value) == str(of_prompt.value)


@pytest.mark.parametrize(
    ("text", "sides", "complaint"),
    [
        ("word " * 200, (), "over model.max_prompt_tokens = 100"),
        ("<image>", ((560, 560),), "over model.max_prompt_tokens = 100"),
        ("<image><|image_pad|>", ((84, 84),), r"10 image_tokens in the prompt, 9 features"),
        ("<|video_pad|>?", (), "1 video_tokens in the prompt, 0 features"),
        ("<image>", ((900, 3),), "900 x 3 pixels .*crop the image or drop the row"),
    ],
)
def test_a_size_is_refused_as_the_prompt_is(
    model_folder, text: str, sides: tuple[tuple[int, int], ...], complaint: str
):
    formatter = Formatter.load(str(model_folder("qwen2_5_vl")), ModelSettings(max_prompt_tokens=100))
    sample = prompt_sample("x", text, tuple(picture(*side) for side in sides))
    with pytest.raises(UserError, match=f"^sample 'x': .*{complaint}") as of_size:
        formatter.size(sample)
    with pytest.raises(UserError) as of_prompt:
        formatter.encode([sample])
    assert str(of_size.value) == str(of_prompt.value)


def test_a_broken_image_is_named_with_its_row(formatter: Formatter, tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(b"no image")
    sample = prompt_sample("x", "<image>", (Media(path=str(path)),))
    for refuses in (formatter.size, lambda sample: formatter.encode([sample])):
        with pytest.raises(UserError, match=r"^sample 'x': .*broken\.png: not"):
            refuses(sample)
