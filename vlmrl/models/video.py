"""Videos as models take them: frames sampled in time and resized."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from vlmrl.config.model import ModelSettings
from vlmrl.data.clips import as_file, check_head, check_video, decoder, decoder_reason
from vlmrl.errors import UnreadableError
from vlmrl.sample import Media


def read_video(
    media: Media, settings: ModelSettings, min_pixels: int, patch_size: int
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Frames [frames, 3, height, width], sampled at `video_fps` and resized, and metadata with their times.

    `min_pixels` is the least size of a frame, `patch_size` the side of a patch of the model. `UnreadableError` for a
    clip that is missing, cut off or damaged, or not a video.
    """
    fetch_video = _reader()
    request: dict[str, Any] = {"fps": settings.video_fps, "max_frames": settings.video_max_frames}
    if settings.video_max_pixels:
        request["max_pixels"] = settings.video_max_pixels
    request["min_pixels"] = min(min_pixels, request.get("max_pixels", min_pixels))
    check_head(media, "video")  # decord reads some clips up to where they are cut off, and reports nothing
    with as_file(media) as path:
        try:
            fetched: Any = fetch_video(
                {"video": path, **request}, image_patch_size=patch_size, return_video_metadata=True
            )
            return fetched
        except Exception as error:  # decord raises bare exceptions of its C++ library
            check_video(media)
            # fetch_video then tries a reader that torchvision has dropped; the context is the error of decord.
            reason = decoder_reason(error.__context__ or error)
            raise UnreadableError(media.name, f"not a readable video ({reason})") from None


@cache
def _reader() -> Callable[..., Any]:
    """`fetch_video` with decord, the only reader of qwen-vl-utils that this project depends on."""
    os.environ.setdefault("FORCE_QWENVL_VIDEO_READER", "decord")
    decoder()  # makes it quiet
    from qwen_vl_utils import fetch_video

    # It would print the stack of each failure, which becomes one line here.
    fallback = "use torchvision as default"
    logging.getLogger("qwen_vl_utils.vision_process").addFilter(lambda record: fallback not in record.getMessage())
    return fetch_video
