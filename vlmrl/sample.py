r"""Sample: one row of data of any modality, with its own media, task and reward.

    sample_from_row(row, "train.jsonl:3")      the validated sample; `vlmrl.data.sample_files` reads whole files
    row_from_sample(sample)                    the row of a sample

A row:

    {"id": "count-17", "source": "counting", "task": "count",
     "messages": [{"role": "user", "content": "<image>how many red shapes?"}],
     "media": {"images": ["img/17.png"]},
     "reward": [{"verifier": "counting", "target": 3}]}

`<image>`, `<video>` and `<audio>` mark the places of the media, in order, and `<bbox>` those of `boxes`; written
`\<image>`, it is text. Media are paths (relative to the file that names them) or data URIs. A video may also be a part
of a clip in seconds, `{"path": "a.mp4", "start": 2.5, "end": 9}`, or a list of images, `["1.png", "2.png"]` or
`{"frames": ["1.png", "2.png"], "fps": 2}`. If the last message is from the assistant, it is the demonstration:
supervised training learns it, `vlmrl data check` verifies that its reward is 1, reinforcement learning ignores it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from vlmrl import catalog
from vlmrl.errors import UnreadableError, UserError, one_line
from vlmrl.files import check_regular

MARKS = {"images": "<image>", "videos": "<video>", "audios": "<audio>"}
BOX_MARK = "<bbox>"
MARK = re.compile(rf"(?<!\\)({'|'.join(MARKS.values())})")
"""A mark in the text of a message; with a backslash before it, it is text."""
MIME = {"images": "image", "videos": "video", "audios": "audio"}

MOST_BYTES = 1 << 31
"""Bytes of a medium, at most: it is read whole into memory."""
_LONGEST_PATH = 4096
"""Characters of a path, as Linux has it."""
_ELSEWHERE = {
    **{f"{kind.removesuffix('s')}{s}": f"media are in `media.{kind}`" for kind in MARKS for s in ("", "s")},
    **dict.fromkeys(("answer", "solution", "ground_truth", "target"), "the true answer is in `reward`, as a `target`"),
    **dict.fromkeys(("problem", "question", "prompt", "conversations"), "the prompt is in `messages`"),
}
"""Columns of other toolkits' rows, and where a sample has what they hold."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


_EXTENT = {"fps", "start", "end"}
"""Fields of a video that is more than a file."""


