"""Pictures as people's files are: each form shows what a viewer shows, at the size that its header gives."""

from __future__ import annotations

import io
import os
import socket
import struct
import warnings
import zlib
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw
from transformers.image_utils import load_image as load_in_transformers

from vlmrl.data.audio import check_audio
from vlmrl.data.media import _rgb, encode_png, image_size, load_image
from vlmrl.data.videos import check_video, video_size
from vlmrl.errors import UnreadableError
from vlmrl.sample import Media

WIDTH, HEIGHT = 24, 16
ORIENTED = range(1, 9)


def colours() -> np.ndarray:
    """[16, 24, 3]: no two rows or columns are alike."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x * 10, y * 15, 255 - x * 5 - y * 5], -1).astype(np.uint8)


def alpha() -> np.ndarray:
    """[16, 24]: transparent, then half, then opaque."""
    return np.repeat(np.array([0, 128, 255], np.uint8), 8)[None].repeat(HEIGHT, 0)


PICTURE = Image.fromarray(colours())
GREY = PICTURE.convert("L")
DEEP = np.linspace(0, 65535, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH)
GREY_OF_DEEP = np.rint(DEEP.astype(np.uint16) / 257).astype(np.uint8)
SHAPE = Image.fromarray(np.dstack([colours(), alpha()]))


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def on_white(rgba: Image.Image) -> np.ndarray:
    """The compositing formula, in floats."""
    pixels = np.asarray(rgba.convert("RGBA")).astype(float)
    share = pixels[..., 3:] / 255
    return pixels[..., :3] * share + 255 * (1 - share)


def shown(data: bytes) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = load_image(Media(data=data))
        assert image.mode == "RGB"
        assert image_size(Media(data=data)) == image.size
    return np.asarray(image).astype(int)


def theirs(data: bytes) -> np.ndarray:
    return np.asarray(load_in_transformers(Image.open(io.BytesIO(data)))).astype(int)


# --- forms that transformers shows as they are ------------------------------------------------------------


def frames(form: str, **options: Any) -> bytes:
    others = [Image.new("RGB", PICTURE.size, name) for name in ("black", "lime")]
    return saved(PICTURE, form, save_all=True, append_images=others, **options)


def oriented(form: str, orientation: int, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(PICTURE, form, exif=exif, **options)


def interlaced() -> bytes:
    """An Adam7 PNG of one pixel, which is its first pass alone."""
    return png(struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 1), b"\0\x10\x20\x30")


def png(header: bytes, rows: bytes, *more: bytes) -> bytes:
    chunks = [b"IHDR" + header, *more, b"IDAT" + zlib.compress(rows), b"IEND"]
    packed = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def grey_png(bits: int, colour: int = 0) -> bytes:
    """A PNG of 8 pixels in a row with 1, 2 or 4 bits each."""
    values = np.arange(8) % 2**bits
    packed = np.packbits((values[:, None] >> np.arange(bits)[::-1]) & 1).tobytes()
    return png(struct.pack(">IIBBBBB", 8, 1, bits, colour, 0, 0, 0), b"\0" + packed)


def coloured_16_bit_png() -> bytes:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours().astype(np.uint16) * 257)
    return png(struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0), rows)


def as_transformers_shows() -> dict[str, bytes]:
    broken_exif = oriented("JPEG", 6).replace(b"Exif\0\0MM", b"Exif\0\0??").replace(b"Exif\0\0II", b"Exif\0\0??")
    return {
        "RGB PNG": encode_png(PICTURE),
        "RGB PNG of 16 bits": coloured_16_bit_png(),
        "interlaced PNG": interlaced(),
        "grey PNG": encode_png(GREY),
        "grey PNG of 1 bit": grey_png(1),
        "grey PNG of 2 bits": grey_png(2),
        "grey PNG of 4 bits": grey_png(4),
        "palette PNG": encode_png(PICTURE.quantize(64)),
        "bilevel PNG": encode_png(PICTURE.convert("1")),
        "PNG with a gamma and a profile": saved(PICTURE, "PNG", icc_profile=srgb()),
        "JPEG": saved(PICTURE, "JPEG"),
        "progressive JPEG": saved(PICTURE, "JPEG", progressive=True),
        "JPEG with 4:4:4": saved(PICTURE, "JPEG", subsampling=0),
        "grey JPEG": saved(GREY, "JPEG"),
        "CMYK JPEG": saved(PICTURE.convert("CMYK"), "JPEG"),
        "JPEG with broken EXIF": broken_exif,
        "MPO of three": frames("MPO"),
        "JPEG 2000": saved(PICTURE, "JPEG2000"),
        "GIF": saved(PICTURE.quantize(64), "GIF"),
        "animated GIF": frames("GIF"),
        "animated PNG": frames("PNG"),
        "animated WebP": frames("WEBP", lossless=True),
        "WebP": saved(PICTURE, "WEBP"),
        "lossless WebP": saved(PICTURE, "WEBP", lossless=True),
        "AVIF": saved(PICTURE, "AVIF"),
        "BMP": saved(PICTURE, "BMP"),
        "TGA": saved(PICTURE, "TGA"),
        "PPM": saved(PICTURE, "PPM"),
        "TIFF": saved(PICTURE, "TIFF"),
        "TIFF of three pages": frames("TIFF"),
        "TIFF with LZW": saved(PICTURE, "TIFF", compression="tiff_lzw"),
        "bilevel TIFF": saved(PICTURE.convert("1"), "TIFF", compression="group4"),
        "CMYK TIFF": saved(PICTURE.convert("CMYK"), "TIFF"),
        "YCbCr TIFF": saved(PICTURE.convert("YCbCr"), "TIFF"),
    } | {
        f"{form} with orientation {n}": oriented(form, n) for form in ("JPEG", "PNG", "WEBP", "TIFF") for n in ORIENTED
    }


def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("name", as_transformers_shows())
def test_a_form_is_shown_as_transformers_shows_it(name: str) -> None:
    data = as_transformers_shows()[name]
    assert np.array_equal(shown(data), theirs(data))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_orientation_is_applied(form: str) -> None:
    """Orientation 6 is a picture that has to be turned by 90 degrees clockwise."""
    options = {"lossless": True} if form == "WEBP" else {"quality": 100, "subsampling": 0} if form == "JPEG" else {}
    turned = np.rot90(colours().astype(int), -1)
    assert np.abs(shown(oriented(form, 6, **options)) - turned).max() <= 4
    assert image_size(Media(data=oriented(form, 6))) == (HEIGHT, WIDTH)


def xmp_chunk() -> bytes:
    return b"iTXtXML:com.adobe.xmp\0\0\0\0\0" + b'<rdf:Description tiff:Orientation="8"/>'


def exif_chunk() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 8
    return b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")


def profile_chunk() -> bytes:
    """As ImageMagick writes it."""
    data = (b"Exif\0\0" + exif_chunk()[4:]).hex()
    return f"tEXtRaw profile type exif\0\nexif\n{len(data) // 2:8d}\n{data}\n".encode()


@pytest.mark.parametrize("place", ["before the pixels", "behind the pixels"])
@pytest.mark.parametrize("make", [exif_chunk, xmp_chunk, profile_chunk])
def test_a_png_with_its_orientation_anywhere_is_turned(make: Callable[[], bytes], place: str) -> None:
    chunk = make()
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data = encode_png(PICTURE)
    cut = 33 if place == "before the pixels" else len(data) - 12
    assert np.array_equal(shown(data[:cut] + chunk + data[cut:]), np.rot90(colours().astype(int)))


# --- transparency -----------------------------------------------------------------------------------------


def palette_with(transparency: bytes | int) -> bytes:
    return saved(PICTURE.quantize(8), "PNG", transparency=transparency)


def transparent_forms() -> dict[str, bytes]:
    grey = Image.merge("LA", [GREY, SHAPE.getchannel("A")])
    return {
        "RGBA PNG": encode_png(SHAPE),
        "LA PNG": encode_png(grey),
        "palette PNG with bytes": palette_with(bytes([0, 60, 120, 180, 255, 255, 30, 90])),
        "palette PNG with an index": palette_with(3),
        "GIF with an index": saved(PICTURE.quantize(8), "GIF", transparency=3),
        "animated GIF with an index": saved(
            PICTURE.quantize(8), "GIF", transparency=3, save_all=True, append_images=[GREY]
        ),
        "RGB PNG with a transparent colour": saved(PICTURE, "PNG", transparency=tuple(colours()[3, 5].tolist())),
        "grey PNG with a transparent value": saved(GREY, "PNG", transparency=int(np.asarray(GREY)[3, 5])),
        "bilevel PNG with a transparent value": saved(PICTURE.convert("1"), "PNG", transparency=0),
        "RGBA WebP": saved(SHAPE, "WEBP", lossless=True),
        "RGBA TIFF": saved(SHAPE, "TIFF"),
        "LA TIFF": saved(grey, "TIFF"),
        "RGBA TGA": saved(SHAPE, "TGA"),
        "RGBA JPEG 2000": saved(SHAPE, "JPEG2000"),
        "RGBA ICO": saved(SHAPE.resize((16, 16)), "ICO", sizes=[(16, 16)]),
        "animated RGBA PNG": saved(SHAPE, "PNG", save_all=True, append_images=[SHAPE.rotate(180)]),
    }


@pytest.mark.parametrize("name", transparent_forms())
def test_what_is_transparent_is_white(name: str) -> None:
    data = transparent_forms()[name]
    expected = on_white(Image.open(io.BytesIO(data)))
    assert np.abs(shown(data) - expected).max() <= 1
    assert (expected == 255).all(-1).any() or "bytes" in name
    assert not np.array_equal(shown(data), theirs(data)), "the form is not transparent"


def test_a_black_drawing_on_transparent_ground_can_be_seen() -> None:
    drawing = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    ImageDraw.Draw(drawing).rectangle([10, 10, 29, 29], fill=(0, 0, 0, 255))
    pixels = shown(encode_png(drawing))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[20, 20].tolist() == [0, 0, 0]


@pytest.mark.parametrize("mode", ["RGBa", "La", "PA", "HSV", "YCbCr", "RGBX", "CMYK", "1"])
def test_modes_that_only_some_files_have(mode: str) -> None:
    image = SHAPE.convert("LA").convert("La") if mode == "La" else SHAPE.convert(mode)
    clear = mode in ("RGBa", "La", "PA")
    pixels = np.asarray(_rgb(image)).astype(int)
    assert (pixels[:, :8] == 255).all() == clear
    if not clear:
        assert np.array_equal(pixels, np.asarray(image.convert("RGB")))


# --- greys of many bits -----------------------------------------------------------------------------------


def twelve_bit_tiff() -> bytes:
    """Two pixels, 0x800 and 0xfff, packed into three bytes."""
    tags = ((256, 2), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 3))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0\x0c\0\0\0\x80\x0f\xff\0" + struct.pack("<H", len(tags)) + entries + bytes(4)


def tiff(
    values: np.ndarray, order: Literal["<", ">"] = "<", tags: dict[int, Any] | None = None, packed: bool = False
) -> bytes:
    """A TIFF of pixels [H, W] or [H, W, S], as one strip that may be deflated with differences of neighbours."""
    height, width, count = values.reshape(*values.shape[:2], -1).shape
    bits, kind = values.dtype.itemsize * 8, {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    if packed:
        whole = values.view(f"u{values.dtype.itemsize}")
        values = np.diff(whole, axis=1, prepend=np.zeros_like(whole[:, :1]))
    pixels = values.astype(values.dtype.newbyteorder(order)).tobytes()
    pixels = zlib.compress(pixels) if packed else pixels
    fields = {256: [width], 257: [height], 258: [bits] * count, 259: [8 if packed else 1], 262: [1], 273: [8]}
    fields |= {277: [count], 278: [height], 279: [len(pixels)], 317: [2 if packed else 1], 339: [kind] * count}
    fields |= {tag: value if isinstance(value, list) else [value] for tag, value in (tags or {}).items()}
    behind = 8 + len(pixels) + 2 + 12 * len(fields) + 4
    directory, lists = struct.pack(f"{order}H", len(fields)), b""
    for tag, numbers in sorted(fields.items()):
        value = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            value, lists = struct.pack(f"{order}I", behind + len(lists)), lists + value
        directory += struct.pack(f"{order}HHI", tag, 4, len(numbers)) + value
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8 + len(pixels))
    return start + pixels + directory + bytes(4) + lists


WHITE_IS_ZERO = {262: 0}
SHARES = DEEP / 65535
COLOUR_SHARES = colours() / 255


def deep_tiffs() -> dict[str, tuple[bytes, np.ndarray]]:
    """(file, the levels of its pixels)."""
    deep, levels, rgb = DEEP.astype(np.uint16), SHARES * 255, colours()
    opacity = alpha()[..., None] / 255
    on_white = np.rint(rgb * opacity + 255 * (1 - opacity))
    with_alpha = np.concatenate([COLOUR_SHARES, opacity], -1)
    planes = np.moveaxis(rgb.astype(np.uint16) * 257, -1, 0).reshape(3 * HEIGHT, WIDTH)
    size = planes.nbytes // 3
    in_planes = {257: HEIGHT, 258: [16] * 3, 262: 2, 277: 3, 278: HEIGHT, 284: 2, 339: [1] * 3}
    in_planes |= {273: [8, 8 + size, 8 + 2 * size], 279: [size] * 3}
    return {
        "16 bits, white is zero": (tiff(deep, tags=WHITE_IS_ZERO), 255 - levels),
        "16 bits, big-endian, white is zero": (tiff(deep, ">", WHITE_IS_ZERO), 255 - levels),
        "12 bits, white is zero": (
            twelve_bit_tiff().replace(struct.pack("<HHII", 262, 4, 1, 1), struct.pack("<HHII", 262, 4, 1, 0)),
            np.array([[127, 0]]),
        ),
        "32 bits, unsigned": (tiff((SHARES * (2**32 - 1)).astype(np.uint32)), levels),
        "32 bits, unsigned, big-endian, deflated": (tiff((SHARES * 4e9).astype(np.uint32), ">", packed=True), levels),
        "32 bits, unsigned, within 8": (tiff(np.rint(levels).astype(np.uint32)), levels),
        "64 bits, unsigned": (tiff((SHARES * 2.0**63).astype(np.uint64)), levels),
        "8 bits, signed": (tiff((SHARES * 255 - 128).astype(np.int8)), levels),
        "16 bits, signed, white is zero": (tiff((DEEP - 32768).astype(np.int16), tags=WHITE_IS_ZERO), 255 - levels),
        "float of 16 bits": (tiff(SHARES.astype(np.float16)), levels),
        "float of 32 bits, white is zero": (tiff(SHARES.astype(np.float32), tags=WHITE_IS_ZERO), 255 - levels),
        "float of 64 bits": (tiff(SHARES), levels),
        "float of 64 bits, big-endian": (tiff(SHARES, ">"), levels),
        "float of 64 bits with a hole": (tiff(np.array([[np.nan, 0.5, 1.0]])), np.array([[0, 128, 255]])),
        "RGB of 16 bits in planes": (tiff(planes, tags=in_planes), rgb),
        "RGB of floats": (tiff(COLOUR_SHARES.astype(np.float32), tags={262: 2}), rgb),
        "RGBA of floats": (tiff(with_alpha.astype(np.float32), tags={262: 2, 338: 2}), on_white),
        "RGBA of floats, multiplied": (
            tiff((with_alpha * np.dstack([opacity] * 3 + [np.ones_like(opacity)])), tags={262: 2, 338: 1}),
            on_white,
        ),
    }


@pytest.mark.parametrize("name", deep_tiffs())
def test_a_tiff_of_any_numbers_is_shown(name: str) -> None:
    data, levels = deep_tiffs()[name]
    levels = levels if levels.ndim == 3 else levels[..., None]
    assert np.abs(shown(data) - levels).max() <= 1.01


@pytest.mark.parametrize("turned", ORIENTED)
def test_the_orientation_of_a_deep_tiff_is_applied(turned: int) -> None:
    data, eight = tiff(SHARES, tags={274: turned}), tiff(np.rint(SHARES * 255).astype(np.uint8), tags={274: turned})
    assert np.abs(shown(data) - shown(eight)).max() <= 1


@pytest.mark.parametrize("tags", [{274: 1}, {317: 3}])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_deep_tiff_that_is_cut_off_is_unreadable(share: float, tags: dict[int, int]) -> None:
    data = saved(Image.fromarray(SHARES.astype(np.float32)), "TIFF", compression="tiff_deflate", tiffinfo=tags)
    whole = load_image(Media(data=data))
    assert whole.size == (WIDTH, HEIGHT)
    with pytest.raises(
        UnreadableError, match=r"not a readable image \((it is a TIFF image, damaged|image file is trunc|.{5,90}\))"
    ):
        load_image(Media(data=data[: int(len(data) * share)]))


def test_a_deep_tiff_of_too_many_pixels_is_refused_in_one_line() -> None:
    data = tiff(SHARES, tags={256: 40_000, 257: 40_000})
    with pytest.raises(UnreadableError, match="has more than 89,478,485 pixels"):
        load_image(Media(data=data))


def deep_forms() -> dict[str, tuple[bytes, np.ndarray]]:
    """(file, the grey levels of its pixels)."""
    deep, grey = DEEP.astype(np.uint16), GREY_OF_DEEP
    floats, eight = DEEP.astype(np.float32), np.rint(DEEP / 257)
    stretched = np.rint((DEEP - DEEP.min()) / np.ptp(DEEP) * 255)
    pgm = b"P5 %d %d 65535 " % (WIDTH, HEIGHT)
    return {
        "16-bit PNG": (encode_png(Image.fromarray(deep)), grey),
        "16-bit TIFF": (saved(Image.fromarray(deep), "TIFF"), grey),
        "big-endian 16-bit TIFF": (saved(Image.fromarray(deep.astype(">u2")), "TIFF"), grey),
        "12-bit TIFF": (twelve_bit_tiff(), np.array([[128, 255]])),
        "16-bit PGM": (pgm + deep.astype(">u2").tobytes(), grey),
        "10-bit PGM": (b"P5 2 1 1023 " + np.array([512, 1023], ">u2").tobytes(), np.array([[128, 255]])),
        "16-bit JPEG 2000": (saved(Image.fromarray(deep), "JPEG2000"), grey),
        "32-bit TIFF within 16 bits": (saved(Image.fromarray(DEEP.astype(np.int32)), "TIFF"), grey),
        "32-bit TIFF within 8 bits": (saved(Image.fromarray(eight.astype(np.int32)), "TIFF"), eight),
        "32-bit TIFF beyond": (saved(Image.fromarray((DEEP * 1000).astype(np.int32) - 5), "TIFF"), stretched),
        "float TIFF of shares": (saved(Image.fromarray(floats / 65535), "TIFF"), stretched),
        "float TIFF within 8 bits": (saved(Image.fromarray(floats / 257), "TIFF"), stretched),
        "float TIFF of depths": (saved(Image.fromarray(floats - 40_000), "TIFF"), stretched),
        "float TIFF with a hole": (
            saved(Image.fromarray(np.array([[np.nan, 0.5, 1.0]], np.float32)), "TIFF"),
            np.array([[0, 128, 255]]),
        ),
        "dark 16-bit PGM": (pgm + eight.astype(">u2").tobytes(), eight / 257),
        "PFM": (saved(Image.fromarray(floats / 65535), "PPM"), stretched),
    }


@pytest.mark.parametrize("most", [1, 2, 7, 100, 255, 256, 300, 1000, 4095, 65535])
def test_a_pgm_is_scaled_by_the_largest_value_that_it_declares(most: int) -> None:
    values = np.rint(SHARES * most).astype(int)
    pixels = values.astype(">u2" if most > 255 else np.uint8).tobytes()
    head = f"{WIDTH} {HEIGHT} {most} "
    for data in (f"P5 {head}".encode() + pixels, f"P2 {head}{' '.join(map(str, values.ravel()))}".encode()):
        assert np.abs(shown(data) - (values / most * 255)[..., None]).max() <= 1


@pytest.mark.parametrize("name", deep_forms())
def test_deep_greys_keep_their_range(name: str) -> None:
    data, grey = deep_forms()[name]
    assert np.abs(shown(data) - grey[..., None].astype(int)).max() <= 1


def test_two_greys_of_16_bits_can_be_told_apart() -> None:
    deep = np.full((4, 8), 12_000, np.uint16)
    deep[:, 4:] = 40_000
    assert np.unique(shown(encode_png(Image.fromarray(deep)))).tolist() == [47, 156]


def test_a_transparent_value_of_16_bits_is_white() -> None:
    rows = b"\0" + np.array([0, 30_000], ">u2").tobytes()
    data = png(struct.pack(">IIBBBBB", 2, 1, 16, 0, 0, 0, 0), rows, b"tRNS\0\0")
    assert shown(data)[0, :, 0].tolist() == [255, 117]


@pytest.mark.parametrize(("bits", "clear"), [(2, 1), (2, 2), (4, 1), (4, 5), (4, 15)])
def test_a_transparent_value_of_fewer_than_8_bits_is_white(bits: int, clear: int) -> None:
    values = np.arange(8) % 2**bits
    packed = np.packbits((values[:, None] >> np.arange(bits)[::-1]) & 1).tobytes()
    data = png(struct.pack(">IIBBBBB", 8, 1, bits, 0, 0, 0, 0), b"\0" + packed, b"tRNS" + struct.pack(">H", clear))
    expected = np.where(values == clear, 255, values * 255 // (2**bits - 1))
    assert shown(data)[0, :, 0].tolist() == expected.tolist()


def test_a_transparent_colour_of_16_bits_is_white() -> None:
    rows = b"\0" + np.array([[0, 30_000, 70], [500, 30_000, 70]], ">u2").tobytes()
    clear = b"tRNS" + struct.pack(">HHH", 0, 30_000, 70)
    data = png(struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0), rows, clear)
    assert shown(data)[0].tolist() == [[255, 255, 255], [1, 117, 0]]


def test_lab_is_shown_in_its_colours() -> None:
    lab = ImageCms.createProfile("LAB")
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), lab, "RGB", "LAB")
    soft = Image.fromarray(colours() // 2 + 60)
    converted = ImageCms.applyTransform(soft, to_lab)
    assert converted
    data = saved(converted, "TIFF")
    off = np.abs(shown(data) - np.asarray(soft).astype(int))
    assert off.mean() <= 2  # steps of 8 bits in Lab are wider than in RGB
    assert off.max() <= 12


# --- files that cannot be shown ---------------------------------------------------------------------------


def unreadable() -> dict[str, tuple[bytes, str]]:
    png_file, jpeg = encode_png(PICTURE.resize((99, 99))), saved(PICTURE.resize((99, 99)), "JPEG")
    html = b"<!DOCTYPE html>\n<html><head><title>404</title></head></html>"
    return {
        "empty": (b"", "it is empty"),
        "zeros": (bytes(5000), "it is nothing but zero bytes"),
        "HTML": (html, "it is an HTML page"),
        "HTML with a comment": (b"\xef\xbb\xbf<!-- saved -->" + html, "it is an HTML page"),
        "SVG": (b'<?xml version="1.0"?>\n<svg width="9" height="9"></svg>', "it is an SVG drawing"),
        "XML": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "it is an XML file"),
        "PDF": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "it is a PDF"),
        "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC image, which Pillow does not read; convert it"),
        "MP4": (b"\0\0\0\x18ftypisom\0\0\2\0isommp41", "it is an MP4 video"),
        "JSON": (b'{"error": "not found"}', "it is JSON text"),
        "text": ("Übersicht, kein Bild".encode(), "it is text"),
        "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n", "run `git lfs pull`"),
        "ZIP": (b"PK\x03\x04\x14\0\0\0", "it is a ZIP archive"),
        "noise": (bytes(range(128, 256)) * 9, "data of an unknown kind"),
        "truncated PNG": (png_file[: len(png_file) // 2], "image file is truncated"),
        "truncated JPEG": (jpeg[: len(jpeg) // 2], "image file is truncated"),
        "truncated GIF": (saved(PICTURE.quantize(64), "GIF")[:500], "image file is truncated"),
        "truncated TIFF": (
            saved(PICTURE, "TIFF", compression="tiff_lzw")[:99],
            "a TIFF image, damaged or cut off, or of a form that",
        ),
        "PAM": (b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 1\nMAXVAL 255\nENDHDR\n0", "a PAM image, which Pillow does not read"),
        "truncated PPM": (saved(PICTURE, "PPM")[:99], "image file is truncated"),
        "truncated WebP": (saved(PICTURE, "WEBP", lossless=True)[:40], "could not create decoder object"),
        "PNG with a broken header": (png_file[:8] + bytes(40), "it is a PNG image, damaged or cut off"),
    }


@pytest.mark.parametrize("name", unreadable())
def test_the_message_says_what_the_file_is(tmp_path, name: str) -> None:
    data, says = unreadable()[name]
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    with pytest.raises(UnreadableError) as caught:
        load_image(Media(path=str(path)))
    line = str(caught.value)
    assert line.startswith(f"{path}: not a readable image (")
    assert says in line
    assert "0x" not in line
    assert "\n" not in line
    assert line.endswith("; replace the file or drop the row")
    assert len(line) < len(str(path)) + 200


def test_a_wrong_suffix_does_not_matter(tmp_path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encode_png(PICTURE))
    assert np.array_equal(np.asarray(load_image(Media(path=str(path)))), colours())


@pytest.mark.parametrize("sides", [(13_000, 13_000), (40_000, 30_000)])
@pytest.mark.parametrize("read", [load_image, image_size])
def test_an_image_of_too_many_pixels_is_refused_in_one_line(
    read: Callable[[Media], Any], sides: tuple[int, int], recwarn
) -> None:
    data = png(struct.pack(">IIBBBBB", *sides, 8, 2, 0, 0, 0), b"")
    with pytest.raises(UnreadableError, match="has more than 89,478,485 pixels; make the image smaller or drop"):
        read(Media(data=data))
    assert not recwarn.list


def test_a_huge_file_is_not_read(tmp_path) -> None:
    with (tmp_path / "x.png").open("wb") as file:
        file.truncate(2**34)
    for read in (load_image, image_size, Media.read):
        with pytest.raises(UnreadableError, match=r"x.png: has 17,179,869,184 bytes, and it may have"):
            read(Media(path=str(tmp_path / "x.png")))


def test_a_missing_file_is_unreadable(tmp_path) -> None:
    with pytest.raises(UnreadableError, match="no such file or directory; fix the path or drop the row"):
        image_size(Media(path=str(tmp_path / "gone.png")))


@pytest.mark.parametrize("read", [load_image, image_size, check_video, check_audio, video_size])
def test_what_is_not_a_regular_file_is_not_read(tmp_path, read: Callable[[Media], Any]) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
    kinds = {"/dev/zero": "a device", "pipe": "a pipe", "socket": "a socket", ".": "a folder"}
    for name, kind in kinds.items():
        with pytest.raises(UnreadableError, match=f"is {kind}; fix the path or drop the row"):
            read(Media(path=str(tmp_path / name)))


@pytest.mark.parametrize("path", ["a\0.png", "a\ud800.png"])
def test_a_path_that_no_system_takes_is_unreadable(path: str) -> None:
    with pytest.raises(UnreadableError, match="not a path: "):
        load_image(Media(path=path))


def test_a_medium_that_is_too_large_is_not_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("vlmrl.sample.MOST_BYTES", 1000)
    (tmp_path / "large.mp4").write_bytes(bytes(1001))
    with pytest.raises(UnreadableError, match=r"has 1,001 bytes, and it may have 1,000; make it smaller"):
        check_video(Media(path=str(tmp_path / "large.mp4")))
