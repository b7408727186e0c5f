"""Places: in which coordinates the model of another trainer writes them, and how large the images of its rows are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from vlmrl import catalog
from vlmrl.data.media import image_size
from vlmrl.errors import UserError
from vlmrl.rewards.frames import shown_size
from vlmrl.sample import Media


class Writer(NamedTuple):
    """How a model writes places: in these coordinates, of an image that its processor has resized."""

    image_processor: Any
    coords: str

    @classmethod
    def of(cls, processor: Any) -> Writer:
        """The writer of a processor of transformers, whose module is named for its family."""
        family = type(processor).__module__.split(".")[-2]
        return cls(processor.image_processor, catalog.load("families", family).COORDS)

    def shown(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size (width, height) in which the model sees an image of this size."""
        try:
            return shown_size(self.image_processor, size)
        except ValueError as error:  # an image more than 200 times as long as wide
            raise UserError(f"an image of {size[0]} x {size[1]} pixels: {error}; leave the row out") from None


def image_sizes(row: Mapping[str, Any]) -> list[tuple[int, int]]:
    """The sizes of the row's images: of PIL, bytes, paths, or structs of bytes and path as `datasets` has them."""
    values = [row[name] for name in ("images", "image") if row.get(name) is not None][:1]
    images = values[0] if values and isinstance(values[0], list | tuple) else values
    return [_size(image) for image in images]


def _size(image: Any) -> tuple[int, int]:
    if hasattr(image, "size") and isinstance(image.size, tuple):
        return image.size
    fields: Any = image if isinstance(image, Mapping) else {"bytes" if isinstance(image, bytes) else "path": image}
    return image_size(Media(path=fields.get("path"), data=fields.get("bytes")))