class Media(_Frozen):
    """One image, video or audio clip: a path or bytes, or the frames of a video. If both are given, the path is only
    a name."""

    path: str | None = None
    data: bytes | None = None
    frames: tuple[Media, ...] = ()
    """The images of a video, in order."""
    fps: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Frames a second of `frames`; None: the rate at which the model sees videos."""
    start: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    end: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """The part of a video in seconds; None: from its start, to its end."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if isinstance(value, list):
            return {"frames": value}
        if isinstance(value, str):
            return _file_of_text(value)
        if isinstance(value, dict) and isinstance(path := value.get("path"), str) and path.startswith("data:"):
            return {**value, "path": None, **_file_of_text(path)}
        return value

    @model_validator(mode="after")
    def _has_one(self) -> Media:
        if self.path is None and self.data is None and not self.frames:
            raise ValueError("needs a path or bytes")
        if self.data is None and len(self.path or "") > _LONGEST_PATH:
            raise ValueError(
                f"text of {len(self.path or '')} characters is not a path; write base64 as data:image/png;base64,..."
            )
        if self.frames and (self.path is not None or self.data is not None):
            raise ValueError("has frames and a file; give one of them")
        if any(not frame.is_plain for frame in self.frames):
            raise ValueError("frames: each is an image, a path or a data URI")
        if self.fps is not None and not self.frames:
            raise ValueError("fps: is the rate of frames, and a file has its own; remove it")
        part = self.start is not None or self.end is not None
        if part and self.frames and self.fps is None:
            raise ValueError("start and end need the rate of frames; add fps")
        if self.end is not None and self.end <= (self.start or 0):
            raise ValueError(f"end: {self.end:g} is not after the start, {self.start or 0:g}; correct it")
        return self

    @property
    def is_plain(self) -> bool:
        """Whether it is a whole file."""
        return not self.frames and self.start is None and self.end is None

    @property
    def name(self) -> str:
        """Its name in messages."""
        if self.frames:
            return f"{self.frames[0].name} and {len(self.frames) - 1} more frames"
        return self.path or f"<{len(self.data or b'')} bytes>"

    def size(self, most: int | None = None) -> int:
        """Its bytes in number; `UnreadableError` for a file that is missing, not regular, or has more than `most`."""
        most = MOST_BYTES if most is None else most
        if self.frames:
            return sum(frame.size(most) for frame in self.frames)
        if self.data is not None:
            return len(self.data)
        assert self.path is not None
        try:
            size = check_regular(self.path)
        except OSError as error:
            raise self._unreadable(error) from None
        if size > most:
            why = f"has {size:,} bytes, and it may have {most:,}"
            raise UnreadableError(self.path, why, "make it smaller (fewer pixels, a shorter cut) or drop the row")
        return size

    def read(self, most: int | None = None, head: int | None = None) -> bytes:
        """The bytes of the file, or the first `head`; `UnreadableError` as in `size`, or if it cannot be read."""
        if self.data is not None:
            return self.data[:head]
        assert self.path is not None
        size = self.size(most)
        try:
            with open(self.path, "rb") as file:
                # No more than its size: some files of /proc have size 0 and no end.
                return file.read(size if head is None else min(size, head))
        except OSError as error:
            raise self._unreadable(error) from None

    def digest(self) -> bytes:
        """SHA-256 of what it shows: the bytes of its files and, where they are stated, part and rate."""
        if self.is_plain:
            return hashlib.sha256(self.read()).digest()
        files = [frame.digest() for frame in self.frames] or [hashlib.sha256(self.read()).digest()]
        stated = json.dumps([self.start, self.end, self.fps, len(files)]).encode()
        return hashlib.sha256(stated + b"".join(files)).digest()

    def _unreadable(self, error: OSError) -> UnreadableError:
        reason = error.strerror or str(error)
        return UnreadableError(self.name, reason[:1].lower() + reason[1:], "fix the path or drop the row")


def _file_of_text(text: str) -> dict[str, Any]:
    """The fields of a path or a data URI."""
    if not text.startswith("data:"):
        return {"path": text}
    head, _, body = text.partition(",")
    if not head.endswith(";base64"):
        raise ValueError(f"data URI starts with {head[:40]!r}; use 'data:<type>;base64,<data>'")
    try:
        return {"data": base64.b64decode(body, validate=True)}
    except ValueError:
        raise ValueError("data URI does not hold valid base64") from None


class MediaSet(_Frozen):
    """The media of a sample by modality, each in the order of its marks."""

    images: tuple[Media, ...] = ()
    videos: tuple[Media, ...] = ()
    audios: tuple[Media, ...] = ()
    use_audio_in_video: bool = False
    """Whether the model also hears the sound of the videos, in time with their frames."""

    @model_validator(mode="after")
    def _has_video(self) -> MediaSet:
        if self.use_audio_in_video and not self.videos:
            raise ValueError("use_audio_in_video is set, but there is no video; remove it")
        return self

    @model_validator(mode="after")
    def _only_videos_have_parts(self) -> MediaSet:
        for kind in ("images", "audios"):
            for number, media in enumerate(getattr(self, kind)):
                if not media.is_plain:
                    raise ValueError(f"{kind}.{number}: frames, start and end are those of a video; give one file")
        return self


