"""Sounds as models take them: waveforms in the order of a prompt, checked against what the model hears.

sounds = Sounds(processor, config)
waves = sounds.of(sample)                       read, checked, and in the order of their places in the prompt
processor(text=..., **sounds.arguments(waves))  features that do not depend on the other sounds of the call
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from vlmrl.data.audio import audio_seconds, load_audio
from vlmrl.errors import UserError
from vlmrl.models.family import family_of
from vlmrl.sample import MARK, MARKS, Media, Sample

if TYPE_CHECKING:
    import numpy as np


class Sounds:
    """The sounds of samples for one model; a model that hears nothing has none."""

    def __init__(self, processor: Any, config: Any) -> None:
        self.family = family_of(config.model_type)
        self.config = config
        self.kind = next((kind for kind in self.family.kinds if kind.name == "audio"), None)
        self.extractor: Any = getattr(processor, "feature_extractor", None)

    def of(self, sample: Sample) -> list[np.ndarray]:
        """The waveforms [samples] of a sample; `UserError` names the sound and what is wrong with it."""
        return [self._named(place, lambda media=media: self._wave(media)) for place, media in _places(sample)]

    def size(self, sample: Sample) -> tuple[int, int]:
        """From the lengths that files state: tokens of the sounds besides their placeholders, values of features."""
        tokens = values = 0
        for place, media in _places(sample):
            frames = self._named(place, lambda media=media: self._frames(media, audio_seconds(media)))
            # The sound of a video has no placeholder of its own, and a token before and after it.
            tokens += self._tokens(frames) + (2 if ".videos." in place else -1)
            values += self.extractor.feature_size * (
                self.extractor.nb_max_frames if self.family.whole_window else frames
            )
        return tokens, values

    def arguments(self, waves: list[np.ndarray]) -> dict[str, Any]:
        """Arguments of the processor."""
        # Without silence behind it, the last frame of the longest sound would differ from that of the same sound
        # beside a longer one.
        longest = max(map(len, waves)) + self.extractor.n_fft
        longest += -longest % self.extractor.hop_length
        window = {} if self.family.whole_window else {"max_length": longest, "padding": "max_length"}
        return {"audio": waves, "audio_kwargs": {"sampling_rate": self.extractor.sampling_rate, **window}}

    def _wave(self, media: Media) -> np.ndarray:
        import numpy as np

        wave = load_audio(media, self.extractor.sampling_rate)
        self._frames(media, len(wave) / self.extractor.sampling_rate)
        return np.pad(wave, (0, -len(wave) % self.extractor.hop_length))  # a begun frame counts in some calls

    def _frames(self, media: Media, seconds: float) -> int:
        """Frames of a sound; `UserError` for one that the model does not hear whole, or not at all."""
        window = self.extractor.n_samples / self.extractor.sampling_rate
        if self.family.whole_window and seconds > window:
            raise UserError(
                f"{media.name}: lasts {seconds:.2f} s, and {self.config.model_type} hears {window:g} s; "
                "cut it into clips or drop the row"
            )
        frames = -(-round(seconds * self.extractor.sampling_rate) // self.extractor.hop_length)
        assert self.kind
        if (tokens := self._tokens(frames)) < self.kind.fewest:
            raise UserError(
                f"{media.name}: lasts {seconds:.3f} s, which is {max(tokens, 0)} tokens, and {self.config.model_type} "
                f"hears no less than {self.kind.fewest}; drop the row"
            )
        return frames

    def _tokens(self, frames: int) -> int:
        assert self.kind
        return int(self.kind.tokens(torch.tensor([frames]), self.config))

    def _named(self, place: str, result: Any) -> Any:
        try:
            return result()
        except UserError as error:
            raise error.at(place) from None


def _places(sample: Sample) -> Iterator[tuple[str, Media]]:
    """The sounds in the order of their marks, those of videos among them, each with its place in the row."""
    kinds = {mark: kind for kind, mark in MARKS.items()}
    seen = dict.fromkeys(MARKS, 0)
    for message in sample.prompt:
        for mark in MARK.findall(message.content):
            kind, index = kinds[mark], seen[kinds[mark]]
            seen[kind] += 1
            if kind == "audios" or (kind == "videos" and sample.media.use_audio_in_video):
                yield f"sample {sample.id!r}: media.{kind}.{index}", getattr(sample.media, kind)[index]
