"""The frames that a model sees are those that the rules of qwen-vl-utils pick, at the size that they give."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from helpers import clips
from PIL import Image

from vlmrl.config.model import ModelSettings
from vlmrl.errors import UnreadableError
from vlmrl.models.video import read_video, video_grid
from vlmrl.sample import Media

CLIPS = (
    {"frames": 40},
    {"frames": 41, "rate": 25},
    {"frames": 7, "rate": 2},
    {"frames": 3, "rate": 1},
    {"frames": 2, "rate": 30},
    {"frames": 300, "rate": 30, "size": (160, 90)},
    {"frames": 120, "rate": Fraction(30000, 1001), "size": (200, 56)},
    {"frames": 90, "rate": 12, "size": (640, 360), "keys": 250},
    {"frames": 30, "rate": 10, "size": (96, 300)},
)
SETTINGS = (
    ModelSettings(),
    ModelSettings(video_fps=4, video_max_frames=9, video_max_pixels=128 * 28 * 28),
    ModelSettings(video_fps=0.5, video_max_pixels=90 * 90),
    ModelSettings(video_fps=60, video_max_frames=768),
)


@pytest.fixture(scope="module")
def theirs():
    """`fetch_video` with decord as its reader."""
    pytest.importorskip("decord")
    from qwen_vl_utils import vision_process

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vision_process, "get_video_reader_backend", lambda: "decord")
        yield vision_process.fetch_video


@pytest.mark.parametrize("patch", [14, 16])
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("clip", CLIPS)
def test_frames_and_sizes_are_those_of_qwen_vl_utils(tmp_path: Path, theirs, clip, settings, patch: int) -> None:
    path = clips.write(tmp_path / "clip.mp4", **clip)
    frames, metadata = read_video(Media(path=str(path)), settings, 128 * 28 * 28, patch)
    most = {"max_pixels": settings.video_max_pixels} if settings.video_max_pixels else {}
    least = min(128 * 28 * 28, settings.video_max_pixels or 128 * 28 * 28)
    request = {"video": str(path), "fps": settings.video_fps, "max_frames": settings.video_max_frames, **most}
    expected, described = theirs(request | {"min_pixels": least}, image_patch_size=patch, return_video_metadata=True)
    assert torch.equal(frames, expected)
    assert metadata == {key: described[key] for key in metadata}
    (count, rows, columns), same = video_grid(Media(path=str(path)), settings, 128 * 28 * 28, patch)
    assert (count, 3, rows * patch, columns * patch) == tuple(frames.shape)
    assert same == metadata


@pytest.mark.parametrize(("start", "end"), [(0.5, 2.5), (1, None), (None, 3)])
def test_the_frames_of_a_part_too(tmp_path: Path, theirs, start: float | None, end: float | None) -> None:
    path = str(clips.write(tmp_path / "clip.mp4"))
    frames, metadata = read_video(Media(path=path, start=start, end=end), ModelSettings(), 28 * 28, 14)
    part = {key: value for key, value in (("video_start", start), ("video_end", end)) if value is not None}
    request = {"video": path, "fps": 2.0, "max_frames": 64, "min_pixels": 28 * 28, **part}
    expected, described = theirs(request, return_video_metadata=True)
    assert torch.equal(frames, expected)
    assert metadata["total_num_frames"] == described["total_num_frames"]
    first = int(described["frames_indices"][0])
    assert metadata["frames_indices"] == [number - first for number in described["frames_indices"]]


def test_all_images_of_a_list_are_seen_up_to_the_budget(tmp_path: Path) -> None:
    names = [tmp_path / f"{number}.png" for number in range(9)]
    for number, name in enumerate(names):
        Image.fromarray(clips.picture(number, 56, 56)).save(name)
    every = tuple(Media(path=str(name)) for name in names)

    def seen(media: Media, **own) -> list[int]:
        return read_video(media, ModelSettings(**own), 28 * 28, 14)[1]["frames_indices"]

    assert seen(Media(frames=every)) == [*range(9), 8]
    assert seen(Media(frames=every), video_max_frames=4) == [0, 3, 5, 8]
    assert seen(Media(frames=every, fps=4)) == [0, 3, 5, 8]
    assert seen(Media(frames=every[:1])) == [0, 0]


def test_a_single_frame_is_seen_twice(tmp_path: Path) -> None:
    media = Media(path=str(clips.write(tmp_path / "clip.mp4", frames=1)))
    frames, metadata = read_video(media, ModelSettings(), 28 * 28, 14)
    assert metadata["frames_indices"] == [0, 0]
    assert torch.equal(frames[0], frames[1])


def test_a_strip_is_refused(tmp_path: Path) -> None:
    media = Media(path=str(clips.write(tmp_path / "clip.mp4", size=(2200, 10), codec="mpeg4", frames=4)))
    for read in (read_video, video_grid):
        with pytest.raises(UnreadableError, match=r"2200 x 10 pixels .*crop the video or drop the row"):
            read(media, ModelSettings(), 28 * 28, 14)
