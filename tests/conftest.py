"""Shared fixtures: miniature models and synthetic samples."""

from __future__ import annotations

import os

# Two test processes on two cores: threads that spin while they wait cost more than they win.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import pytest
from helpers.families import create
from helpers.samples import prompt_sample

from vlmrl import catalog
from vlmrl.sample import Media, Sample


def pytest_configure(config: pytest.Config) -> None:
    """Figures here are those of the CPU: a GPU is seen by the tests marked `gpu` alone, when they are asked for."""
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory):
    """`model_folder(family)`: an untrained miniature of that family, made once."""
    made: dict[str, Path] = {}

    def get(family: str) -> Path:
        if family not in made:
            made[family] = create(family, tmp_path_factory.mktemp(family))
        return made[family]

    return get


@pytest.fixture(scope="session")
def samples() -> list[Sample]:
    """Two of each synthetic source."""
    return list(catalog.load("recipes", "synthetic").build(2))


@pytest.fixture(scope="session")
def mixed_samples(samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """One image, two images, text only, a video, in one list."""
    first, second = (samples[i].media.images[0] for i in (0, 1))
    video = tmp_path_factory.mktemp("video") / "clip.mp4"
    write_video(video)
    return [
        prompt_sample("one", "<image>how many red shapes?", (first,)),
        prompt_sample("two", "is <image> like <image> or not?", (first, second)),
        prompt_sample("text", "how many is it?"),
        prompt_sample("clip", "<video>read the text.", videos=(Media(path=str(video)),)),
    ]


def write_video(path: Path, frames: int = 8, side: int = 84) -> None:
    """A short clip whose brightness rises."""
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            pixels = np.full((side, side, 3), number * 255 // frames, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
