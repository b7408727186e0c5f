"""file_kind: what a file holds, by its content and not by its name, for messages about media that cannot be read.

file_kind(Path("photo.jpg").read_bytes())      "a PNG image", "an HTML page", "a Git LFS pointer; run `git lfs pull`"
missing_bytes(data)                            how many bytes a container announces that the file does not have
is_open_ogg(data)                              whether an Ogg file stops before the end of its stream
"""

from __future__ import annotations

import codecs
import re
import struct
from collections.abc import Iterator

_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"II+\0", "a TIFF image"),
    (b"MM\0+", "a TIFF image"),
    (b"P7\n", "a PAM image"),
    (b"PF\n", "a colour PFM image"),
    (b"8BPS", "a Photoshop image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"OggS", "an Ogg clip"),
    (b"fLaC", "a FLAC audio clip"),
    (b"ID3", "an MP3 audio clip"),
    (b"\xff\xfb", "an MP3 audio clip"),
    (b"\xff\xf3", "an MP3 audio clip"),
    (b"\xff\xfa", "an MP3 audio clip"),
    (b"\xff\xf2", "an MP3 audio clip"),
    (b"\xff\xf1", "an AAC audio clip"),
    (b"\xff\xf9", "an AAC audio clip"),
    (b"RF64", "a WAV audio clip"),
    (b".snd", "an AU audio clip"),
    (b"%PDF", "a PDF"),
    (b"%!PS", "a PostScript document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"PAR1", "a parquet file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"version https://git-lfs", "a Git LFS pointer; run `git lfs pull`"),
)
_FORM = {b"AIFF": "an AIFF audio clip", b"AIFC": "an AIFF audio clip"}
_RIFF = {b"WEBP": "a WebP image", b"AVI ": "an AVI video", b"WAVE": "a WAV audio clip"}
_BRANDS = {b"avi": "an AVIF image", b"hei": "a HEIC image", b"hev": "a HEIC image", b"mif": "a HEIC image"} | {
    b"M4A": "an M4A audio clip",
    b"qt ": "a QuickTime video",
}
_MARKUP = ((r"<svg[\s>]", "an SVG drawing"), (r"<!doctype html|<html[\s>]", "an HTML page"), (r"<\?xml", "an XML file"))

_MP3_SIZE = re.compile(rb"(?:Xing|Info)\0\0\0[\3\7\x0b\x0f].{4}(.{4})", re.DOTALL)
"""The tag of an MP3's first frame, with flags that say that it has the number of bytes."""


def file_kind(data: bytes) -> str:
    """What the bytes are, with an article."""
    if not data:
        return "empty"
    if not data.strip(b"\0"):
        return "nothing but zero bytes"
    if data[:2] == b"BM" and data[6:10] == bytes(4):
        return "a BMP image"
    if data[:4] == b"RIFF" and data[8:12] in _RIFF:
        return _RIFF[data[8:12]]
    if data[:4] == b"FORM" and data[8:12] in _FORM:
        return _FORM[data[8:12]]
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:11], "an MP4 video")
    kinds = (kind for start, kind in _STARTS if data.startswith(start))
    return next(kinds, None) or _kind_of_text(data[:4096])


def _kind_of_text(head: bytes) -> str:
    try:
        # The head may end inside a character.
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "data of an unknown kind"
    if not all(character.isprintable() or character in "\t\n\r\f\ufeff" for character in text):
        return "data of an unknown kind"
    for pattern, kind in _MARKUP:
        if text.lstrip("\ufeff \t\r\n").startswith("<") and re.search(pattern, text, re.IGNORECASE):
            return kind
    return "JSON text" if re.match(r"\s*[\[{]\s*[\"{\[\d\]}]", text) else "text"


def missing_bytes(data: bytes) -> int:
    """Bytes that an MP4, RIFF (AVI, WAV), AIFF, Matroska or MP3 file announces beyond its end; 0 if it is whole.

    A decoder may read such a file up to where it is cut off and report nothing.
    """
    return max(0, max(_ends(data), default=0) - len(data))


def is_open_ogg(data: bytes) -> bool:
    """Whether the last page of an Ogg file is cut off, or lacks the mark of the end of its stream (RFC 3533)."""
    last = end = 0
    while data[end : end + 4] == b"OggS" and end + 27 <= len(data):
        last, lengths = end, data[end + 27 : end + 27 + data[end + 26]]
        end += 27 + data[end + 26] + sum(lengths)
    return data[:4] == b"OggS" and (end > len(data) or not data[last + 5] & 4)


def _ends(data: bytes) -> Iterator[int]:
    """Where the outermost parts of the file end by what they say of themselves."""
    if data[:4] == b"RIFF":
        (size,) = struct.unpack("<I", data[4:8].ljust(4, b"\0"))
        # Writers that stream leave a placeholder, and some count the first 8 bytes as well.
        yield size if size < 0xFFFFFF00 else 0
    elif data[:4] == b"RF64" and data[12:16] == b"ds64":
        yield int.from_bytes(data[20:28], "little")
    elif data[:4] == b"FORM":
        yield 8 + int.from_bytes(data[4:8], "big")
    elif data[4:8] == b"ftyp":
        start = 0
        while start + 16 <= len(data):
            size, long_size = struct.unpack(">I4xQ", data[start : start + 16])
            size = long_size if size == 1 else size or len(data) - start
            start += max(size, 8)
            yield start
    elif data[:4] == b"\x1aE\xdf\xa3" and (segment := data.find(b"\x18\x53\x80\x67", 0, 4096)) > 0:
        width = 9 - data[segment + 4].bit_length() if len(data) > segment + 4 else 0
        field = data[segment + 4 : segment + 4 + width]
        size = int.from_bytes(field, "big") & ((1 << 7 * width) - 1)
        # All ones: the size is unknown.
        if len(field) == width > 0 and size != (1 << 7 * width) - 1:
            yield segment + 4 + width + size
    elif "MP3" in file_kind(data) and (tag := _MP3_SIZE.search(data, 0, 9999)):
        # The size counts from the frame that holds the tag, whose start is at most 36 bytes before.
        yield tag.start() - 36 + int.from_bytes(tag[1], "big")
