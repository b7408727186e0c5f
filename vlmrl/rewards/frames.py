"""Frames of a sample's reward: in which coordinates its targets are, and in which a model answers.

    frames = decided(sample.reward, sizes)                       what the rows state, with sizes read from the images
    frames = decided(sample.reward, sizes, "pixels", shown)      and how a model writes: pixels of what it is shown
    Answered(sample, members, frames)                            verifiers get them as parameters

One place decides this for training, evaluation, checks, stored rollouts and other trainers. `vlmrl.reading.frames`
holds what is computed from a frame.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vlmrl import catalog
from vlmrl.errors import UserError
from vlmrl.reading.frames import Corner, Frame, declared
from vlmrl.sample import RewardSpec
from vlmrl.verdict import Shape


def has_frame(spec: RewardSpec) -> bool:
    """Whether the spec's verifier judges places in an image."""
    return set(Frame._fields) <= set(catalog.parameters(spec.verifier))


def decided(
    reward: Sequence[RewardSpec], sizes: Sequence[Corner], coords: str | None = None, shown: Sequence[Corner] = ()
) -> list[dict[str, Any]]:
    """For each spec the parameters of its frame; empty where its verifier has none.

    `sizes` are the (width, height) of the prompt's images, or of its videos if it has no image, and `shown` the sizes
    in which a model gets them. `coords` are those that it writes, unless the spec states `answer_coords`. `UserError`
    for what a row states wrongly, or leaves out.
    """
    frames = []
    for spec in reward:
        if not has_frame(spec):
            frames.append({})
            continue
        try:
            frame = declared(spec.params, spec.target, sizes)
        except ValueError as error:
            raise UserError(f"{spec.verifier}: {error}") from None
        if coords and frame.answer_coords is None and (sizes or shown):
            frame = frame._replace(answer_coords=coords, answer_size=list(shown[frame.image]))
        frames.append({name: value for name, value in frame._asdict().items() if value is not None})
    return frames


def shown_size(image_processor: Any, size: Corner) -> tuple[int, int]:
    """The size (width, height) in which an image of this size reaches the model; nothing is decoded.

    It is computed as the processor of the family computes it. `ValueError` for an image that it refuses.
    """
    own = type(image_processor)
    resize: Any = inspect.getmodule(own.get_number_of_image_patches).smart_resize  # pyright: ignore[reportOptionalMemberAccess]
    limits = {"min_pixels": image_processor.size["shortest_edge"], "max_pixels": image_processor.size["longest_edge"]}
    if "num_frames" in inspect.signature(resize).parameters:  # GLM limits the pixels of all frames of a patch
        frames = image_processor.temporal_patch_size
        limits |= {"num_frames": frames, "temporal_factor": frames}
    factor = image_processor.patch_size * image_processor.merge_size
    height, width = resize(height=int(size[1]), width=int(size[0]), factor=factor, **limits)
    return width, height


def shapes(spec: RewardSpec, response: str, frame: Mapping[str, Any]) -> list[Shape]:
    """Where target and answer lie in the image or in time; empty where the verifier cannot say."""
    draw = getattr(catalog.load("verifiers", spec.verifier), "shapes", None)
    try:
        return draw(response, spec.target, **(spec.params | dict(frame))) if draw else []
    except ValueError:
        return []


def drawn_image(reward: Sequence[RewardSpec]) -> int:
    """The index of the image in which the first targets with a frame lie; 0 if there are none."""
    return next((Frame.of(spec.params).image for spec in reward if has_frame(spec)), 0)


def check_gold(spec: RewardSpec, frame: Mapping[str, Any]) -> None:
    """`UserError` unless the true answer, written in this frame, earns 1 and lies where the target does."""
    module = catalog.load("verifiers", spec.verifier)
    params = spec.params | dict(frame)
    gold = module.gold(spec.target, **params)
    verdict = module.verify(gold, spec.target, **params)
    written = f"the true answer, written in {params.get('answer_coords') or params.get('coords')}"
    if verdict.score != 1.0:
        raise UserError(f"{spec.verifier}: {written} as {gold[:80]!r}, scores {verdict.score}, not 1 ({verdict.why})")
    drawn = shapes(spec, gold, frame)
    true, said = ([shape for shape in drawn if shape.true is side] for side in (True, False))
    if bool(true) != bool(said) or not all(any(_meets(a, b) for a in true) for b in said):
        raise UserError(f"{spec.verifier}: {written} as {gold[:80]!r}, lies elsewhere in the image than the target")


def _meets(true: Shape, said: Shape) -> bool:
    """Whether an answered shape is the true one, or a point within its bounds."""
    if true.kind == said.kind:
        same_length = len(true.coords) == len(said.coords)
        return same_length and np.allclose(true.coords, said.coords, rtol=0, atol=1e-6)
    x, y = said.coords[:2]
    xs, ys = true.coords[::2], true.coords[1::2]
    return min(xs) - 1e-6 <= x <= max(xs) + 1e-6 and min(ys) - 1e-6 <= y <= max(ys) + 1e-6
