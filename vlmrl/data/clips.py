"""Files of videos and audio clips: errors that say what the file is.

check_head(media, "video")              decodes nothing
with as_file(media) as path: ...        decord takes no bytes

`vlmrl.data.videos` reads videos, `vlmrl.data.audio` sounds.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from vlmrl.data.file_kind import file_kind, is_open_ogg, missing_bytes
from vlmrl.errors import UnreadableError
from vlmrl.sample import Media

HEAD = 1 << 16
"""Bytes by which the kind of a file is recognised."""
_STDERR = threading.Lock()
"""Standard error is that of all threads, so two at once would not restore it."""


def check_head(media: Media, wanted: str) -> None:
    """`UnreadableError` unless the file begins as a clip and is as long as it says; nothing is decoded."""
    data = media.read()
    _kind(media, data, wanted)
    if missing := missing_bytes(data):
        why = f"cut off: {len(data):,} of its {len(data) + missing:,} bytes are there"
        raise UnreadableError(media.name, f"not a readable {wanted} ({why})")
    if is_open_ogg(data):
        why = "cut off: it stops before the end of its stream"
        raise UnreadableError(media.name, f"not a readable {wanted} ({why})")


def head_kind(media: Media, wanted: str) -> str:
    """What the file is by its first bytes; `UnreadableError` unless it may be a clip or an animated image."""
    return _kind(media, media.read(head=HEAD), wanted)


def _kind(media: Media, data: bytes, wanted: str) -> str:
    kind = file_kind(data)
    moving = wanted == "video" and kind in ("a GIF image", "a WebP image", "a PNG image")
    if not moving and not any(word in kind for word in ("video", "clip", "unknown")):
        raise UnreadableError(media.name, f"not a readable {wanted} (it is {kind})")
    return kind


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
def silent() -> Iterator[None]:
    """Drops what a decoder's library writes to standard error of a damaged file; our error says it in one line."""
    with _STDERR:
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


def unreadable(media: Media, wanted: str, cause: str | Exception, path: str = "") -> UnreadableError:
    """The error for a clip that its reader gave up for this cause; a `path` in it becomes "the file"."""
    reason = cause if isinstance(cause, str) else decoder_reason(cause)
    if path:
        reason = reason.replace(f"[{path}] ", "").replace(path, "the file")
    return UnreadableError(media.name, f"not a readable {wanted} (it is {file_kind(media.read(head=HEAD))}: {reason})")
