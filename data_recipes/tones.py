"""Tones: clips of a second with two tones, each of another name, made by a formula.

    vlmrl data build tones --n 400 --split heldout --out heldout.jsonl

which      which tone is first or second                 -> its name
when       when a named tone sounds                      -> start and end in seconds

Loudness, timbre, tuning and noise vary. The same arguments build the same samples. A hash of its content decides
whether a sample belongs to `train` or to `heldout`, so the two never share a sample, whatever the seeds.
"""

from __future__ import annotations

import hashlib
import io
import wave
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Literal

import numpy as np
from numpy.random import Generator

from vlmrl.sample import Media, MediaSet, Message, RewardSpec, Sample

SOURCES = ("which", "when")
Split = Literal["train", "heldout"]

NAMES = ("do", "re", "mi", "fa", "sol", "la")
PITCHES = tuple(262.0 * 2 ** (n / 2) for n in range(len(NAMES)))
"""Hz of each name, half an octave apart, so that few bins of a spectrogram tell them apart."""
PLACES = ("first", "second")
SECONDS = 1.0
RATE = 16_000
HELDOUT_SHARE = 8
"""One of this many samples is held out."""


def build(
    n: int, *, split: Split = "train", seed: int = 0, sources: Sequence[str] = SOURCES, difficulty: int = 1
) -> Iterator[Sample]:
    """`n` samples of each source; with more difficulty there is more noise."""
    for source in sources:
        rng = np.random.default_rng([seed, SOURCES.index(source)])
        made = 0
        for number in count():
            if made == n:
                break
            sample = _sample(rng, source, f"tones-{source}-{split}-{seed}-{number}", difficulty)
            if _is_heldout(sample) == (split == "heldout"):
                made += 1
                yield sample


def _sample(rng: Generator, source: str, name: str, difficulty: int) -> Sample:
    chosen = [int(tone) for tone in rng.permutation(len(NAMES))[: len(PLACES)]]
    # Starts and ends lie on tenths of a second.
    ends = np.sort(rng.permutation(np.arange(11))[: 2 * len(PLACES)]) / 10
    spans = [(float(start), float(end)) for start, end in ends.reshape(-1, 2)]
    place = int(rng.integers(len(PLACES)))
    if source == "which":
        question, answer = f"which tone is {PLACES[place]}?", NAMES[chosen[place]]
        spec = RewardSpec(verifier="exact", target=answer)
    else:
        start, end = (round(x, 1) for x in spans[place])
        question, answer = f"when does {NAMES[chosen[place]]} sound?", f"{start:.1f} - {end:.1f}"
        spec = RewardSpec(verifier="temporal_iou", target=[start, end])
    return Sample(
        id=name,
        source=source,
        task=source,
        messages=(Message(role="user", content=f"<audio>{question}"), Message(role="assistant", content=answer)),
        media=MediaSet(audios=(Media(data=_clip(rng, chosen, spans, difficulty)),)),
        reward=(spec,),
    )


def _clip(rng: Generator, chosen: Sequence[int], spans: Sequence[tuple[float, float]], difficulty: int) -> bytes:
    """A WAV of 16 bits."""
    values = rng.standard_normal(round(SECONDS * RATE), dtype=np.float32) * 0.004 * difficulty
    for tone, (start, end) in zip(chosen, spans, strict=True):
        pitch = PITCHES[tone] * float(rng.uniform(0.98, 1.02))
        overtones = rng.uniform(0, 0.5, size=2)
        times = np.arange(round((end - start) * RATE), dtype=np.float32) / RATE
        phase = 2 * np.pi * (pitch * times + float(rng.uniform()))
        sound = np.sin(phase) + overtones[0] * np.sin(2 * phase) + overtones[1] * np.sin(3 * phase)
        envelope = np.clip(np.minimum(times, times[::-1]) / 0.01, 0, 1)  # without clicks
        place = round(start * RATE)
        values[place : place + len(times)] += float(rng.uniform(0.1, 0.4)) * envelope * sound
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE)
        writer.writeframes((np.clip(values, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


def _is_heldout(sample: Sample) -> bool:
    content = sample.messages[0].content.encode() + sample.media.audios[0].read()
    return hashlib.sha256(content).digest()[0] % HELDOUT_SHARE == 0
