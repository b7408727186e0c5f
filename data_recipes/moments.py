"""Moments: synthetic clips in which shapes come and go, and the question when one of them is there.

    vlmrl data build moments --n 400 --split heldout --out heldout.jsonl

when       the span of a named shape                        -> start and end in seconds
first      which of two shapes comes first                  -> its colour

A clip is an animated GIF of eight seconds. Each shape has a quarter of the picture to itself, and comes and goes at
full seconds. The same arguments build the same samples. A hash of its content decides whether a sample belongs to
`train` or to `heldout`, so the two never share a sample, whatever the seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Literal, NamedTuple

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from vlmrl.data.media import encode_gif
from vlmrl.sample import Media, MediaSet, Message, RewardSpec, Sample

SOURCES = ("when", "first")
Split = Literal["train", "heldout"]

SIZE = 28
"""Side of a frame in pixels: 2 x 2 patches of 14, one token after the 2 x 2 merge."""
SECONDS = 8
FRAMES_A_SECOND = 2
HELDOUT_SHARE = 8
"""One of this many samples is held out."""

COLORS = {"red": (214, 48, 49), "green": (0, 150, 70), "blue": (36, 92, 220), "yellow": (240, 190, 20)}
SHAPES = ("circle", "square", "triangle")


class Event(NamedTuple):
    """A shape that is there from the second `start` to the second `end`, at the place `box`."""

    color: str
    shape: str
    start: int
    end: int
    box: tuple[int, int, int, int]


def build(
    n: int,
    *,
    split: Split = "train",
    seed: int = 0,
    sources: Sequence[str] = SOURCES,
    difficulty: int = 1,
) -> Iterator[Sample]:
    """`n` different samples of each source, alternating between sources.

    `difficulty`: number of shapes besides the one or two that are asked for, at most, 1 to 3.
    """
    seen: set[str] = set()
    for index in range(n):
        for source in sources:
            for attempt in count():
                rng = np.random.default_rng([seed, SOURCES.index(source), index, difficulty, attempt])
                sample = _draw_sample(source, rng, difficulty, f"{source}-{split}-{seed}-{difficulty}-{index}")
                if _split_of(sample) == split and sample.key not in seen:
                    seen.add(sample.key)
                    yield sample
                    break


def _split_of(sample: Sample) -> Split:
    return "heldout" if int(sample.key[:8], 16) % HELDOUT_SHARE == 0 else "train"


def _draw_sample(source: str, rng: Generator, difficulty: int, name: str) -> Sample:
    events = _events(rng, difficulty, source)
    if source == "when":
        event, *_ = events
        question, answer = f"when is the {event.color} {event.shape} there?", f"{event.start} - {event.end}"
        spec = RewardSpec(verifier="temporal_iou", target=[event.start, event.end], params={"duration": SECONDS})
    else:
        two = events[:2]
        asked = sorted(event.color for event in two)
        question, answer = f"which comes first, {asked[0]} or {asked[1]}?", min(two, key=lambda e: e.start).color
        spec = RewardSpec(verifier="exact", target=answer)
    return Sample(
        id=name,
        source=source,
        task="temporal_grounding",
        messages=(
            Message(role="user", content=f"<video>{question}"),
            Message(role="assistant", content=answer),
        ),
        media=MediaSet(videos=(Media(data=_clip(rng, events)),)),
        reward=(spec,),
        meta={"difficulty": difficulty},
    )


def _events(rng: Generator, difficulty: int, source: str) -> list[Event]:
    """Events of different colours, each in its own quarter; the first two start at different times."""
    asked = 1 if source == "when" else 2
    number = min(4, asked + int(rng.integers(1 if source == "when" else 0, difficulty + 1)))
    starts = rng.permutation(SECONDS - 1)[:number]
    events = []
    for color, quarter, start in zip(rng.permutation(list(COLORS)), rng.permutation(4), starts, strict=False):
        side = int(rng.integers(8, 13))
        x, y = (
            int(v) + SIZE // 2 * int(corner)
            for v, corner in zip(rng.integers(0, SIZE // 2 - side + 1, size=2), divmod(int(quarter), 2), strict=True)
        )
        end = int(rng.integers(start + 1, min(start + 5, SECONDS) + 1))
        shape = SHAPES[int(rng.integers(3))]
        events.append(Event(str(color), shape, int(start), end, (x, y, x + side, y + side)))
    return events


def _clip(rng: Generator, events: Sequence[Event]) -> bytes:
    """The events on a background that flickers a little: equal neighbours would become one long picture."""
    background = rng.integers(225, 256, size=3)
    palette = [*background, *(background - 1), *(level for color in COLORS.values() for level in color)]
    frames = []
    for number in range(SECONDS * FRAMES_A_SECOND):
        image = Image.new("P", (SIZE, SIZE), number % 2)
        image.putpalette([int(level) for level in palette])
        for event in events:
            if event.start <= number / FRAMES_A_SECOND < event.end:
                _draw(ImageDraw.Draw(image), event, 2 + list(COLORS).index(event.color))
        frames.append(image)
    return encode_gif(frames, 1000 // FRAMES_A_SECOND)


def _draw(draw: ImageDraw.ImageDraw, event: Event, ink: int) -> None:
    x1, y1, x2, y2 = event.box
    if event.shape == "circle":
        draw.ellipse((x1, y1, x2 - 1, y2 - 1), fill=ink)
    elif event.shape == "square":
        draw.rectangle((x1, y1, x2 - 1, y2 - 1), fill=ink)
    else:
        draw.polygon([((x1 + x2 - 1) // 2, y1), (x1, y2 - 1), (x2 - 1, y2 - 1)], fill=ink)
