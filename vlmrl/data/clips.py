"""Videos of samples: read to their end, with errors that say what the file is.

check_video(media)                      decodes every frame
check_head(media, "video")              decodes nothing
with as_file(media) as path: ...        readers of clips take no bytes

Without decord, which has wheels for Linux on x86-64 alone, only the head of a file is read.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from vlmrl.data.file_kind import file_kind, is_open_ogg, missing_bytes
from vlmrl.errors import UnreadableError, UserError
from vlmrl.sample import Media

FEWEST_FRAMES = 2
"""Frames that Qwen-VL models merge into one in time."""


def check_video(media: Media) -> None:
    """`UnreadableError` for a clip that is missing, cut off or damaged, or not a video."""
    check_head(media, "video")
    if (decord := decoder()) is None:
        return
    with as_file(media) as path:
        try:
            with _silent():
                reader = decord.VideoReader(path)
        except Exception as error:  # decord raises bare exceptions of its C++ library
            raise _unreadable(media, "video", path, error) from None
        frames = len(reader)
        for done in range(frames):
            try:
                reader.next()
            except Exception:
                why = f"not a readable video (damaged or cut off after frame {done} of {frames})"
                raise UnreadableError(media.name, why) from None
    if frames < FEWEST_FRAMES:
        kind = file_kind(media.read())
        what = f"it is {kind}" if "image" in kind else f"it has {frames} of the {FEWEST_FRAMES} frames that are needed"
        raise UnreadableError(media.name, f"not a readable video ({what})")


def video_size(media: Media) -> tuple[int, int]:
    """(width, height) of the frames in pixels; `UserError` without decord, and for a file that is not a video."""
    if (decord := decoder()) is None:
        raise UserError(f"{media.name}: its size is needed for places in it, and decord is not installed; install it")
    with as_file(media) as path:
        try:
            with _silent():
                height, width = decord.VideoReader(path)[0].shape[:2]
        except Exception as error:
            raise _unreadable(media, "video", path, error) from None
    return int(width), int(height)


def check_head(media: Media, wanted: str) -> None:
    """`UnreadableError` unless the file begins as a clip and is as long as it says; nothing is decoded."""
    data = media.read()
    kind = file_kind(data)
    if not any(word in kind for word in ("video", "clip", "unknown")):
        raise UnreadableError(media.name, f"not a readable {wanted} (it is {kind})")
    if missing := missing_bytes(data):
        why = f"cut off: {len(data):,} of its {len(data) + missing:,} bytes are there"
        raise UnreadableError(media.name, f"not a readable {wanted} ({why})")
    if is_open_ogg(data):
        why = "cut off: it stops before the end of its stream"
        raise UnreadableError(media.name, f"not a readable {wanted} ({why})")


@cache
def decoder() -> Any:
    """The module decord, which then logs nothing of its own; None if it is not installed."""
    try:
        import decord
    except ImportError:
        return None
    decord.logging.set_level(decord.logging.QUIET)
    return decord


def decoder_reason(error: BaseException) -> str:
    """The message of decord's library without the places in its source, in one line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r"\[[\d:]+\] \S+:\d+: (Check failed: )?", "", lines[0]).strip()[:200]


@contextmanager
def _silent() -> Iterator[None]:
    """Drops what the library of decord writes to standard error of a file that it cannot open; we say it better."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def as_file(media: Media) -> Iterator[str]:
    """A path of the clip; `UnreadableError` as in `Media.size`."""
    if media.data is None:
        assert media.path is not None
        media.size()  # the decoder would wait for a pipe
        yield media.path
        return
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(media.data)
        file.flush()
        yield file.name


def _unreadable(media: Media, wanted: str, path: str, error: Exception) -> UnreadableError:
    reason = decoder_reason(error).replace(f"[{path}] ", "").replace(path, "the file")
    return UnreadableError(media.name, f"not a readable {wanted} (it is {file_kind(media.read())}: {reason})")
