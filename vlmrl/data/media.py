"""Images as they come in a sample (a path, bytes, a data URI) to PIL, with errors that say which file is broken."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from vlmrl.errors import UserError
from vlmrl.sample import Media

if TYPE_CHECKING:
    from PIL.Image import Image


def load_image(media: Media) -> Image:
    """The whole image decoded, as RGB. `UserError` for a missing, foreign or truncated file."""
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
    """(width, height) in pixels, from the header alone."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(media.read())) as image:
            return image.size
    except UserError:
        raise
    except _broken() as error:
        raise _unreadable(media, error) from None


def _broken() -> tuple[type[Exception], ...]:
    """What Pillow raises of images: that are none, are cut off, have odd headers or are far too large."""
    from PIL.Image import DecompressionBombError

    return OSError, SyntaxError, ValueError, TypeError, DecompressionBombError


def _unreadable(media: Media, error: Exception) -> UserError:
    return UserError(f"{media.name}: not a readable image ({error}); replace the file or drop the row")


def encode_png(image: Image) -> bytes:
    """The image as PNG bytes, for a sample that carries its own media."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
