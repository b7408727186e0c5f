"""Sounds for tests: tones, and the bytes of files of many kinds."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import av
import numpy as np
import soundfile


def tone(hertz: float, seconds: float, rate: int = 16_000) -> np.ndarray:
    """A sine of half of full scale."""
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def written(values: np.ndarray, rate: int = 16_000, form: str = "WAV", subtype: str = "PCM_16") -> bytes:
    """The bytes of a file that soundfile writes."""
    file = io.BytesIO()
    soundfile.write(file, values, rate, format=form, subtype=subtype)
    return file.getvalue()


def film_with_sound(values: np.ndarray | None, rate: int, form: str = "mp4", frames: int = 20) -> bytes:
    """A film of noise, 64 x 48 at 10 frames a second, with the sound [samples (, 2)]; `adts` is AAC without frames."""
    random = np.random.default_rng(0)
    with tempfile.NamedTemporaryFile() as file, av.open(file.name, "w", form) as container:
        streams = []
        if form != "adts":
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            streams.append(stream)
        if values is not None:
            layout = "mono" if values.ndim == 1 else "stereo"
            sound = container.add_stream("aac", rate=rate, layout=layout)
            streams.append(sound)
            planes = np.ascontiguousarray(np.atleast_2d(values.T))
            for start in range(0, planes.shape[1], 1024):
                part = np.ascontiguousarray(planes[:, start : start + 1024])
                frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
                frame.rate, frame.pts = rate, start
                container.mux(sound.encode(frame))
        if form != "adts":
            for _ in range(frames):
                pixels = random.integers(0, 255, (48, 64, 3), dtype=np.uint8)
                container.mux(streams[0].encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        for stream in streams:
            container.mux(stream.encode())
        container.close()
        return Path(file.name).read_bytes()
