"""Clips for tests, written with PyAV: a bright corner that moves to nowhere, and a brightness that tells the frame."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image


def grey(number: int) -> int:
    """The brightness of a frame, by its number: the same again after 40."""
    return 20 + number * 7 % 40 * 5


def picture(number: int, width: int, height: int) -> np.ndarray:
    """[height, width, 3]: grey, its upper left corner white."""
    pixels = np.full((height, width, 3), grey(number), np.uint8)
    pixels[: height // 3, : width // 3] = 255
    return pixels


def write(
    path: Path,
    frames: int = 40,
    size: tuple[int, int] = (64, 48),
    rate: int | Fraction = 10,
    codec: str = "libx264",
    form: str | None = None,
    milliseconds: Sequence[int] = (),
    rotation: int = 0,
    options: dict[str, str] | None = None,
    keys: int = 12,
    layout: str = "yuv420p",
) -> Path:
    """Writes `frames` frames of `size` (width, height), at a constant rate or at the times `milliseconds`.

    `rotation`: degrees by which players turn it, counterclockwise. `keys`: frames between two key frames.
    """
    with av.open(str(path), "w", format=form, options=options or {}) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = layout
        stream.codec_context.gop_size = keys
        stream.bit_rate = 2_000_000
        if rotation:
            stream.set_display_rotation(rotation)
        if milliseconds:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24")
            if milliseconds:
                frame.pts, frame.time_base = milliseconds[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def numbers(frames: np.ndarray, most: int = 40) -> list[int]:
    """Which frames these are [n, height, width, 3], by their brightness at the lower right."""
    seen = frames[:, -8:, -8:].mean((1, 2, 3))
    return [int(np.abs(seen_one - [grey(n) for n in range(most)]).argmin()) for seen_one in seen]


def animated(form: str, durations: Sequence[int], size: tuple[int, int] = (64, 48)) -> bytes:
    """An animated GIF, WebP or PNG whose pictures last so many milliseconds."""
    buffer = io.BytesIO()
    first, *rest = [Image.fromarray(picture(n, *size)) for n in range(len(durations))]
    lossless = {"lossless": True} if form == "WEBP" else {}
    first.save(buffer, form, save_all=True, append_images=rest, duration=list(durations), loop=0, **lossless)
    return buffer.getvalue()


def avi_that_says(path: Path, frames: int) -> Path:
    """Overwrites the number of frames in both headers of an AVI file."""
    data = bytearray(path.read_bytes())
    for place in (data.index(b"avih") + 8 + 16, data.index(b"strh") + 8 + 32):
        data[place : place + 4] = struct.pack("<I", frames)
    path.write_bytes(data)
    return path
