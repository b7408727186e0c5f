"""Videos are read to their end; a file that is something else or cut off is named as what it is."""

from __future__ import annotations

import io
import tempfile
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from vlmrl.data import clips
from vlmrl.data.audio import check_audio
from vlmrl.data.check import Checker
from vlmrl.data.videos import check_video
from vlmrl.errors import UnreadableError
from vlmrl.sample import Media, Sample

CONTAINERS = {
    "mp4": ("mp4", {}),
    "mp4 with its index first": ("mp4", {"movflags": "faststart"}),
    "mov": ("mov", {}),
    "avi": ("avi", {}),
    "mkv": ("matroska", {}),
}


def video(form: str = "mp4", options: dict[str, str] | None = None, frames: int = 40) -> bytes:
    """Frames of noise, 64 x 48, at 10 a second."""
    random = np.random.default_rng(0)
    with tempfile.NamedTemporaryFile() as file, av.open(file.name, "w", form, options=options or {}) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(frames):
            pixels = random.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
        container.close()
        return Path(file.name).read_bytes()


def sound() -> bytes:
    """Two seconds of a tone as WAV."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes((np.sin(np.arange(32_000) / 10) * 9_000).astype("<i2").tobytes())
    return file.getvalue()


def encoded(form: str, codec: str) -> bytes:
    """Noise, which no codec shortens to nothing."""
    file, random = io.BytesIO(), np.random.default_rng(0)
    with av.open(file, "w", format=form) as container:
        stream: Any = container.add_stream(codec, rate=48_000)
        stream.codec_context.layout = "mono"
        for number in range(40):
            noise = (random.standard_normal((1, 960)) * 8000).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(noise, format="s16", layout="mono")
            frame.rate, frame.pts = 48_000, number * 960
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def mp3() -> bytes:
    return encoded("mp3", "mp3")


def flac() -> bytes:
    return encoded("flac", "flac")


def ogg_opus() -> bytes:
    return encoded("ogg", "libopus")


def ogg_flac() -> bytes:
    return encoded("ogg", "flac")


def aiff() -> bytes:
    return encoded("aiff", "pcm_s16be")


def still() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, "PNG")
    return buffer.getvalue()


def complaint(check, data: bytes) -> str:
    with pytest.raises(UnreadableError) as caught:
        check(Media(data=data))
    line = str(caught.value)
    assert "\n" not in line
    assert ".cc:" not in line
    assert "/tmp" not in line
    assert len(line) < 300
    return line


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_whole_video_is_good_and_a_cut_one_is_not(name: str) -> None:
    data = video(*CONTAINERS[name])
    check_video(Media(data=data))
    for share in (0.99, 0.8, 0.4):
        line = complaint(check_video, data[: int(len(data) * share)])
        assert f"not a readable video (cut off: {int(len(data) * share):,} of its " in line


def test_a_damaged_video_names_its_last_good_frame() -> None:
    data = bytearray(video("mp4"))
    middle = len(data) // 2
    data[middle : middle + 5_000] = np.random.default_rng(1).bytes(5_000)
    assert "damaged or cut off after frame " in complaint(check_video, bytes(data))


OTHERS = {
    "empty": (b"", "it is empty"),
    "zeros": (bytes(999), "it is nothing but zero bytes"),
    "text": (b"not a video", "it is text"),
    "HTML": (b"<html><body>404</body></html>", "it is an HTML page"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", "run `git lfs pull`"),
    "PNG": (still(), "it is a PNG image"),
    "noise": (bytes(range(128, 256)) * 99, "it is data of an unknown kind"),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("check", [check_video, check_audio])
def test_what_is_not_a_clip_is_named(check, name: str) -> None:
    data, says = OTHERS[name]
    assert says in complaint(check, data)


def test_sound_is_not_a_video_and_a_video_without_sound_is_not_an_audio_clip() -> None:
    assert "it is a WAV audio clip" in complaint(check_video, sound())
    assert "it is an MP4 video without sound" in complaint(check_audio, video())


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("make", [sound, mp3, flac, ogg_opus, ogg_flac, aiff])
def test_a_whole_audio_clip_is_good_and_a_cut_one_is_not(make, share: float) -> None:
    data = make()
    check_audio(Media(data=data))
    said = complaint(check_audio, data[: int(len(data) * share)])
    assert "not a readable audio clip (" in said
    assert "cut off" in said


def test_a_flac_file_that_states_no_length_is_still_read_to_its_end() -> None:
    data = flac()
    streamed = data[:21] + bytes([data[21] & 0xF0, 0, 0, 0, 0]) + data[26:]
    check_audio(Media(data=streamed))
    assert "a FLAC audio clip" in complaint(check_audio, streamed[: len(streamed) * 9 // 10])


@pytest.mark.parametrize("make", [ogg_opus, ogg_flac])
def test_an_ogg_file_that_ends_between_two_pages_is_cut_off(make) -> None:
    data = make()
    assert "cut off: it stops before the end of its stream" in complaint(check_audio, data[: data.rindex(b"OggS")])


def test_without_a_decoder_the_head_is_read(monkeypatch) -> None:
    monkeypatch.setattr(clips, "decoder", lambda: None)
    check_audio(Media(data=sound()))
    assert "it is text" in complaint(check_audio, b"no sound")


def test_data_check_names_file_row_and_kind(tmp_path: Path) -> None:
    files = {"good.mp4": video(), "text.mp4": b"not a video", "cut.mp4": video()[:9_000], "cut.wav": sound()[:999]}
    rows = []
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        kind = "audio" if name.endswith("wav") else "video"
        sample = Sample.model_validate({
            "id": name, "source": "clips", "messages": [{"role": "user", "content": f"<{kind}>How many in {name}?"}],
            "media": {f"{kind}s": [name]}, "reward": [{"verifier": "counting", "target": 3}],
        })  # fmt: skip
        rows.append(sample.model_dump_json(exclude_defaults=True).replace('{"path":"' + name + '"}', f'"{name}"'))
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(rows))
    checker = Checker()
    first, second, third = map(str, checker.errors(str(file)))
    assert first.startswith(f"{file}:2: media.videos.0: {tmp_path}/text.mp4: not a readable video (it is text)")
    assert second.startswith(f"{file}:3: media.videos.0: {tmp_path}/cut.mp4: not a readable video (cut off")
    assert third.startswith(f"{file}:4: media.audios.0: {tmp_path}/cut.wav: not a readable audio clip (cut off")
    assert checker.counts["modality"] == {"1 video": 1}
