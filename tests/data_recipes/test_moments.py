"""The recipe of clips: repeatable, splits apart, gold right, and the events are where the questions say."""

from __future__ import annotations

import numpy as np
import pytest

from vlmrl import catalog
from vlmrl.data.videos import read_frames, video_header
from vlmrl.rewards.composite import gold_response, score

moments = catalog.load("recipes", "moments")


def test_the_same_arguments_build_the_same_samples() -> None:
    assert list(moments.build(5, seed=3)) == list(moments.build(5, seed=3))
    assert {s.key for s in moments.build(5, seed=3)}.isdisjoint({s.key for s in moments.build(5, seed=4)})


def test_no_sample_twice_and_none_in_both_splits() -> None:
    train = [s.key for seed in (0, 1) for s in moments.build(150, seed=seed)]
    heldout = [s.key for seed in (0, 1) for s in moments.build(40, split="heldout", seed=seed)]
    assert len(set(train)) == 600
    assert len(set(heldout)) == 160
    assert set(train).isdisjoint(heldout)


@pytest.mark.parametrize("difficulty", [1, 2, 3])
def test_gold_scores_one(difficulty: int) -> None:
    for sample in moments.build(40, seed=5, difficulty=difficulty):
        assert score(sample, gold_response(sample)).score == 1.0, sample
        assert score(sample, sample.demonstration).score == 1.0, sample


def seconds_of(sample, color: str) -> list[int]:
    """The frames in which a colour is seen, two a second."""
    frames, _ = read_frames(sample.media.videos[0], lambda header: range(header.frames))
    near = np.abs(frames.astype(int) - np.array(moments.COLORS[color])).sum(-1) < 12
    return np.flatnonzero(near.any((1, 2))).tolist()


@pytest.mark.parametrize("difficulty", [1, 3])
def test_a_shape_is_there_when_the_answer_says(difficulty: int) -> None:
    for sample in moments.build(40, difficulty=difficulty):
        assert video_header(sample.media.videos[0]) == (28, 28, 16, 2.0)
        words = sample.messages[0].content.replace(",", "").replace("?", "").split()
        if sample.source == "when":
            start, end = sample.reward[0].target
            assert seconds_of(sample, words[3]) == list(range(2 * start, 2 * end))
        else:
            first = min((words[3], words[5]), key=lambda color: seconds_of(sample, color)[0])
            assert first == sample.reward[0].target


def test_a_blind_answer_earns_little() -> None:
    """No constant answer may come near the reward of one who sees."""
    samples = list(moments.build(150, sources=["when"]))
    answers = {s.demonstration for s in samples} | {"0 - 8", "2 - 6"}
    best = max(np.mean([score(s, answer).score for s in samples]) for answer in answers)
    assert best < 0.4