class Message(_Frozen):
    """One chat turn; `<image>`, `<video>` and `<audio>` mark the places of media."""

    role: Literal["system", "user", "assistant"]
    content: str

    @field_validator("content", mode="before")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        if isinstance(value, list):
            raise ValueError(
                "is a list of parts; write text with <image> where a picture is, and name the picture in media.images"
            )
        return value


class RewardSpec(_Frozen):
    """One verifier with its target.

    A sample's reward is the weighted mean of its specs with `combine = "mean"`, times the scores of those with
    `"product"` (a veto if that score is 0 or 1). `target` may be omitted if the verifier needs none. Box targets give
    in `params` their `coords` (`pixels`, `relative_1000`, `relative_1`) and the `image_size` [width, height] in pixels.
    """

    verifier: str = Field(min_length=1)
    target: JsonValue = None
    weight: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    params: dict[str, JsonValue] = {}
    combine: Literal["mean", "product"] = "mean"

    @model_validator(mode="after")
    def _has_target(self) -> RewardSpec:
        if self.target is None and catalog.needs_target(self.verifier):
            raise ValueError("target is missing or null; give the true answer or drop the row")
        return self


class TextBox(_Frozen):
    """A box that a text of the sample speaks of; the model reads it in the coordinates in which it writes boxes.

    [x1, y1, x2, y2], or a point [x, y], or a polygon [x, y, x, y, ...]. `coords` and `image` are those of a target's
    frame, see `vlmrl.reading.frames.declared`.
    """

    bbox_2d: tuple[FiniteFloat, ...] = Field(min_length=2)
    coords: Literal["pixels", "relative_1000", "relative_100", "relative_1"] | None = None
    image: int | None = None

    @model_validator(mode="after")
    def _is_place(self) -> TextBox:
        corners = self.bbox_2d
        if len(corners) % 2 or (len(corners) == 4 and not (corners[0] < corners[2] and corners[1] < corners[3])):
            raise ValueError(f"bbox_2d: {list(corners)} is not [x1, y1, x2, y2] with x1 < x2 and y1 < y2; correct it")
        return self


