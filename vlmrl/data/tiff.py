"""Deep TIFFs: those with samples of more than 8 bits, of floats or of signed integers, in whatever compression.

page = deep_page(data)      None for any other file
page.size                   (width, height) in pixels, as stored
page.samples()              the numbers of its pixels [H, W, S]

Pillow refuses most of them and misreads some. It knows the compressions, so it decodes a copy of the file in which each
row of samples is described as a row of bytes. See TIFF 6.0, and Adobe's technical note 3 for the predictor of floats.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, ORIENTATION = 256, 257, 258, 259, 262, 266, 274
STRIPS, SAMPLES, ROWS_PER_STRIP, STRIP_SIZES, PLANES, PREDICTOR = 273, 277, 278, 279, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_SIZES, EXTRA, FORMAT = 322, 323, 324, 325, 338, 339
_COLOURS = {0: 1, 1: 1, 2: 3}
"""Samples of a colour, by photometric interpretation: white is zero, black is zero, RGB."""
_KINDS = {1: "u", 2: "i", 3: "f"}
_NUMBERS = {("i", 8), ("i", 16), ("i", 32), ("i", 64), ("f", 16), ("f", 32), ("f", 64)}


@dataclass(frozen=True)
class Page:
    """The first page: its tags, the byte order of its samples (`<` or `>`), their kind (`u`, `i`, `f`) and bits."""

    data: bytes
    tags: dict[int, tuple[Any, ...]]
    order: str
    kind: str
    bits: int

    def one(self, tag: int, default: int) -> int:
        return int(self.tags.get(tag, (default,))[0])

    @property
    def size(self) -> tuple[int, int]:
        return self.one(WIDTH, 0), self.one(HEIGHT, 0)

    @property
    def row_bytes(self) -> int:
        """The bytes of a row of all samples; the last tile of a row may reach beyond the image."""
        width, tile = self.size[0], self.one(TILE_WIDTH, self.size[0])
        return ceil(width / tile) * ceil(tile * self.one(SAMPLES, 1) * self.bits / 8)

    @property
    def white_is_zero(self) -> bool:
        return self.one(PHOTOMETRIC, 1) == 0

    @property
    def alpha(self) -> int:
        """0: none, 1: the colours are multiplied by it, 2: they are not."""
        has_more = self.one(SAMPLES, 1) > _COLOURS[self.one(PHOTOMETRIC, 1)]
        return self.one(EXTRA, 2) if has_more else 0

    def samples(self) -> NDArray[Any]:
        """[H, W, S] in the number type of the file."""
        planes, count = self.one(PLANES, 1), self.one(SAMPLES, 1)
        if planes == 1 or count == 1:
            return self._plane(0, 1, count)
        return np.concatenate([self._plane(number, count, 1) for number in range(count)], -1)

    def _plane(self, number: int, planes: int, samples: int) -> NDArray[Any]:
        """One of the planes, [H, W, samples]."""
        width, height = self.size
        # Predictors start anew with each tile.
        tile = self.one(TILE_WIDTH, width)
        across = ceil(width / tile)
        rows = self._bytes(number, planes, samples, tile).reshape(height, across, -1)
        if self.bits % 8:
            bits = np.unpackbits(rows, axis=-1)[..., : tile * samples * self.bits]
            weights = 1 << np.arange(self.bits, dtype=np.uint32)[::-1]
            values = bits.reshape(height, across, tile, samples, self.bits) @ weights
        elif self.one(PREDICTOR, 1) == 3:
            summed = np.cumsum(rows.reshape(height, across, -1, samples), 2, dtype=np.uint8)
            ordered = summed.reshape(height, across, self.bits // 8, -1).swapaxes(-1, -2)
            values = np.ascontiguousarray(ordered).view(f">{self.kind}{self.bits // 8}")
        else:
            values = rows.view(f"{self.order}{self.kind}{self.bits // 8}")
        values = values.reshape(height, across, tile, samples)
        if self.one(PREDICTOR, 1) == 2:
            plain = np.cumsum(values.view(f"{self.order}u{self.bits // 8}"), 2, dtype=f"u{self.bits // 8}")
            values = plain.view(f"{self.kind}{self.bits // 8}")
        return values.reshape(height, -1, samples)[:, :width]

    def _bytes(self, number: int, planes: int, samples: int, tile: int) -> NDArray[np.uint8]:
        """The rows of a plane, [H, bytes], decompressed."""
        from PIL.TiffImagePlugin import TiffImageFile

        wide = ceil(tile * samples * self.bits / 8)
        across = ceil(self.size[0] / tile)
        offsets, sizes = (TILES, TILE_SIZES) if TILES in self.tags else (STRIPS, STRIP_SIZES)
        tags = {
            name: self.tags[name] for name in (HEIGHT, COMPRESSION, FILL_ORDER, ROWS_PER_STRIP) if name in self.tags
        }
        tags |= {WIDTH: (wide * across,), BITS: (8,), PHOTOMETRIC: (1,), SAMPLES: (1,)}
        if TILES in self.tags:
            tags |= {TILE_WIDTH: (wide,), TILE_HEIGHT: self.tags[TILE_HEIGHT]}
        for tag in (offsets, sizes):
            each = len(self.tags[tag]) // planes
            tags[tag] = self.tags[tag][number * each : (number + 1) * each]
        with TiffImageFile(io.BytesIO(_with_directory(self.data, tags, offsets))) as image:
            return np.array(image)


def deep_page(data: bytes) -> Page | None:
    """The first page of a deep TIFF with colours of its own, grey or RGB; None for any other file."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    if data[:4] not in (b"II*\0", b"MM\0*", b"II+\0"):
        return None
    file = io.BytesIO(data)
    tags = ImageFileDirectory_v2(file.read(16 if data[2] == ord("+") else 8))
    file.seek(tags.next)
    tags.load(file)
    found = {tag: value if isinstance(value, tuple) else (value,) for tag, value in tags.items()}
    found = {tag: value for tag, value in found.items() if all(isinstance(number, int) for number in value)}
    bits, formats = set(found.get(BITS, (1,))), set(found.get(FORMAT, (1,)))
    colours = _COLOURS.get(found.get(PHOTOMETRIC, (-1,))[0], -1)
    kind = _KINDS.get(max(formats), "")
    if len(bits) != 1 or len(formats) != 1 or found.get(SAMPLES, (1,))[0] - colours not in (0, 1):
        return None
    is_deep = 8 < max(bits) <= 31 or max(bits) in (32, 64) if kind == "u" else (kind, max(bits)) in _NUMBERS
    return Page(data, found, "<" if data[:2] == b"II" else ">", kind, max(bits)) if is_deep else None


def _with_directory(data: bytes, tags: dict[int, tuple[Any, ...]], offsets: int) -> bytes:
    """A TIFF of these tags, all as 32-bit integers; what `offsets` points to is in `data`, which stands behind them."""
    first = 8 + 2 + 12 * len(tags) + 4
    start = first + sum(4 * len(values) for values in tags.values() if len(values) > 1)
    directory, lists = struct.pack("<H", len(tags)), b""
    for tag, values in sorted(tags.items()):
        moved = [int(value) + start for value in values] if tag == offsets else [int(value) for value in values]
        packed = struct.pack(f"<{len(moved)}I", *moved)
        if len(moved) > 1:
            packed, lists = struct.pack("<I", first + len(lists)), lists + packed
        directory += struct.pack("<HHI", tag, 4, len(moved)) + packed
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + lists + data
