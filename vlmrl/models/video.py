"""Videos as models take them: frames sampled in time and resized, by the rules of qwen-vl-utils.

frames, metadata = read_video(media, settings, least_pixels, patch)
grid, metadata = video_grid(media, settings, least_pixels, patch)       the same sizes, without decoding
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

from vlmrl.config.model import ModelSettings
from vlmrl.data.videos import VideoHeader, read_frames, video_header
from vlmrl.errors import UnreadableError
from vlmrl.sample import Media

Metadata = dict[str, Any]
"""`fps` and `total_num_frames` of the video, and `frames_indices`, the numbers of its frames that the model sees."""


def read_video(media: Media, settings: ModelSettings, least: int, patch: int) -> tuple[torch.Tensor, Metadata]:
    """Frames [frames, 3, height, width], sampled at `video_fps` and resized, and metadata with their times.

    `least`: pixels of a frame, at least. `patch`: side of a patch of the model. `UnreadableError` for a clip that is
    missing, cut off or damaged, or not a video.
    """
    frames, header = read_frames(media, lambda header: _sampled(header, settings))
    height, width = _resized(media, header, len(frames), settings, least, patch)
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2)
    resized = transforms.resize(pixels, [height, width], InterpolationMode.BICUBIC, antialias=True)
    return resized.float(), _metadata(header, settings)


def video_grid(media: Media, settings: ModelSettings, least: int, patch: int) -> tuple[tuple[int, int, int], Metadata]:
    """(frames, rows of patches, columns of patches) that `read_video` will give, and its metadata.

    Only the header is read, so that a clip that is damaged further on is not noticed. `UnreadableError` if the header
    is not that of a video.
    """
    header = video_header(media)
    metadata = _metadata(header, settings)
    frames = len(metadata["frames_indices"])
    height, width = _resized(media, header, frames, settings, least, patch)
    return (frames, height // patch, width // patch), metadata


def _metadata(header: VideoHeader, settings: ModelSettings) -> Metadata:
    numbers = _sampled(header, settings)
    return {"fps": _rate(header, settings), "frames_indices": numbers, "total_num_frames": header.frames}


def _rate(header: VideoHeader, settings: ModelSettings) -> float:
    """Frames a second; images without a rate are those that the model is to see."""
    return header.fps or settings.video_fps


def _sampled(header: VideoHeader, settings: ModelSettings) -> list[int]:
    """Numbers of the frames that the model sees: an even number, which it merges in pairs."""
    rules, total = _rules(), header.frames
    if total < rules.FRAME_FACTOR or (header.fps is None and total <= settings.video_max_frames):
        numbers = list(range(total))
        return numbers + numbers[-1:] * (-total % rules.FRAME_FACTOR)
    budget = {"fps": settings.video_fps, "max_frames": settings.video_max_frames}
    frames = rules.smart_nframes(budget, total_frames=total, video_fps=_rate(header, settings))
    return torch.linspace(0, total - 1, frames).round().long().tolist()


def _resized(
    media: Media, header: VideoHeader, frames: int, settings: ModelSettings, least: int, patch: int
) -> tuple[int, int]:
    """Height and width of the frames, as `qwen_vl_utils.fetch_video` computes them."""
    rules = _rules()
    factor = patch * rules.SPATIAL_MERGE_SIZE
    least = min(least, settings.video_max_pixels or least)
    budget = rules.MODEL_SEQ_LEN * factor**2 * 0.9 / frames * rules.FRAME_FACTOR
    most = max(min(rules.VIDEO_MAX_TOKEN_NUM * factor**2, budget), int(least * 1.05))
    most = min(settings.video_max_pixels or most, most)
    try:
        return rules.smart_resize(header.height, header.width, factor, least, most)
    except ValueError as error:  # raised for a frame more than 200 times as long as wide
        why = f"{header.width} x {header.height} pixels ({error})"
        raise UnreadableError(media.name, why, "crop the video or drop the row") from None


@cache
def _rules() -> Any:
    """The module of qwen-vl-utils, whose reader of videos is not used."""
    from qwen_vl_utils import vision_process

    # It would warn of each clip with fewer frames a second than the model may see.
    logging.getLogger(vision_process.__name__).setLevel(logging.ERROR)
    return vision_process
