"""The recipe of tones: repeatable, splits apart, gold right by the verifiers, and the clips hold what is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from vlmrl import catalog
from vlmrl.data.audio import load_audio
from vlmrl.rewards.composite import gold_response, score

tones = catalog.load("recipes", "tones")


def test_the_same_arguments_build_the_same_samples() -> None:
    assert list(tones.build(5, seed=3)) == list(tones.build(5, seed=3))
    assert {s.key for s in tones.build(5, seed=3)}.isdisjoint({s.key for s in tones.build(5, seed=4)})


def test_no_sample_is_in_both_splits() -> None:
    train = {s.key for s in tones.build(60)}
    heldout = {s.key for s in tones.build(20, split="heldout")}
    assert (len(train), len(heldout)) == (120, 40)
    assert train.isdisjoint(heldout)


@pytest.mark.parametrize("difficulty", [1, 3])
def test_gold_scores_one(difficulty: int) -> None:
    for sample in tones.build(20, seed=5, difficulty=difficulty):
        assert gold_response(sample) == sample.demonstration
        assert score(sample, gold_response(sample)).score == 1.0


def test_a_named_tone_sounds_when_the_answer_says() -> None:
    for sample in tones.build(20, sources=["when"]):
        name = sample.messages[0].content.split()[2]
        start, end = sample.reward[0].target
        wave = load_audio(sample.media.audios[0], tones.RATE)
        part = wave[round(start * tones.RATE) : round(end * tones.RATE)]
        loudest = np.abs(np.fft.rfft(part)).argmax() / (end - start)
        assert loudest == pytest.approx(tones.PITCHES[tones.NAMES.index(name)], rel=0.05), sample.id
