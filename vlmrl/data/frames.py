"""Places in the coordinates of one model: those of its answers, of boxes in a text, and of demonstrations.

    frames = Frames("pixels", shown)      `shown(sample)` gives the sizes in which its images reach the model
    frames.decided(sample)                for each spec, the parameters of the frame that the model answers in
    frames.filled(sample)                 the sample with its `<bbox>` marks written out
    frames.demonstration(sample)          the demonstration, as the model is to write it

A model that writes pixels means those of the image that it is shown, which its processor has resized.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vlmrl.data.media import image_size
from vlmrl.data.videos import video_size
from vlmrl.errors import UserError
from vlmrl.reading.frames import Frame, declared
from vlmrl.reading.structures import NUMBER
from vlmrl.rewards.frames import check_gold, decided, has_frame, shapes
from vlmrl.sample import BOX_MARK, MediaSet, Message, RewardSpec, Sample

Size = tuple[int, int]
"""Width and height in pixels."""


class Frames:
    """`coords` are those in which the model writes places, rounded unless `exact`.

    `shown` gives the sizes in which the images of a sample, or its videos if it has no image, reach the model.
    """

    def __init__(self, coords: str, shown: Callable[[Sample], Sequence[Size]], exact: bool = False) -> None:
        self.coords, self.shown, self.exact = coords, shown, exact

    def decided(self, sample: Sample, shown: Sequence[Size] | None = None) -> list[dict[str, Any]]:
        """For each spec of the reward the parameters of its frame; empty where it judges no places.

        `shown`: the sizes, where they are already known. `UserError` says what its row states wrongly or
        leaves out.
        """
        if not any(map(has_frame, sample.reward)):
            return [{} for _ in sample.reward]
        return decided(sample.reward, _sizes_for(sample), self.coords, shown or self.shown(sample))

    def filled(self, sample: Sample, shown: Sequence[Size] | None = None) -> Sample:
        """The sample with each `<bbox>` written as the model writes boxes."""
        if not sample.boxes:
            return sample
        sizes, shown = media_sizes(sample), shown or self.shown(sample)
        written = iter([self._box(sample, number, sizes, shown) for number in range(len(sample.boxes))])
        turns = []
        for turn in sample.messages:
            first, *rest = turn.content.split(BOX_MARK)
            turns.append(Message(role=turn.role, content=first + "".join(next(written) + text for text in rest)))
        return sample.model_copy(update={"messages": tuple(turns), "boxes": ()})

    def demonstration(self, sample: Sample, shown: Sequence[Size] | None = None) -> str:
        """The sample's demonstration, its places in the coordinates of the model.

        Places that stand in it as numbers are in the coordinates of the target. `UserError` where they cannot be
        rewritten.
        """
        return self.spelled_out(sample, shown).demonstration or ""

    def spelled_out(self, sample: Sample, shown: Sequence[Size] | None = None) -> Sample:
        """As `filled`, the numbers in the demonstration in the coordinates of the model too."""
        if sample.demonstration is None:
            return self.filled(sample, shown)
        turn = Message(role="assistant", content=self._rewritten(sample, shown))
        return self.filled(sample.model_copy(update={"messages": (*sample.prompt, turn)}), shown)

    def _rewritten(self, sample: Sample, shown: Sequence[Size] | None) -> str:
        """The demonstration with the places that stand in it as numbers in the coordinates of the model."""
        text = sample.demonstration or ""
        if sample.boxes and not any(map(has_frame, sample.reward)) and (box := plain_box(text)):
            raise UserError(
                f"the demonstration holds {box} as numbers, and no target says in which coordinates; put {BOX_MARK} in "
                "its place, and the box in the field boxes"
            )
        for spec, params in zip(sample.reward, self.decided(sample, shown), strict=True):
            frame = Frame.of(params)
            if not params or "answer_coords" in spec.params or frame.scale == (1.0, 1.0):
                continue
            own = {name: value for name, value in params.items() if not name.startswith("answer_")}
            before = [shape for shape in shapes(spec, text, own) if not shape.true]
            text = frame.rewritten(text)
            after = [shape for shape in shapes(spec, text, params) if not shape.true]
            slack = frame.rounding + 1e-6
            if len(before) != len(after) or not all(
                np.allclose(a.coords, b.coords, rtol=0, atol=slack) for a, b in zip(before, after, strict=True)
            ):
                raise UserError(
                    f"the places in the demonstration {text[:60]!r} cannot be rewritten as the "
                    f"model writes them; put {BOX_MARK} in their place, and the boxes in the field boxes"
                )
            break
        return text

    def _box(self, sample: Sample, number: int, sizes: Sequence[Size], shown: Sequence[Size]) -> str:
        box = sample.boxes[number]
        stated = box.model_dump(include={"coords", "image"}, exclude_none=True)
        try:
            if not sizes:
                raise ValueError("the sample has no image or video that it could be in; add it to media")
            _check_named(sample, stated)
            frame = declared(stated, list(box.bbox_2d), sizes)
            frame.check_inside(f"{list(box.bbox_2d)} reaches", *zip(box.bbox_2d[::2], box.bbox_2d[1::2], strict=True))
        except ValueError as error:
            reason = str(error).replace("params.", "")
            raise UserError(f"boxes.{number}: {reason}") from None
        frame = frame._replace(answer_coords=self.coords, answer_size=list(shown[frame.image]))
        return f"[{frame.written(box.bbox_2d, self.exact)}]"


def stated(sample: Sample, reward: Sequence[RewardSpec] = ()) -> list[dict[str, Any]]:
    """For each spec (default: all of the sample's) the parameters of the frame that its row states, without a model.

    `UserError` as in `Frames.decided`.
    """
    reward = reward or sample.reward
    return decided(reward, _sizes_for(sample, reward) if any(map(has_frame, reward)) else [])


def answered(sample: Sample) -> list[dict[str, Any]]:
    """As `stated`, for an answer that exists; `UserError` where nothing says in which coordinates it is.

    The media are not looked at where the row states all, as stored rollouts do.
    """
    framed = [spec.params.keys() for spec in sample.reward if has_frame(spec)]
    if sample.media != MediaSet() and not all("answer_coords" in params for params in framed):
        raise UserError(
            "nothing says in which coordinates the answer is; name the model that wrote it (--model), or state "
            "answer_coords (and answer_size, for pixels of a resized image) in params"
        )
    if all({"coords", "image_size", "answer_coords"} <= params for params in framed):
        return decided(sample.reward, [])
    return stated(sample)


def check_frames(sample: Sample, frames: Frames) -> None:
    """`UserError` unless true answers, and places in the demonstration, survive the way into a model's coordinates."""
    for spec, frame in zip(sample.reward, frames.decided(sample), strict=True):
        if frame:
            check_gold(spec, frame)
    if sample.demonstration is not None:
        frames.demonstration(sample)


def media_sizes(sample: Sample) -> list[Size]:
    """The sizes of the sample's images, or of its videos if it has no image."""
    return [*map(image_size, sample.media.images)] or [*map(video_size, sample.media.videos)]


def _sizes_for(sample: Sample, reward: Sequence[RewardSpec] = ()) -> list[Size]:
    """As `media_sizes`; `UserError` unless it is plain which medium the targets (default: all) are of."""
    for spec in filter(has_frame, reward or sample.reward):
        try:
            _check_named(sample, spec.params)
        except ValueError as error:
            raise UserError(f"{spec.verifier}: {error}") from None
    return media_sizes(sample)


def _check_named(sample: Sample, params: Mapping[str, Any]) -> None:
    """`ValueError` for a place that may be of an image or of a video."""
    if sample.media.images and sample.media.videos and "image" not in params:
        raise ValueError(
            "params.image: missing; the prompt has images and videos, say which image it is of (from 0); for places in "
            "a video, take the images out of the prompt"
        )


# --- boxes as numbers -------------------------------------------------------------------------------------

_PAIR = rf"\s*({NUMBER})\s*[,，]\s*({NUMBER})\s*"
_BOX = re.compile(rf"[\[(（]{_PAIR}[,，]{_PAIR}[\])）]|\({_PAIR}\)\s*,?\s*\({_PAIR}\)")


def plain_box(text: str) -> str | None:
    """The first box in a text that stands there as numbers, `[x1, y1, x2, y2]` or `(x1, y1), (x2, y2)`."""
    for match in _BOX.finditer(text):
        x1, y1, x2, y2 = (float(number) for number in match.groups() if number is not None)
        if 0 <= x1 < x2 and 0 <= y1 < y2:
            return match[0][:60]
    return None


class PlainBoxes:
    """Counts the samples whose prompts, or demonstrations without a target, have boxes as numbers."""

    def __init__(self) -> None:
        self.count, self.first = 0, ""

    def observe(self, where: str, sample: Sample) -> None:
        if not (sample.media.images or sample.media.videos):
            return
        has_target = any(map(has_frame, sample.reward))
        turns = sample.prompt if has_target else sample.messages
        if box := next(filter(None, (plain_box(turn.content) for turn in turns)), None):
            self.count += 1
            self.first = self.first or f"{where}: {box}"

    def line(self) -> str | None:
        """What to say of them; None if there are none."""
        if not self.count:
            return None
        return (
            f"boxes stand as numbers in the texts of {self.count} samples (the first is {self.first}), and the model "
            f"reads them as they stand; if they are not in its coordinates, put {BOX_MARK} in their place, and the "
            "boxes in the field boxes"
        )
