"""The synthetic recipe: repeatable, without repeats, splits apart, gold right by the verifiers."""

from __future__ import annotations

import pytest

from vlmrl import catalog
from vlmrl.data.media import load_image
from vlmrl.rewards.composite import gold_response, score

synthetic = catalog.load("recipes", "synthetic")


def test_the_same_arguments_build_the_same_samples():
    assert list(synthetic.build(5, seed=3)) == list(synthetic.build(5, seed=3))
    assert {s.key for s in synthetic.build(5, seed=3)}.isdisjoint({s.key for s in synthetic.build(5, seed=4)})


def test_no_sample_twice_and_none_in_both_splits():
    train = [s.key for seed in (0, 1) for s in synthetic.build(400, seed=seed)]
    heldout = [s.key for seed in (0, 1) for s in synthetic.build(100, split="heldout", seed=seed)]
    assert len(set(train[:2000])) == 2000
    assert len(set(heldout[:500])) == 500
    assert set(train).isdisjoint(heldout)


@pytest.mark.parametrize("difficulty", [1, 2, 3])
def test_gold_scores_one(difficulty: int):
    for sample in synthetic.build(40, seed=5, difficulty=difficulty):
        gold = gold_response(sample)
        assert gold == sample.demonstration
        assert score(sample, gold).score == 1.0, sample


@pytest.mark.parametrize("difficulty", [1, 3])
def test_objects_lie_in_the_image_and_the_counts_are_true(difficulty: int):
    for sample in synthetic.build(60, sources=["counting", "grounding"], difficulty=difficulty):
        width, height = load_image(sample.media.images[0]).size
        objects = sample.meta["objects"]
        assert all(0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height for _, x1, y1, x2, y2 in objects)
        if sample.source == "counting":
            color = sample.messages[0].content.split()[2]
            kinds = {list(synthetic.COLORS).index(color) * 3 + shape for shape in range(3)}
            assert sum(o[0] in kinds for o in objects) == sample.reward[0].target


def test_the_wrong_word_is_nowhere_on_the_image():
    for sample in synthetic.build(60, sources=["caption"]):
        drawn = {
            word
            for kind, *_ in sample.meta["objects"]
            for word in (list(synthetic.COLORS)[kind // 3], synthetic.SHAPES[kind % 3])
        }
        assert sample.demonstration not in drawn
        assert sample.demonstration in sample.messages[0].content


def test_a_blind_answer_earns_little():
    """No constant answer may come near the reward of one who sees."""
    for source in synthetic.SOURCES:
        samples = list(synthetic.build(120, sources=[source], seed=9))
        golds = {s.demonstration for s in samples}
        best = max(sum(score(s, gold).score or 0 for s in samples) / len(samples) for gold in list(golds)[:40])
        assert best < 0.45, (source, best)
