"""Images of samples (a path, bytes, a data URI) as PIL images, with errors that name the broken file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from vlmrl.errors import UserError
from vlmrl.sample import Media

if TYPE_CHECKING:
    from PIL.Image import Image


def load_image(media: Media) -> Image:
    """The fully decoded image in RGB. `UserError` for a missing or truncated file, or one that is not an image."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(media.read())) as image:
            image.load()
            return image.convert("RGB")
    except UserError:
        raise
    except _broken() as error:
        raise _unreadable(media, error) from None


def image_size(media: Media) -> tuple[int, int]:
    """(width, height) in pixels, from the header only."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(media.read())) as image:
            return image.size
    except UserError:
        raise
    except _broken() as error:
        raise _unreadable(media, error) from None


def _broken() -> tuple[type[Exception], ...]:
    """Exceptions of Pillow for files that are not images, are truncated, have invalid headers or are too large."""
    from PIL.Image import DecompressionBombError

    return OSError, SyntaxError, ValueError, TypeError, DecompressionBombError


def _unreadable(media: Media, error: Exception) -> UserError:
    return UserError(f"{media.name}: not a readable image ({error}); replace the file or drop the row")


def encode_png(image: Image) -> bytes:
    """The image as PNG bytes, for a sample with media in memory."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def video_size(media: Media) -> tuple[int, int]:
    """(width, height) of a video's frames in pixels; `UserError` for a file that is not a video."""
    import decord

    try:
        height, width = decord.VideoReader(media.path if media.data is None else io.BytesIO(media.data))[0].shape[:2]
    except UserError:
        raise
    except Exception as error:  # the reader raises bare exceptions of its C++ library
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{media.name}: not a readable video ({reason}); replace it or drop the row") from None
    return int(width), int(height)
