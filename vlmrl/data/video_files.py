"""Files of videos: PyAV reads them; decord does where PyAV is not installed.

with open_file(media) as file:
    file.header                 size, number of frames and rate; one frame is decoded, to see how it is turned
    file.read([0, 5, 9])        frames [height, width, 3]
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vlmrl.data.clips import as_file, check_head, decoder, silent, unreadable
from vlmrl.data.media import MOST_PIXELS
from vlmrl.errors import UserError
from vlmrl.sample import Media

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


class VideoHeader(NamedTuple):
    """What is known of a video before it is decoded."""

    width: int
    height: int
    frames: int
    fps: float | None
    """Frames a second; None for a list of images that does not say its rate."""


@contextmanager
def open_file(media: Media) -> Iterator[PyavFile | DecordFile]:
    """The file of a video; what goes wrong while it is open becomes an `UnreadableError` with the reader's cause."""
    if (av := pyav()) is not None:
        with _bytes(media) as file:
            try:
                yield PyavFile(av, file)
            except (av.FFmpegError, Damaged, MemoryError) as error:
                check_head(media, "video")  # says it better of a file that is cut off
                reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                raise unreadable(media, "video", reason) from None
    elif decoder() is not None:
        with as_file(media) as path:
            yield DecordFile(media, path)
    else:
        raise UserError(f"{media.name}: neither PyAV nor decord is installed, so no video can be read; install av")


def can_decode() -> bool:
    """Whether a reader of video files is installed."""
    return pyav() is not None or decoder() is not None


def pyav() -> Any:
    """The module av; None if it is not installed."""
    try:
        import av
    except ImportError:
        return None
    return av


@contextmanager
def _bytes(media: Media) -> Iterator[Any]:
    """The clip as a file: PyAV would take some paths for addresses."""
    if media.data is not None:
        yield io.BytesIO(media.data)
        return
    assert media.path is not None
    media.size()  # refuses a pipe, at which it would wait
    with open(media.path, "rb") as file:
        yield file


class Damaged(Exception):
    """Why a video cannot be read."""


class _Packet(NamedTuple):
    time: float
    """Seconds from the first frame."""
    stamp: int | None
    key: bool
    """Whether decoding can start here."""


