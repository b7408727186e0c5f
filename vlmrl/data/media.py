"""Images of samples (a path, bytes, a data URI) as a viewer shows them, with errors that name the broken file.

load_image(media)      RGB, upright; `image_size(media)` is its size, read from the header
animation(media)       the pictures of an animated image, with their durations

What is shown: the orientation of EXIF is applied, transparency is white, of an animation or a document the first
picture. Greys of more than 8 bits keep their range: 16 bits are divided by 257. Integers of 32 bits and floats do not
say their range, so it is the smallest of 0 to 1 (floats), 0 to 255 and 0 to 65535 that holds them all, or else their
own minimum to maximum. Colour profiles are not applied, as by the processors of the models.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vlmrl.data.file_kind import file_kind
from vlmrl.errors import UnreadableError
from vlmrl.sample import Media

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 89_478_485
"""Pixels above which Pillow warns of a decompression bomb; an RGB image of so many takes 256 MiB."""

MOST_BYTES = 2**30
"""Bytes of an image file, about what MOST_PIXELS take without compression at 32 bits a channel."""


def load_image(media: Media) -> Image:
    """The fully decoded image in RGB. `UnreadableError` for a missing or broken file, or one that is not an image."""
    with _opened(media) as (image, _):
        image.load()
        return _upright(_rgb(image), _orientation(image))


def image_size(media: Media) -> tuple[int, int]:
    """(width, height) in pixels of what `load_image` returns, from the header only."""
    with _opened(media) as (image, data):
        width, height = image.size
        # A TIFF has its size after rotation. Pillow decodes a PNG to look for EXIF behind its pixels.
        fixed = image.format == "TIFF" or (image.format == "PNG" and not _may_be_rotated(data))
        return (width, height) if fixed or _orientation(image) < 5 else (height, width)


def animation(media: Media) -> Iterator[tuple[Image, int]]:
    """The pictures of an animated image, as `load_image` gives them, each with its duration in milliseconds.

    Viewers show a picture of no duration for 100 milliseconds. `UnreadableError` as of `load_image`.
    """
    with _opened(media) as (image, _):
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()
            yield _upright(_rgb(image), _orientation(image)), int(image.info.get("duration") or 100)


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
def _opened(media: Media) -> Iterator[tuple[Any, bytes]]:
    """The image with its header read, and the bytes of its file."""
    from PIL import Image

    data = None
    try:
        data = media.read(MOST_BYTES)
        _silence_pillow()
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise Image.DecompressionBombError
            yield image, data
    except UnreadableError:
        raise
    except Image.DecompressionBombError:
        why = f"has more than {MOST_PIXELS:,} pixels"
        raise UnreadableError(media.name, why, "make the image smaller or drop the row") from None
    except Exception as error:  # Pillow's readers raise whatever their parsers meet in a damaged file
        raise UnreadableError(media.name, f"not a readable image ({_reason(data, error)})") from None


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
    if not isinstance(error, UnidentifiedImageError):
        return " ".join(str(error).split())[:100] or type(error).__name__
    kind = file_kind(data)
    if kind in ("a HEIC image", "a JPEG XL image"):
        return f"it is {kind}, which Pillow does not read; convert it to JPEG or PNG"
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


def _rgb(image: Image) -> Image:
    """The image in RGB, on white where it is transparent."""
    from PIL import Image, ImageCms

    if image.mode.startswith(("I", "F")):
        return _from_deep_grey(image)
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.applyTransform(image, ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))
        assert converted is not None
        return converted
    if not image.has_transparency_data:
        return image.convert("RGB")
    shown = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    white = Image.new("RGBA", shown.size, "white")
    return Image.alpha_composite(white, shown).convert("RGB")


def _from_deep_grey(image: Image) -> Image:
    """A grey image of more than 8 bits; the value that the file calls transparent is white."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image)
    low, high = _grey_range(image, values)
    grey = np.clip((np.nan_to_num(values, nan=low) - low) / max(high - low, 1e-30), 0, 1) * 255
    grey = np.rint(grey).astype(np.uint8)
    if isinstance(transparent := image.info.get("transparency"), int):
        grey[values == transparent] = 255
    return Image.fromarray(grey).convert("RGB")


def _grey_range(image: Image, values: Any) -> tuple[float, float]:
    """The values that are black and white."""
    import numpy as np

    if image.mode.startswith("I;16"):
        bits = getattr(image, "tag_v2", {}).get(258, (16,))[0]  # a TIFF may have 12
        return 0, 2**bits - 1
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    usual = (1, 255, 65535) if image.mode == "F" else (255, 65535)
    return next(((0, top) for top in usual if low >= 0 and high <= top), (low, high))
