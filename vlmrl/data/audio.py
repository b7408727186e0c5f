"""Sounds of samples, and the sound of films, as models hear them: mono float32 at the model's rate.

load_audio(media, 16_000)            the waveform [samples], decoded to its end
audio_seconds(media)                 its length as the file states it
encode_wav([0.1, 0.2], 16_000)       a waveform as the bytes of a file, for a sample with media in memory

soundfile decodes, and PyAV what soundfile does not know (AAC, films). Which of the two depends on the content alone,
because their lengths and values differ a little. Channels are averaged, and soxr changes the rate after that.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any

from vlmrl.data.clips import check_head, silent
from vlmrl.data.file_kind import file_kind
from vlmrl.errors import UnreadableError, UserError
from vlmrl.sample import Media

if TYPE_CHECKING:
    import numpy as np

SHORTEST = 0.03
"""Seconds of a clip, at least: of less, encoders make no token."""
MOST_VALUES = 1 << 28
"""Values of all channels, at most: 46 minutes of stereo at 48 kHz. They take 1 GiB while they are decoded."""
MOST_CHANNELS = 32
RATES = range(2_000, 768_001)
"""Hz of a file. A damaged header may state any, and a low rate would make a long waveform."""
LOUDEST = 16.0
"""Full scale is 1, and mixes go a little beyond it; what is louder was not scaled."""

_MP3_FRAME = 1152
"""Samples. The first and the last frame of an MP3 may be counted and hold nothing."""
_UNKNOWN = 1 << 62
"""soundfile states more samples than this if the file does not say how many it has."""


def load_audio(media: Media, rate: int) -> np.ndarray:
    """The waveform [samples] in float32 at `rate` Hz; full scale is -1 to 1.

    `UnreadableError` for a clip that is missing, cut off or damaged, has no sound, lasts less than `SHORTEST`, or holds
    NaN or values that were not scaled; `UserError` if no reader is installed.
    """
    import numpy as np

    if reader() is None:
        raise UserError(f"{media.name}: reading sound needs soundfile, soxr and av; install the extra train")
    import soxr

    check_head(media, "audio clip")
    values_CT, own_rate = _decoded(media, media.read())
    values_T = values_CT.mean(0, dtype=np.float32)
    if not len(values_T):
        raise _not_readable(media, "it has no sound")
    if len(values_T) < SHORTEST * own_rate:
        why = f"lasts {1000 * len(values_T) / own_rate:.3g} ms, and models hear nothing of less than 30 ms"
        raise UnreadableError(media.name, why)
    loudest = float(np.abs(values_T).max())
    if not np.isfinite(loudest):
        raise _not_readable(media, "it holds values that are not finite numbers")
    if loudest > LOUDEST:
        raise _not_readable(media, f"it holds values up to {loudest:.5g}, and full scale is 1; 16 bits need / 32768")
    return values_T if own_rate == rate else soxr.resample(values_T, own_rate, rate)


def check_audio(media: Media) -> None:
    """`UnreadableError` as in `load_audio`; if no reader is installed, only for what the head of the file shows."""
    if reader() is None:
        check_head(media, "audio clip")
    else:
        load_audio(media, 16_000)


def audio_seconds(media: Media) -> float:
    """Length in seconds, as the file states it or else decoded. Errors as in `load_audio`."""
    if reader() is None:
        raise UserError(f"{media.name}: reading sound needs soundfile, soxr and av; install the extra train")
    import av
    from av.error import FFmpegError

    data = media.read()
    with _quiet(data):
        if (file := _opened(data)) is not None:
            with file:
                return file.frames / file.samplerate
    try:
        with av.open(io.BytesIO(data), "r") as container:
            stream = container.streams.audio[0]
            if stream.duration and stream.time_base:
                return float(stream.duration * stream.time_base)
    except (FFmpegError, ValueError, IndexError):
        pass  # decoding says what is wrong
    return len(load_audio(media, 16_000)) / 16_000


# --- decoding -------------------------------------------------------------------------------------------------


@cache
def reader() -> Any:
    """The module soundfile; None unless it, soxr and PyAV are installed."""
    try:
        import av  # noqa: F401
        import soundfile
        import soxr  # noqa: F401
    except (ImportError, OSError):  # OSError: soundfile without its C library
        return None
    return soundfile


def _decoded(media: Media, data: bytes) -> tuple[np.ndarray, int]:
    """Values [channels, samples] of the whole clip, and their rate."""
    with _quiet(data):
        if (file := _opened(data)) is None:
            return _decoded_by_av(media, data)
        with file:
            rate, stated = file.samplerate, file.frames
            _check_size(media, stated, rate, file.channels)
            try:
                values_CT = file.read(stated, dtype="float32", always_2d=True).T
            except reader().LibsndfileError:
                raise _not_readable(media, f"it is {file_kind(data)}, damaged or cut off") from None
    if values_CT.shape[1] < stated - 2 * _MP3_FRAME:
        raise _cut_off(media, values_CT.shape[1] / rate, stated / rate)
    return values_CT, rate


class _Bytes(io.BytesIO):
    """A damaged header may lead soundfile before the start, where it would print a traceback."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = (0, self.tell(), len(self.getbuffer()))[whence]
        return super().seek(max(0, origin + offset))