class PyavFile:
    """A file, by PyAV. Each pass over it opens it anew: not every file can be wound back."""

    def __init__(self, av: Any, file: Any) -> None:
        self.av, self.file = av, file
        with self._pass() as stream:
            frames, fps = self._length(stream)
        with self._pass() as stream:
            first = next(_container(stream).decode(stream), None)
        if first is None or not frames:
            raise Damaged("it has no frame that can be decoded")
        self.size, self.turns = (first.width, first.height), round(first.rotation / 90) % 4
        width, height = self.size[::-1] if self.turns % 2 else self.size
        self.header = VideoHeader(width, height, frames, fps)

    @contextmanager
    def _pass(self) -> Iterator[VideoStream]:
        self.file.seek(0)
        with self.av.open(self.file, metadata_errors="replace") as container:
            streams = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
            if not streams:
                raise Damaged("it has no pictures" if container.streams.audio else "it has no video stream")
            context: Any = streams[0].codec_context
            if context is None:
                raise Damaged("its codec is not known")
            if context.width * context.height > MOST_PIXELS:
                raise Damaged(f"{context.width} x {context.height} pixels, more than {MOST_PIXELS:,}")
            context.thread_count = 1  # as many clips are decoded at a time as there are cores
            yield streams[0]

    def _length(self, stream: VideoStream) -> tuple[int, float]:
        """Frames and their rate: by the index of an MP4 file, or else by the packets of the whole file."""
        stated = float(stream.average_rate or 0)
        stamps = sorted(entry.timestamp for entry in stream.index_entries if not entry.is_discard)
        if stated and len(stamps) == stream.frames and "mp4" in _container(stream).format.name:
            times = [(stamp - stamps[0]) * float(stream.time_base or 1) for stamp in stamps]
            if _is_steady(times, stated):
                return len(times), stated
        times = [packet.time for packet in self.packets]
        return len(times), _rate(times, stated)

    @cached_property
    def packets(self) -> list[_Packet]:
        """One for each frame, in the order of their times."""
        with self._pass() as stream:
            packets = [p for p in _container(stream).demux(stream) if p.size and not p.is_discard]
            stamps = sorted((p.pts, p.is_keyframe) for p in packets if p.pts is not None)
            if len({stamp for stamp, _ in stamps}) != len(packets):  # without times the frames can only be counted
                rate = float(stream.average_rate or 25)
                return [_Packet(number / rate, None, False) for number in range(len(packets))]
            base = float(stream.time_base or 1)
            return [_Packet((stamp - stamps[0][0]) * base, stamp, key) for stamp, key in stamps]

    def read(self, numbers: Sequence[int]) -> Iterator[np.ndarray]:
        assert self.header.fps is not None
        total = len(self.packets)
        if total < self.header.frames:
            raise Damaged(f"its index names {self.header.frames} frames, the file has {total}")
        shown = on_screen([packet.time for packet in self.packets], self.header.fps, numbers)
        with self._pass() as stream:
            decoded = self._decoded(stream, shown)
            place, frame = -1, None
            for wanted in shown:
                while place < wanted:
                    try:
                        place, frame = next(decoded)
                    except (StopIteration, ValueError):  # PyAV's errors of data are ValueErrors
                        raise Damaged(f"damaged or cut off after frame {place + 1} of {total}") from None
                if place > wanted or frame is None or frame.is_corrupt:
                    raise Damaged(f"damaged or cut off after frame {wanted} of {total}")
                yield self._upright(frame)

    def _decoded(self, stream: VideoStream, wanted: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
        """Frames with their places. It seeks to the last key frame before each wanted one."""
        places = {p.stamp: place for place, p in enumerate(self.packets) if p.stamp is not None}
        keys = [place for place, p in enumerate(self.packets) if p.key]
        frames, at = _container(stream).decode(stream), -1
        for number in wanted:
            key = keys[bisect_right(keys, number) - 1] if keys and keys[0] <= number else 0
            if key > at + 1 and (stamp := self.packets[key].stamp) is not None:
                _container(stream).seek(stamp, stream=stream)
                frames = _container(stream).decode(stream)
                frame = next(frames, None)
                if frame is None or places.get(frame.pts, number + 1) > number:  # an index that misleads
                    _container(stream).seek(0)
                    frames, keys = _container(stream).decode(stream), []
                else:
                    frames = chain([frame], frames)
            while at < number:
                if (frame := next(frames, None)) is None:
                    return
                at = places.get(frame.pts, at + 1)
                yield at, frame

    def _upright(self, frame: VideoFrame) -> np.ndarray:
        pixels = frame.to_ndarray(format="rgb24", width=self.size[0], height=self.size[1])
        return np.ascontiguousarray(np.rot90(pixels, self.turns)) if self.turns else pixels


def _container(stream: VideoStream) -> Any:
    """Its container, one that is read; PyAV's types allow both kinds."""
    return stream.container


class DecordFile:
    """A file, by decord."""

    def __init__(self, media: Media, path: str) -> None:
        self.media = media
        try:
            with silent():
                self.reader = decoder().VideoReader(path)
                height, width = self.reader[0].shape[:2]
        except Exception as error:  # decord raises bare exceptions of its C++ library
            raise unreadable(media, "video", error, path) from None
        self.header = VideoHeader(width, height, len(self.reader), float(self.reader.get_avg_fps()))

    def read(self, numbers: Sequence[int]) -> Iterator[np.ndarray]:
        for number in numbers:
            try:
                yield self.reader[number].asnumpy()[..., :3]
            except Exception:
                why = f"damaged or cut off after frame {number} of {self.header.frames}"
                raise unreadable(self.media, "video", why) from None


# --- times ------------------------------------------------------------------------------------------------


def _rate(times: Sequence[float], stated: float) -> float:
    """Frames a second: what the file says if its frames come at this rate, or else their mean rate."""
    if stated and _is_steady(times, stated):
        return stated
    gap = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 0.0
    return 1 / gap if gap > 0 else stated or 1.0


def _is_steady(times: Sequence[float], fps: float) -> bool:
    """Whether frame `i` comes within half a frame of `i / fps`."""
    off = np.asarray(times) * fps - np.arange(len(times))
    return bool((np.abs(off) < 0.5).all())


def on_screen(times: Sequence[float], fps: float, numbers: Sequence[int]) -> list[int]:
    """For each number, the place of the frame that a player shows at `number / fps` seconds."""
    if _is_steady(times, fps):
        return [min(number, len(times) - 1) for number in numbers]  # the last picture of an animation may be long
    return [max(0, bisect_right(times, number / fps + 1e-4) - 1) for number in numbers]
