"""Images of samples (a path, bytes, a data URI) as a viewer shows them, with errors that name the broken file.

load_image(media)      RGB, upright; `image_size(media)` is its size, read from the header
animation(media)       the pictures of an animated image, with their durations

What is shown: the orientation of EXIF is applied, transparency is white, of an animation or a document the first
picture. Samples of more than 8 bits keep their range: 16 bits are divided by 257. Integers of 32 bits or more, signed
ones and floats do not say their range, so it is the smallest of 0 to 1 (floats), 0 to 255 and 0 to 65535 that holds
them all, or else their own minimum to maximum. Colour profiles are not applied, as by the processors of the models.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vlmrl.data.file_kind import file_kind
from vlmrl.data.tiff import ORIENTATION, deep_page
from vlmrl.errors import UnreadableError
from vlmrl.sample import Media

if TYPE_CHECKING:
    from PIL.Image import Image

    from vlmrl.data.tiff import Page

MOST_PIXELS = 89_478_485
"""Pixels above which Pillow warns of a decompression bomb; an RGB image of so many takes 256 MiB."""

MOST_BYTES = 2**30
"""Bytes of an image file, about what MOST_PIXELS take without compression at 32 bits a channel."""

_DAMAGE = (LookupError, ArithmeticError, TypeError, struct.error)
"""What a reader of damaged fields raises, with a text about the reader and not about the file."""
_SAYS_NOTHING = re.compile(r"\d+|decoder error.*|not identified by this driver")


def load_image(media: Media) -> Image:
    """The fully decoded image in RGB. `UnreadableError` for a missing or broken file, or one that is not an image."""
    with _read(media) as data:
        if page := deep_page(data):
            return _upright(_from_tiff(page), page.one(ORIENTATION, 1))
        with _opened(data) as image:
            image.load()
            return _upright(_rgb(image, data), _orientation(image))


def image_size(media: Media) -> tuple[int, int]:
    """(width, height) in pixels of what `load_image` returns, from the header only."""
    with _read(media) as data:
        if page := deep_page(data):
            width, height = page.size
            return (width, height) if page.one(ORIENTATION, 1) < 5 else (height, width)
        with _opened(data) as image:
            width, height = image.size
            # A TIFF has its size after rotation. Pillow decodes a PNG to look for EXIF behind its pixels.
            fixed = image.format == "TIFF" or (image.format == "PNG" and not _may_be_rotated(data))
            return (width, height) if fixed or _orientation(image) < 5 else (height, width)


def animation(media: Media) -> Iterator[tuple[Image, int]]:
    """The pictures of an animated image, as `load_image` gives them, each with its duration in milliseconds.

    Viewers show a picture of no duration for 100 milliseconds. `UnreadableError` as of `load_image`.
    """
    with _read(media) as data, _opened(data) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()
            yield _upright(_rgb(image, data), _orientation(image)), int(image.info.get("duration") or 100)


def encode_png(image: Image) -> bytes:
    """The image as PNG bytes, for a sample with media in memory."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def encode_gif(images: Sequence[Image], milliseconds: int) -> bytes:
    """The images as the bytes of an animated GIF, each shown for so long; equal neighbours become one picture."""
    buffer = io.BytesIO()
    first, *rest = images
    first.save(buffer, format="GIF", save_all=True, append_images=rest, duration=milliseconds, loop=0)
    return buffer.getvalue()


@contextmanager
def _read(media: Media) -> Iterator[bytes]:
    """The bytes of the file; what is wrong with them as an image becomes an `UnreadableError`."""
    from PIL import Image

    data = None
    try:
        data = media.read(MOST_BYTES)
        _silence_pillow()
        yield data
    except UnreadableError:
        raise
    except Image.DecompressionBombError:
        why = f"has more than {MOST_PIXELS:,} pixels"
        raise UnreadableError(media.name, why, "make the image smaller or drop the row") from None
    except Exception as error:  # readers raise whatever their parsers meet in a damaged file
        raise UnreadableError(media.name, f"not a readable image ({_reason(data, error)})") from None


