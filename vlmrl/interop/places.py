"""Places: in which coordinates the model of another trainer writes them, and how large the images of its rows are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from vlmrl import catalog
from vlmrl.data.media import image_size
from vlmrl.errors import UserError, one_line
from vlmrl.rewards.frames import shown_size
from vlmrl.sample import Media


class Writer(NamedTuple):
    """How a model writes places: in these coordinates, of an image that its processor has resized."""

    image_processor: Any
    coords: str

    @classmethod
    def of(cls, processor: Any) -> Writer:
        """The writer of a processor of transformers, whose module is named for its family."""
        if not hasattr(processor, "image_processor"):
            name = type(processor).__name__
            raise UserError(
                f"processor: a {name} has no image processor; pass what AutoProcessor.from_pretrained gives"
            )
        family = type(processor).__module__.split(".")[-2]
        return cls(processor.image_processor, catalog.load("families", family).FAMILY.coords)

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
    if len(images) == 1 and isinstance(images[0], list | tuple):  # a list of lists, as some trainers batch them
        images = images[0]
    try:
        return [_size(image) for image in images if image is not None]
    except ValidationError as error:
        raise UserError(f"images: {one_line(error, Media)}") from None


def _size(image: Any) -> tuple[int, int]:
    if isinstance(getattr(image, "size", None), tuple):
        return image.size
    if len(getattr(image, "shape", ())) in (2, 3):  # an array: height, width, channels
        return int(image.shape[1]), int(image.shape[0])
    fields: Any = image if isinstance(image, Mapping) else {"bytes" if isinstance(image, bytes) else "path": image}
    data, path = fields.get("bytes"), fields.get("path") or fields.get("url")
    if isinstance(path, str) and data is None:
        path = path.removeprefix("file://")
        return image_size(Media.model_validate(path))
    if isinstance(data, bytes):
        return image_size(Media(data=data))
    raise UserError(f"an image of the row is of type {type(image).__name__}; pass PIL images, bytes or paths")