def _opened(data: bytes) -> Any:
    """A SoundFile; None for a file that is not of its kinds, or does not state its length."""
    try:
        file = reader().SoundFile(_Bytes(data))
    except reader().LibsndfileError:
        return None
    return file if file.frames < _UNKNOWN else file.close()


def _decoded_by_av(media: Media, data: bytes) -> tuple[np.ndarray, int]:
    """What `_decoded` returns, by PyAV."""
    import av
    import numpy as np
    from av.error import FFmpegError

    parts: list[np.ndarray] = []
    samples = 0
    try:
        with av.open(io.BytesIO(data), "r") as container:
            if not container.streams.audio:
                raise _not_readable(media, f"it is {file_kind(data)} without sound")
            stream = container.streams.audio[0]
            rate, stated = stream.rate, float((stream.duration or 0) * (stream.time_base or 0))
            planes = av.AudioResampler(format="fltp")  # it changes neither channels nor rate
            for decoded in chain(container.decode(stream), (None,)):
                for frame in planes.resample(decoded):
                    samples += frame.samples
                    _check_size(media, samples, rate, stream.channels)
                    parts.append(frame.to_ndarray())
            values_CT = np.concatenate(parts, axis=1) if parts else np.zeros((1, 0), np.float32)
    except UserError:
        raise
    except (FFmpegError, ValueError) as error:  # ValueError: the number of channels changes
        raise _not_readable(media, f"it is {file_kind(data)}: {type(error).__name__}") from None
    if samples and samples / rate < 0.95 * stated - 0.1:  # containers count the silence that encoders add at the ends
        raise _cut_off(media, samples / rate, stated)
    return values_CT, rate


def _check_size(media: Media, samples: int, rate: int, channels: int) -> None:
    if rate not in RATES or not 0 < channels <= MOST_CHANNELS:
        usual = f"what is read has at most {MOST_CHANNELS}, at {RATES[0]:,} to {RATES[-1]:,} Hz"
        raise _not_readable(media, f"it states {channels} channels at {rate:,} Hz, and {usual}")
    if samples * channels > MOST_VALUES:
        why = f"has more than {MOST_VALUES:,} values in its {channels} channels"
        raise UnreadableError(media.name, why, "cut the clip into parts or drop the row")


def _not_readable(media: Media, why: str) -> UnreadableError:
    return UnreadableError(media.name, f"not a readable audio clip ({why})")


def _cut_off(media: Media, there: float, stated: float) -> UnreadableError:
    return _not_readable(media, f"cut off: {there:.2f} of its {stated:.2f} s are there")


@contextmanager
def _quiet(data: bytes) -> Iterator[None]:
    """Drops what the decoder of MP3 writes to standard error of a damaged file; our error says it in one line."""
    if not any(word in file_kind(data) for word in ("MP3", "unknown")):
        yield
        return
    with silent():
        yield


# --- encoding -------------------------------------------------------------------------------------------------


def encode_wav(array: Any, rate: Any) -> bytes:
    """A WAV file, mono, of float32 values. `ValueError` for what is not the waveform of one sound.

    `array` is [samples], or has a second axis, the shorter one, of channels, which are averaged. Integers are of 16
    bits unless their type says otherwise; floats are from -1 to 1.
    """
    import numpy as np

    try:
        values = np.asarray(array)
    except ValueError as error:
        raise ValueError(f"array: {str(error)[:80]}") from None
    if values.dtype.kind not in "iuf" or values.ndim not in (1, 2) or not values.size:
        raise ValueError(f"array of shape {values.shape} and type {values.dtype} is not the waveform of one sound")
    if not isinstance(rate, int | float) or not RATES[0] <= rate <= RATES[-1] or rate != int(rate):
        raise ValueError(f"sampling_rate {rate!r:.40} is not a number of Hz from {RATES[0]} to {RATES[-1]}")
    if values.ndim == 2:
        values = values if values.shape[0] <= values.shape[1] else values.T
        if len(values) > MOST_CHANNELS:
            raise ValueError(f"array of shape {values.shape} is not one sound of at most {MOST_CHANNELS} channels")
    values = _scaled(np.atleast_2d(values)).mean(0)
    body = values.astype("<f4").tobytes()
    rate = int(rate)
    form = struct.pack("<4sIHHIIHHH", b"fmt ", 18, 3, 1, rate, 4 * rate, 4, 32, 0)  # format 3: IEEE float
    chunks = b"WAVE" + form + struct.pack("<4sII", b"fact", 4, len(values)) + struct.pack("<4sI", b"data", len(body))
    return struct.pack("<4sI", b"RIFF", len(chunks) + len(body)) + chunks + body


def _scaled(values: np.ndarray) -> np.ndarray:
    """Integers as parts of full scale."""
    import numpy as np

    if values.dtype.kind == "f":
        return values
    if values.dtype == np.uint8:  # as in WAV files: 128 is silence
        return (values.astype(np.float32) - 128) / 128
    bits = 31 if values.dtype == np.int32 else 15
    if np.abs(values.astype(np.float64)).max() > 1 << bits:
        raise ValueError(f"array of integers of more than {bits + 1} bits; give floats from -1 to 1")
    return values / np.float64(1 << bits)