@contextmanager
def _opened(data: bytes) -> Iterator[Any]:
    """The image with its header read."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        if image.width * image.height > MOST_PIXELS:
            raise Image.DecompressionBombError
        yield image


def _silence_pillow() -> None:
    """What is wrong becomes an error with the file's name; a warning of Pillow names nothing.

    For good: filters that are set for a while are those of all threads.
    """
    from PIL import Image

    warnings.filterwarnings("ignore", module=r"PIL\.")
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def _reason(data: bytes | None, error: Exception) -> str:
    """What the file is, or what is wrong with an image."""
    from PIL import UnidentifiedImageError

    if data is None:  # its path is not one
        return str(error)
    if isinstance(error, _DAMAGE) or _SAYS_NOTHING.fullmatch(str(error)):
        return f"it is {file_kind(data)}, damaged or cut off"
    if not isinstance(error, UnidentifiedImageError):
        return " ".join(str(error).split())[:100] or type(error).__name__
    kind = file_kind(data)
    if kind in ("a HEIC image", "a JPEG XL image", "a PAM image", "a colour PFM image"):
        return f"it is {kind}, which Pillow does not read; convert it to JPEG or PNG"
    if kind == "a TIFF image":
        return "it is a TIFF image, damaged or cut off, or of a form that Pillow does not read; convert it to PNG"
    return f"it is {kind}, damaged or cut off" if "image" in kind else f"it is {kind}"


# --- orientation ------------------------------------------------------------------------------------------


def _orientation(image: Image) -> int:
    """1 to 8 as EXIF numbers them; 1 (upright) if it is missing or cannot be read."""
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # EXIF that is damaged raises whatever its parser met; viewers then show the image as it is
        return 1
    return value if value in range(1, 9) else 1


def _may_be_rotated(png: bytes) -> bool:
    """Whether a chunk of the file may hold EXIF or XMP."""
    place = 8
    while place + 8 <= len(png):
        size, name = struct.unpack(">I4s", png[place : place + 8])
        text = png[place + 8 : place + 25] if name in (b"tEXt", b"zTXt", b"iTXt") else b""
        if name == b"eXIf" or text.startswith((b"Raw profile type", b"XML:com.adobe.xmp")):
            return True
        place += size + 12
    return False


def _upright(image: Image, orientation: int) -> Image:
    from PIL.Image import Transpose as T

    turns = (T.FLIP_LEFT_RIGHT, T.ROTATE_180, T.FLIP_TOP_BOTTOM, T.TRANSPOSE, T.ROTATE_270, T.TRANSVERSE, T.ROTATE_90)
    return image if orientation == 1 else image.transpose(turns[orientation - 2])


# --- colours ----------------------------------------------------------------------------------------------


def _rgb(image: Image, data: bytes = b"") -> Image:
    """The image in RGB, on white where it is transparent; `data` is its file."""
    from PIL import ImageCms

    if image.mode.startswith(("I", "F")):
        return _from_deep_grey(image)
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.applyTransform(image, ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))
        assert converted is not None
        return converted
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.format == "PNG" and image.mode in ("L", "RGB"):
        image.info["transparency"] = _as_decoded(image.info["transparency"], bits=data[24])
    return _on_white((image.convert("LA") if image.mode == "La" else image).convert("RGBA"))


def _as_decoded(value: Any, bits: int) -> Any:
    """The transparent colour of a PNG, which is in the file's bits, in the 8 bits to which Pillow decodes it."""
    if isinstance(value, tuple):
        return tuple(_as_decoded(channel, bits) for channel in value)
    # Of 16 bits Pillow keeps the upper 8.
    return value >> 8 if bits == 16 else (value & (2**bits - 1)) * 255 // (2**bits - 1)


def _on_white(image: Image) -> Image:
    from PIL import Image

    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _from_deep_grey(image: Image) -> Image:
    """A grey image of more than 8 bits; the value that the file calls transparent is white."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image)
    # A PGM of more than 8 bits has mode I, and Pillow scales it to 16.
    is_16_bit = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")
    grey = _levels(values, 65535 if is_16_bit else None)
    if isinstance(transparent := image.info.get("transparency"), int):
        grey[values == transparent] = 255
    return Image.fromarray(grey).convert("RGB")


def _from_tiff(page: Page) -> Image:
    import numpy as np
    from PIL import Image

    width, height = page.size
    if width * height > MOST_PIXELS or page.row_bytes * height > MOST_BYTES:
        raise Image.DecompressionBombError
    samples = page.samples()
    top = 2**page.bits - 1 if page.kind == "u" and page.bits <= 16 else None
    count = 3 if samples.shape[-1] > 2 else 1
    colours = _levels(samples[..., :count], top)
    if page.white_is_zero:
        colours = 255 - colours
    rgb = Image.fromarray(np.repeat(colours, 3 // count, -1))
    if not page.alpha:
        return rgb
    most = 1 if page.kind == "f" else np.iinfo(samples.dtype).max
    opacity = Image.fromarray(np.rint(np.clip(samples[..., -1] / most, 0, 1) * 255).astype(np.uint8))
    if page.alpha == 1:
        return _on_white(Image.merge("RGBa", [*rgb.split(), opacity]).convert("RGBA"))
    rgb.putalpha(opacity)
    return _on_white(rgb)


def _levels(values: Any, top: int | None) -> Any:
    """Numbers as 0 to 255, from 0 or their minimum to `top`, or to what they seem to have as their range."""
    import numpy as np

    low, high = (0.0, float(top)) if top else _range(values)
    shares = (np.nan_to_num(values.astype(np.float64), nan=low) - low) / max(high - low, 1e-30)
    return np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)


def _range(values: Any) -> tuple[float, float]:
    """The values that are black and white, of numbers that do not say it."""
    import numpy as np

    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    usual = (1, 255, 65535) if values.dtype.kind == "f" else (255, 65535)
    return next(((0, top) for top in usual if low >= 0 and high <= top), (low, high))
