"""Synthetic images: five perception and reasoning tasks drawn with Pillow, small enough for a laptop.

    vlmrl data build synthetic --n 400 --split heldout --out heldout.jsonl

counting   how many shapes of a colour                      -> a number
grounding  where a named shape is                           -> a box in pixels (difficulty 3: all of them)
ocr        a short random string                            -> the string
math       a rendered sum                                   -> its value
caption    a caption with one wrong word (caption critic)   -> the wrong word

The same arguments build the same samples. A hash of its content decides whether a sample belongs to `train` or to
`heldout`, so the two never share a sample, whatever the seeds. `meta.objects` lists the objects in the image as
[class, x1, y1, x2, y2], the labels of the patch-level auxiliary loss.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFont

from vlmrl.data.media import encode_png
from vlmrl.sample import Media, MediaSet, Message, RewardSpec, Sample

SOURCES = ("counting", "grounding", "ocr", "math", "caption")
Split = Literal["train", "heldout"]

SIZE = 84
"""Side of the image in pixels: 6 x 6 patches of 14, 3 x 3 tokens after the 2 x 2 merge."""
HELDOUT_SHARE = 8
"""One of this many samples is held out."""

COLORS = {"red": (214, 48, 49), "green": (0, 150, 70), "blue": (36, 92, 220), "yellow": (240, 190, 20)}
SHAPES = ("circle", "square", "triangle")
GLYPHS = "0123456789ABCDEFGHKLMNPRSTUXYZ+-="
INKS = ((20, 20, 20), (30, 60, 160), (160, 30, 40))

CLASSES = len(COLORS) * len(SHAPES) + len(GLYPHS)
"""Number of classes in `meta.objects`: colour x shape, then glyphs."""


@dataclass
class Scene:
    """An image that is being drawn, and its objects."""

    rng: Generator
    image: Image.Image = field(init=False)
    objects: list[tuple[int, int, int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        red, green, blue = (int(v) for v in self.rng.integers(225, 256, size=3))
        self.image = Image.new("RGB", (SIZE, SIZE), (red, green, blue))

    def place(self, color: str, shape: str, low: int, high: int) -> tuple[int, int, int, int] | None:
        """Draws a shape of `low` to `high` pixels that touches no other; returns its box, or None without space."""
        for _ in range(60):
            side = int(self.rng.integers(low, high + 1))
            x, y = (int(v) for v in self.rng.integers(1, SIZE - side - 1, size=2))
            box = (x, y, x + side, y + side)
            if all(not _touch(box, other[1:]) for other in self.objects):
                self._draw(color, shape, box)
                return box
        return None

    def _draw(self, color: str, shape: str, box: tuple[int, int, int, int]) -> None:
        draw = ImageDraw.Draw(self.image)
        x1, y1, x2, y2 = box
        inside = (x1, y1, x2 - 1, y2 - 1)
        if shape == "circle":
            draw.ellipse(inside, fill=COLORS[color])
        elif shape == "square":
            draw.rectangle(inside, fill=COLORS[color])
        else:
            draw.polygon([((x1 + x2 - 1) // 2, y1), (x1, y2 - 1), (x2 - 1, y2 - 1)], fill=COLORS[color])
        self.objects.append((list(COLORS).index(color) * len(SHAPES) + SHAPES.index(shape), *box))

    def write(self, text: str, size: int) -> None:
        """Writes `text` on one line at a random place, glyph by glyph."""
        draw, font = ImageDraw.Draw(self.image), _font(size)
        widths = [int(draw.textlength(glyph, font=font)) + 2 for glyph in text]
        x = int(self.rng.integers(2, max(3, SIZE - sum(widths) - 1)))
        y = int(self.rng.integers(2, SIZE - size - 8))
        ink = INKS[int(self.rng.integers(len(INKS)))]
        for glyph, width in zip(text, widths, strict=True):
            draw.text((x, y), glyph, fill=ink, font=font, stroke_width=1)
            x1, y1, x2, y2 = (int(v) for v in draw.textbbox((x, y), glyph, font=font, stroke_width=1))
            self.objects.append((len(COLORS) * len(SHAPES) + GLYPHS.index(glyph), x1, y1, x2, y2))
            x += width


def _touch(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def _font(size: int) -> Any:
    if size not in _FONTS:
        _FONTS[size] = ImageFont.load_default(size)
    return _FONTS[size]


_FONTS: dict[int, Any] = {}


# --- tasks: each draws on the scene and returns (question, answer, reward), or None without enough space ------


def _shuffled(rng: Generator, options: Sequence[str]) -> list[str]:
    return [options[int(i)] for i in rng.permutation(len(options))]


def _counting(scene: Scene, difficulty: int) -> tuple[str, str, RewardSpec]:
    """Difficulty d: up to 3 + 2d shapes of the colour and up to 2 + d others."""
    rng = scene.rng
    color, *others = _shuffled(rng, list(COLORS))
    wanted = int(rng.integers(0, 4 + 2 * difficulty))
    small, large = max(7, 12 - 2 * difficulty), max(10, 19 - 3 * difficulty)
    drawn = sum(scene.place(color, SHAPES[int(rng.integers(3))], small, large) is not None for _ in range(wanted))
    for _ in range(int(rng.integers(0, 3 + difficulty))):
        scene.place(others[int(rng.integers(3))], SHAPES[int(rng.integers(3))], small, large)
    return f"how many {color} shapes?", str(drawn), RewardSpec(verifier="counting", target=drawn)


def _grounding(scene: Scene, difficulty: int) -> tuple[str, str, RewardSpec]:
    """Difficulty 1: one of 1-3 large shapes; 2: smaller, up to 5; 3: every shape of that colour, with labels."""
    rng = scene.rng
    low, high = (18, 38) if difficulty == 1 else (10, 26)
    pairs = [(c, s) for c in COLORS for s in SHAPES]
    chosen = [pairs[i] for i in rng.permutation(len(pairs))[: int(rng.integers(1, 2 + 2 * min(difficulty, 2)))]]
    boxes = {pair: box for pair in chosen if (box := scene.place(pair[0], pair[1], low, high)) is not None}
    color, shape = chosen[0]
    if difficulty < 3:
        targets: list[dict[str, Any]] = [{"bbox_2d": list(boxes[chosen[0]]), "label": f"{color} {shape}"}]
        question, answer = f"locate the {color} {shape}.", json.dumps({"bbox_2d": targets[0]["bbox_2d"]})
    else:
        targets = [{"bbox_2d": list(box), "label": f"{c} {s}"} for (c, s), box in boxes.items() if c == color]
        question, answer = f"locate all {color} shapes.", json.dumps(targets)
    spec = RewardSpec(
        verifier="dynamic_iou",
        target=targets,  # pyright: ignore[reportArgumentType] - a JSON value by construction
        # One box: the reward is its IoU. Several: the published mixture with completeness.
        params={
            "coords": "pixels",
            "image_size": [SIZE, SIZE],
            "threshold": 0.0,
            "completeness": 0.0 if difficulty < 3 else 0.3,
        },
    )
    return question, answer.replace(" ", "") if difficulty < 3 else answer, spec


def _ocr(scene: Scene, difficulty: int) -> tuple[str, str, RewardSpec]:
    """Difficulty 1: 2-4 characters of 20; 2 and above: of 30, smaller and up to 5 or 6."""
    rng = scene.rng
    alphabet = "ABCDEFHKLMNPRTUXYZ47" if difficulty == 1 else GLYPHS[:30]
    length = int(rng.integers(2, 4 + min(difficulty, 3)))
    text = "".join(alphabet[int(i)] for i in rng.integers(len(alphabet), size=length))
    scene.write(text, int(rng.integers(20, 25)) if difficulty == 1 else int(rng.integers(12, 16)))
    return "read the text.", text, RewardSpec(verifier="ocr", target=text, params={"case": "keep"})


def _math(scene: Scene, difficulty: int) -> tuple[str, str, RewardSpec]:
    """Difficulty 1: sums of two digits 1-9; above: numbers up to 10 * difficulty, also differences."""
    rng = scene.rng
    limit = 10 if difficulty == 1 else 10 * difficulty
    a, b = (int(v) for v in rng.integers(1, limit, size=2))
    minus = difficulty > 1 and bool(rng.integers(2))
    scene.write(f"{a}{'-' if minus else '+'}{b}", int(rng.integers(20, 25)) if difficulty == 1 else 15)
    value = a - b if minus else a + b
    return "solve.", str(value), RewardSpec(verifier="math", target=value)


def _caption(scene: Scene, difficulty: int) -> tuple[str, str, RewardSpec] | None:
    """Two shapes and a caption with one wrong word.

    Difficulty 1: the wrong word names a colour or shape that is not in the image. Above: it is the colour or shape of a
    third object, so that colour and shape must be bound.
    """
    rng = scene.rng
    colors, shapes = _shuffled(rng, list(COLORS)), _shuffled(rng, SHAPES)
    pairs = [(colors[0], shapes[0]), (colors[1], shapes[1])]
    low, high = (20, 34) if difficulty == 1 else (14, 24)
    if difficulty > 1:
        pairs.append((colors[2], shapes[2]))
    if not all(scene.place(color, shape, low, high) for color, shape in pairs):
        return None
    words = f"a {colors[0]} {shapes[0]} and a {colors[1]} {shapes[1]}".split()
    position = (1, 2, 5, 6)[int(rng.integers(4))]
    right, wrong = words[position], colors[2] if position in (1, 5) else shapes[2]
    words[position] = wrong
    caption = " ".join(words)
    target = {"wrong": wrong, "right": right}
    spec = RewardSpec(verifier="caption_spans", target=target, params={"caption": caption, "slack": 0})  # pyright: ignore[reportArgumentType]
    return f"{caption}. which word is wrong?", wrong, spec


_TASKS = {"counting": _counting, "grounding": _grounding, "ocr": _ocr, "math": _math, "caption": _caption}


# --- samples ----------------------------------------------------------------------------------------------


def build(
    n: int,
    *,
    split: Split = "train",
    seed: int = 0,
    sources: Sequence[str] = SOURCES,
    difficulty: int = 1,
) -> Iterator[Sample]:
    """`n` different samples of each source, alternating between sources. `difficulty` is 1 (easiest) to 3."""
    seen: set[str] = set()
    for index in range(n):
        for source in sources:
            name = f"{source}-{split}-{seed}-{difficulty}-{index}"
            for attempt in count():
                rng = np.random.default_rng([seed, SOURCES.index(source), index, difficulty, attempt])
                sample = _draw_sample(source, rng, difficulty, name)
                if sample and _split_of(sample) == split and sample.key not in seen:
                    seen.add(sample.key)
                    yield sample
                    break


def _split_of(sample: Sample) -> Split:
    return "heldout" if int(sample.key[:8], 16) % HELDOUT_SHARE == 0 else "train"


def _draw_sample(source: str, rng: Generator, difficulty: int, name: str) -> Sample | None:
    scene = Scene(rng)
    task = _TASKS[source](scene, difficulty)
    if task is None:
        return None
    question, answer, spec = task
    return Sample(
        id=name,
        source=source,
        task=source,
        messages=(
            Message(role="user", content=f"<image>{question}"),
            Message(role="assistant", content=answer),
        ),
        media=MediaSet(images=(Media(data=encode_png(scene.image)),)),
        reward=(spec,),
        meta={"difficulty": difficulty, "objects": [list(o) for o in scene.objects]},
    )
