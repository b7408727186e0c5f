"""Damaged images, videos and sounds: each is read or refused in one line, without a crash, a leak or a hang.

200 of them are tried, or as many as VLMRL_TEST_DAMAGED says: `VLMRL_TEST_DAMAGED=2000 pytest tests/data/test_da...`.
"""

from __future__ import annotations

import gc
import io
import os
import random
import socket
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest
from helpers import clips
from PIL import Image

from vlmrl.data.audio import check_audio
from vlmrl.data.media import image_size, load_image
from vlmrl.data.videos import check_video, read_frames, video_header
from vlmrl.errors import MOST_CHARACTERS, UnreadableError
from vlmrl.sample import Media

TRIED = int(os.environ.get("VLMRL_TEST_DAMAGED", "200"))
SEED = int(os.environ.get("VLMRL_TEST_SEED", "0"))
LEAK_MB = 48
"""What the allocator may keep; a reader that leaked a frame of each file would hold more."""


def still(form: str) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, form)
    return buffer.getvalue()


def sound(form: str, codec: str) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=form) as container:
        stream: Any = container.add_stream(codec, rate=16_000, layout="mono")
        for _ in range(20):
            tone = (np.sin(np.arange(1152) / 10) * 9_000).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
            frame.rate = 16_000
            for part in av.AudioResampler(stream.format.name, "mono", 16_000).resample(frame):
                container.mux(stream.encode(part))
        container.mux(stream.encode())
    return buffer.getvalue()


def wav() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as writer:
        writer.setparams((1, 2, 16_000, 0, "NONE", ""))
        writer.writeframes(bytes(8_000))
    return buffer.getvalue()


VIDEOS = (
    {"codec": "mpeg4"},
    {},
    {"options": {"movflags": "faststart"}},
    {"form": "matroska"},
    {"form": "webm", "codec": "libvpx-vp9"},
    {"form": "avi", "codec": "mpeg4"},
    {"form": "mpegts"},
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """One good file of each kind."""
    folder = tmp_path_factory.mktemp("whole")
    made = [still(form) for form in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")]
    made += [clips.animated(form, [100] * 6) for form in ("GIF", "WEBP", "PNG")]
    for number, own in enumerate(VIDEOS):
        made.append(clips.write(folder / f"{number}.mp4", frames=20, **own).read_bytes())
    return [*made, wav(), sound("mp3", "mp3"), sound("flac", "flac")]


def flipped(data: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 8, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def cut(data: bytearray, rng: random.Random) -> bytes:
    return bytes(data[: rng.randrange(len(data))])


def overwritten(data: bytearray, rng: random.Random) -> bytes:
    start, size = rng.randrange(len(data)), rng.randrange(1, 2000)
    part = bytes(size) if rng.random() < 0.5 else rng.randbytes(size)
    data[start : start + size] = part
    return bytes(data)


def broken_head(data: bytearray, rng: random.Random) -> bytes:
    data[4 : 4 + rng.randrange(1, 60)] = rng.randbytes(rng.randrange(1, 60))
    return bytes(data)


def without_middle(data: bytearray, rng: random.Random) -> bytes:
    start, end = sorted(rng.randrange(len(data)) for _ in range(2))
    return bytes(data[:start] + data[end:])


def doubled(data: bytearray, rng: random.Random) -> bytes:
    return bytes(data + data[rng.randrange(len(data)) :])


DAMAGES = (flipped, cut, overwritten, broken_head, without_middle, doubled)
READERS: tuple[Callable[[Media], Any], ...] = (
    load_image,
    image_size,
    video_header,
    check_video,
    lambda media: read_frames(media, lambda header: [0, header.frames - 1]),
    check_audio,
)


def outcome(read: Callable[[Media], Any], media: Media) -> str:
    try:
        read(media)
    except UnreadableError as error:
        line = str(error)
        assert "\n" not in line
        assert len(line) <= MOST_CHARACTERS
        return "refused"
    return "read"


@pytest.mark.parametrize("readers", [READERS[:-1], READERS[-1:]], ids=["pictures", "sounds"])
def test_each_is_read_or_refused_in_one_line(whole: list[bytes], tmp_path: Path, capfd, readers) -> None:
    """Every reader gets every damage: also sounds where videos belong, and images where sounds do."""
    rng, process, outcomes = random.Random(SEED), psutil.Process(), {"read": 0, "refused": 0}
    handles, memory = 0, 0
    for number in range(TRIED + 60):
        if number == 60:  # the first ones warm the libraries up
            gc.collect()
            handles, memory = process.num_fds(), process.memory_info().rss
        data = DAMAGES[number % len(DAMAGES)](bytearray(whole[number // 6 % len(whole)]), rng)
        (tmp_path / "file").write_bytes(data)
        media = Media(data=data) if number % 2 else Media(path=str(tmp_path / "file"))
        for read in readers:
            outcomes[outcome(read, media)] += 1
    gc.collect()
    assert min(outcomes.values()) > TRIED / 20
    assert capfd.readouterr().err == ""
    assert process.num_fds() <= handles
    assert process.memory_info().rss - memory < LEAK_MB * 2**20


@pytest.mark.parametrize("read", READERS)
def test_what_is_no_media_file_is_refused(read: Callable[[Media], Any], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, data in {
        "empty": b"",
        "zeros": bytes(200_000),
        "text": b"no media" * 99,
        "noise": b"\x80\xff\x01" * 999,
    }.items():
        (tmp_path / name).write_bytes(data)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
    for name in ("empty", "zeros", "text", "noise", "pipe", "socket", ".", "missing", "/dev/zero", "/proc/self/status"):
        assert outcome(read, Media(path=str(tmp_path / name))) == "refused", name
