"""Videos of samples: how long they are, without decoding them, and the frames that a model is to see.

video_header(media)                     size, number of frames and rate; one frame is decoded, to see how it is turned
read_frames(media, choose)              frames [n, height, width, 3] as bytes, those that `choose(header)` names
check_video(media)                      decodes every frame

A video is a file (`vlmrl.data.video_files` reads it), an animated image (GIF, WebP, APNG) or a list of images. Frames
are upright and in the order of their times. The clip is seen as if it had a constant rate: frame `i` is what a player
shows at `i / fps` seconds. So frames that are evenly spaced in number are evenly spaced in time, whatever the file. A
part between `start` and `end` counts from its own start, as if the file were cut there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from vlmrl.data.clips import check_head, head_kind
from vlmrl.data.media import animation, image_size, load_image
from vlmrl.data.video_files import VideoHeader, can_decode, on_screen, open_file
from vlmrl.errors import UnreadableError
from vlmrl.sample import Media

Choose = Callable[[VideoHeader], Sequence[int]]
"""Numbers of the frames to read, ascending; a number may be repeated."""


class _Reader(Protocol):
    header: VideoHeader

    def read(self, numbers: Sequence[int]) -> Iterator[np.ndarray]:
        """The frames [height, width, 3] of these numbers, ascending without repeats."""
        ...


def video_header(media: Media) -> VideoHeader:
    """The header of the video, or of its part; `UnreadableError` if the file is not a video or misses the part."""
    with _opened(media) as reader:
        return _part(media, reader.header)[0]


def read_frames(media: Media, choose: Choose) -> tuple[np.ndarray, VideoHeader]:
    """The chosen frames [n, height, width, 3] uint8 and the header.

    `UnreadableError` for a clip that is missing, cut off or damaged, or not a video.
    """
    if not media.frames:
        check_head(media, "video")  # some clips are read up to where they are cut off, without an error
    with _opened(media) as reader:
        header, first = _part(media, reader.header)
        numbers = [first + number for number in choose(header)]
        once = sorted(set(numbers))
        frames = dict(zip(once, reader.read(once), strict=True))
    return np.stack([frames[number] for number in numbers]), header


def check_video(media: Media) -> None:
    """`UnreadableError` for a clip that is missing, cut off or damaged, or not a video."""
    if not media.frames:
        check_head(media, "video")
        if not can_decode():
            return
    with _opened(media) as reader:
        _part(media, reader.header)
        for _ in reader.read(range(reader.header.frames)):
            pass


def video_size(media: Media) -> tuple[int, int]:
    """(width, height) of the frames in pixels; `UnreadableError` as in `video_header`."""
    return video_header(media)[:2]


def _part(media: Media, whole: VideoHeader) -> tuple[VideoHeader, int]:
    """The header of the part that the sample names and the number of its first frame, as qwen-vl-utils counts."""
    if (media.start, media.end) == (None, None):
        return whole, 0
    assert whole.fps is not None
    seconds = whole.frames / whole.fps
    first = math.ceil(min(media.start or 0.0, seconds) * whole.fps)
    last = whole.frames - 1
    if media.end is not None:
        last = min(math.floor(min(media.end, seconds) * whole.fps), last)
    if first > last:
        why = f"has {seconds:.2f} s at {whole.fps:.4g} frames a second, none from {media.start or 0:g} s to "
        why += f"{seconds if media.end is None else media.end:g} s"
        raise UnreadableError(media.name, why, "correct start and end or drop the row")
    return whole._replace(frames=last - first + 1), first


# --- readers ----------------------------------------------------------------------------------------------


@contextmanager
def _opened(media: Media) -> Iterator[_Reader]:
    """The reader of a video; what goes wrong inside becomes an `UnreadableError`."""
    if media.frames:
        yield _Images(media)
        return
    kind = head_kind(media, "video")
    if "image" in kind:
        yield _Animation(media, kind)
    else:
        with open_file(media) as file:
            yield file


class _Animation:
    """An animated image."""

    def __init__(self, media: Media, kind: str) -> None:
        self.media = media
        shown = [(image.size, milliseconds) for image, milliseconds in animation(media)]
        if len(shown) < 2:
            raise UnreadableError(media.name, f"not a readable video (it is {kind}; a still is one of media.images)")
        durations = [milliseconds / 1000 for _, milliseconds in shown]
        self.times = [0.0, *np.cumsum(durations[:-1]).tolist()]
        # Equal neighbours are often one long picture: the rate is that of the shortest one.
        frames = round(sum(durations) / min(durations))
        self.header = VideoHeader(*shown[0][0], frames, 1 / min(durations))

    def read(self, numbers: Sequence[int]) -> Iterator[np.ndarray]:
        assert self.header.fps is not None
        shown = on_screen(self.times, self.header.fps, numbers)
        frames = {n: np.asarray(image) for n, (image, _) in enumerate(animation(self.media)) if n in set(shown)}
        yield from (frames[number] for number in shown)


class _Images:
    """A list of images."""

    def __init__(self, media: Media) -> None:
        self.media = media
        self.header = VideoHeader(*image_size(media.frames[0]), len(media.frames), media.fps)

    def read(self, numbers: Sequence[int]) -> Iterator[np.ndarray]:
        for number in numbers:
            image = load_image(self.media.frames[number])
            if image.size != self.header[:2]:
                width, height = self.header[:2]
                why = f"has {image.width} x {image.height} pixels, and the first frame of its video {width} x {height}"
                raise UnreadableError(self.media.frames[number].name, why, "make them equal or drop the row")
            yield np.asarray(image)