class Sample(_Frozen):
    """One row, frozen and serialisable. `key` identifies its content, `id` the row in its data set."""

    id: str = Field(min_length=1)
    source: str = Field(min_length=1)
    task: str = ""
    messages: tuple[Message, ...] = Field(min_length=1)
    media: MediaSet = MediaSet()
    boxes: tuple[TextBox, ...] = ()
    """Those of the marks `<bbox>` in the messages, in order; without any, `<bbox>` is text like any other."""
    reward: tuple[RewardSpec, ...] = Field(min_length=1)
    meta: dict[str, JsonValue] = {}

    @field_validator("reward")
    @classmethod
    def _adds_up(cls, value: tuple[RewardSpec, ...]) -> tuple[RewardSpec, ...]:
        if not math.isfinite(sum(spec.weight for spec in value)):
            raise ValueError("the sum of the weights is too large for a number; make them smaller")
        return value

    @model_validator(mode="after")
    def _coherent(self) -> Sample:
        if not any(message.role == "user" for message in self.messages):
            raise ValueError("messages: no turn of the user; add one")
        placed = MARK.findall("\n".join(message.content for message in self.prompt))
        for kind, mark in MARKS.items():
            marks, media = placed.count(mark), len(getattr(self.media, kind))
            if marks != media:
                raise ValueError(f"messages: {marks} {mark} in the text but {media} in media.{kind}; make them equal")
        marks, boxes = sum(message.content.count(BOX_MARK) for message in self.messages), len(self.boxes)
        if boxes and marks != boxes:
            raise ValueError(f"messages: {marks} {BOX_MARK} in the text but {boxes} in boxes; make them equal")
        return self

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The turns of the prompt: all except a demonstration at the end."""
        return self.messages[:-1] if self.messages[-1].role == "assistant" else self.messages

    @property
    def demonstration(self) -> str | None:
        """The content of the last turn if it is from the assistant, else None."""
        return self.messages[-1].content if self.messages[-1].role == "assistant" else None

    @cached_property
    def key(self) -> str:
        """Hex digest of prompt, bytes of the media and reward."""
        digest = hashlib.sha256()
        digest.update(json.dumps([m.model_dump() for m in self.prompt], sort_keys=True).encode())
        digest.update(json.dumps([_fields(r) for r in self.reward], sort_keys=True).encode())
        if self.boxes:
            digest.update(json.dumps([box.model_dump() for box in self.boxes], sort_keys=True).encode())
        for kind in MARKS:
            for media in getattr(self.media, kind):
                digest.update(media.digest())
        if self.media.use_audio_in_video:
            digest.update(b"use_audio_in_video")
        return digest.hexdigest()[:32]


def _fields(spec: RewardSpec) -> dict[str, Any]:
    """The fields in a key. A field that is newer than stored keys counts only if it differs from its default."""
    return spec.model_dump(exclude={"combine"} if spec.combine == "mean" else None)


# --- rows -------------------------------------------------------------------------------------------------


def sample_from_row(row: Any, where: str, root: Path | None = None) -> Sample:
    """A validated sample; `UserError` names `where` (file and row), the field, the value and the fix.

    Relative media paths are resolved against `root`.
    """
    if not isinstance(row, dict):
        raise UserError(f"{where}: expected an object, got {type(row).__name__}")
    _check_fields(row, where)
    try:
        sample = Sample.model_validate(row)
    except ValidationError as error:
        raise UserError(f"{where}: {one_line(error, Sample)}") from None
    return sample if root is None else with_media(sample, lambda media: _resolve(media, root))


def _check_fields(row: dict[str, Any], where: str) -> None:
    """`UserError` for columns of other toolkits, which are not misspelt fields: it says where they belong."""
    other = next((name for name in row if name in _ELSEWHERE), None)
    if other is not None:
        raise UserError(
            f"{where}: {other}: unknown field; {_ELSEWHERE[other]}; what is only kept belongs in `meta`, "
            "and `vlmrl data convert` reads rows of other toolkits"
        )


def with_media(sample: Sample, change: Callable[[Media], Media]) -> Sample:
    """The sample with `change` applied to the file of every image, video and audio clip, and to every frame."""
    if sample.media == MediaSet():
        return sample

    def changed(media: Media) -> Media:
        return media.model_copy(update={"frames": tuple(map(change, media.frames))}) if media.frames else change(media)

    media = {kind: tuple(map(changed, getattr(sample.media, kind))) for kind in MARKS}
    return sample.model_copy(update={"media": sample.media.model_copy(update=media)})


def _resolve(media: Media, root: Path) -> Media:
    if media.path is None or media.data is not None or os.path.isabs(media.path):
        return media
    return media.model_copy(update={"path": os.path.normpath(root / media.path)})


def row_from_sample(sample: Sample) -> dict[str, Any]:
    """The JSONL row: media with bytes become data URIs; fields with default values are omitted."""
    row = sample.model_dump(exclude_defaults=True, exclude={"media"})
    media: dict[str, Any] = {
        kind: [_media_text(m, MIME[kind]) for m in items] for kind in MARKS if (items := getattr(sample.media, kind))
    }
    if sample.media.use_audio_in_video:
        media["use_audio_in_video"] = True
    return row | ({"media": media} if media else {})


def _media_text(media: Media, mime: str) -> Any:
    """The path or the data URI; an object for what is more than a file."""
    if media.frames:
        file: dict[str, Any] = {"frames": [_media_text(frame, MIME["images"]) for frame in media.frames]}
    elif media.data is None:
        file = {"path": media.path}
    else:
        subtype = "png" if media.data[:4] == b"\x89PNG" else "*"
        file = {"path": f"data:{mime}/{subtype};base64,{base64.b64encode(media.data).decode()}"}
    return file["path"] if media.is_plain else file | media.model_dump(include=_EXTENT, exclude_none=True)
