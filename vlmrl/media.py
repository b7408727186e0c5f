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
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(media.read())) as image:
            image.load()
            return image.convert("RGB")
    except UnidentifiedImageError:
        raise UserError(f"{media.name}: not an image that Pillow can read; replace the file or drop the row") from None
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{media.name}: broken image ({error}); replace the file or drop the row") from None


def image_size(media: Media) -> tuple[int, int]:
    """(width, height) in pixels, from the header alone."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(media.read())) as image:
            return image.size
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise UserError(f"{media.name}: not a readable image ({error}); replace the file or drop the row") from None


def encode_png(image: Image) -> bytes:
    """The image as PNG bytes, for a sample that carries its own media."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
