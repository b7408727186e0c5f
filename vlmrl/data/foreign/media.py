"""Media in other toolkits' rows: paths, file URLs, data URIs, base64 text, bytes, and structs that hold one of these.

entries([None, {"bytes": None, "path": None}, "a.png"])     ["a.png"], without null forms
medium("images", {"bytes": PNG, "path": "a.png"}, root)     Media(data=PNG)
list(media_in({"depth": "d.png"}))                          ["d.png"]
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pydantic import ValidationError

from vlmrl.data.audio import encode_wav
from vlmrl.errors import UserError, one_line
from vlmrl.sample import MIME, Media

PATH_KEYS = ("path", "image", "video", "audio", "image_url", "video_url", "audio_url", "url", "file_name", "filename")
BYTES_KEYS = ("bytes", "data", "base64")
ARRAY = "array"
"""The waveform of a decoded sound, beside its `sampling_rate`."""

_SUFFIX = re.compile(
    r"[^\n]{1,400}\.(?:png|jpe?g|jfif|webp|gif|bmp|tiff?|avif|heic|svg|mp4|m4v|avi|mov|mkv|webm|mpe?g|wmv|flv"
    r"|wav|mp3|flac|ogg|m4a|aac|opus)(?:[?#]\S{0,400})?",
    re.IGNORECASE,
)
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]{40,}={0,2}\s*")
_LONGEST_PATH = 1024
_BEGINNINGS = (
    (rb"\x89PNG|\xff\xd8\xff|GIF8|BM|II\*\0|MM\0\*|RIFF....WEBP|....ftyp(?:avif|heic|mif1)", "images"),
    (rb"....ftyp|\x1a\x45\xdf\xa3|RIFF....AVI |\0\0\x01[\xb3\xba]", "videos"),
    (rb"RIFF....WAVE|ID3|\xff[\xf2\xf3\xfa\xfb]|fLaC|OggS", "audios"),
)
"""How the usual files begin: enough to tell base64 text from a name."""


def entries(value: Any) -> list[Any]:
    """The media in a column, one by one, without nulls. Text may be a list in JSON or Python."""
    if isinstance(value, str) and value.strip().startswith("["):
        from vlmrl.data.foreign.row import literal

        value = literal(value)
    if isinstance(value, list | tuple):
        return [entry for inner in value for entry in entries(inner)]
    return [] if _is_null(value) else [value]


def _is_null(value: Any) -> bool:
    if isinstance(value, dict):
        held = [value[key] for key in (*PATH_KEYS, *BYTES_KEYS, ARRAY) if key in value]
        return bool(held) and all(map(_is_null, held))
    if isinstance(value, str):
        return not value.strip()
    return value is None or value == b"" or (isinstance(value, float) and value != value)


def medium(kind: str, entry: Any, root: Path) -> Media:
    """One image, video or audio clip; `UserError` says what the entry is instead. Paths are resolved against `root`."""
    if isinstance(entry, dict):
        data = next((entry[key] for key in BYTES_KEYS if not _is_null(entry.get(key))), None)
        path = next((entry[key] for key in PATH_KEYS if not _is_null(entry.get(key))), None)
        if isinstance(path, dict):
            return medium(kind, path, root)
        if isinstance(data, str):
            return Media(data=_decoded(data))
        if data is None and kind == "audios" and not _is_null(entry.get(ARRAY)):
            return _waveform(entry)
    else:
        data, path = (entry, None) if isinstance(entry, bytes) else (None, entry)
    try:
        if data is not None:
            return Media(data=data)
        if isinstance(path, str) and path.startswith("data:"):
            return Media.model_validate(path)
    except ValidationError as error:
        raise UserError(one_line(error, Media)) from None
    if not isinstance(path, str):
        raise UserError(f"expected a local path or bytes, got {shown(entry)}")
    if re.match(r"(?:https?|s3|gs|hdfs|oss|ftp):", path):
        raise UserError(
            f"expected a local path or bytes, got {path!r:.80}; download it and name its folder, --image-root"
        )
    if (held := _from_base64(kind, path)) is not None:
        return Media(data=held)
    if len(path) > _LONGEST_PATH:
        raise UserError(f"expected a path, got text of {len(path)} characters, which is neither that nor base64 media")
    if path.startswith("file:"):
        path = unquote(path.removeprefix("file://").removeprefix("file:").removeprefix("localhost"))
    return Media(path=os.path.normpath(root / path))


def _waveform(entry: dict[str, Any]) -> Media:
    """A sound that a library has decoded, as bytes of WAV; the path beside it may be that of another machine."""
    try:
        return Media(data=encode_wav(entry[ARRAY], entry.get("sampling_rate")))
    except ValueError as error:
        raise UserError(f"{error}; keep the sound as a file or as its bytes") from None


def _decoded(text: str) -> bytes:
    """The bytes of base64 text that stands where bytes belong."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise UserError(f"bytes: not valid base64 ({error}), got {text!r:.80}") from None


def _from_base64(kind: str, text: str) -> bytes | None:
    """The bytes of base64 text where a path may stand too; None for a path. `UserError` for media of another kind."""
    if not _BASE64.fullmatch(text):
        return None
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        return None
    held = _kind_of(data)
    if held is None and len(text) > _LONGEST_PATH:
        raise UserError(f"base64 text of {len(text)} characters is not of {MIME[kind]} data; it holds {data[:12]!r}...")
    if held not in (None, kind) and not (kind == "audios" and held == "videos"):
        assert held is not None
        raise UserError(f"base64 text of {len(text)} characters is of {MIME[held]} data, not of {MIME[kind]} data")
    return data if held else None


def _kind_of(data: bytes) -> str | None:
    return next((kind for pattern, kind in _BEGINNINGS if re.match(pattern, data, re.DOTALL)), None)


# --- media in columns that are not read -----------------------------------------------------------------------


def media_in(value: Any) -> Iterator[bytes | str]:
    """The bytes, data URIs, base64 texts and media paths anywhere in a value."""
    if isinstance(value, bytes) and value:
        yield value
    elif isinstance(value, str):
        if re.match("data:(?:image|video|audio)/", value) or _SUFFIX.fullmatch(value.strip()) or _is_base64(value):
            yield value
    elif isinstance(value, list | tuple | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from media_in(inner)


def _is_base64(text: str) -> bool:
    if len(text) <= _LONGEST_PATH or not _BASE64.fullmatch(text):
        return False
    return _kind_of(base64.b64decode("".join(text[:200].split())[:64])) is not None


def shown(value: Any) -> str:
    """What a value is, in a few words for a message."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, str) and len(value) > 80:
        return f"{value[:40]!r}... of {len(value)} characters"
    if isinstance(value, dict):
        return f"an object with {', '.join(sorted(map(str, value)))[:80]}"
    return f"{value!r:.80}" if isinstance(value, str | int | float | list | bool | None) else type(value).__name__
