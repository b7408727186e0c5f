"""CLIP similarity: the published formula, and a tiny CLIP read from disk."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlmrl import catalog

clip = catalog.load("verifiers", "clip_similarity")


def units(*shape: int) -> np.ndarray:
    vectors = np.random.default_rng(7).normal(size=shape)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_the_reward_is_that_of_the_paper_and_of_its_code(alpha: float) -> None:
    """The code projects s - g with the matrix alpha * d d' / |d|^2 + (1 - alpha) * I, d = g - b."""
    for state, goal, baseline in units(20, 3, 16):
        d = goal - baseline
        matrix = alpha * np.outer(d, d) / (d @ d) + (1 - alpha) * np.eye(16)
        expected = 1 - np.sum(((state - goal) @ matrix) ** 2) / 2
        assert clip.goal_baseline_reward(state, goal, baseline, alpha) == pytest.approx(expected)
        target = {"goal": goal.tolist(), "baseline": (3 * baseline).tolist()}
        verdict = clip.verify(json.dumps((2 * state).tolist()), target, alpha=alpha, low=-1.0)
        assert verdict.parts == pytest.approx({"reward": expected, "cosine": state @ goal})
        assert verdict.score == pytest.approx((expected + 1) / 2)
        known = clip.verify("whatever", target | {"state": state.tolist()}, alpha=alpha, low=-1.0)
        assert known.score == pytest.approx(verdict.score)


def test_the_ends_of_alpha() -> None:
    state, goal, baseline = units(3, 16)
    assert clip.goal_baseline_reward(state, goal, baseline, 0.0) == pytest.approx(state @ goal)
    aside = units(1, 16)[0]
    along = goal - baseline
    aside = aside - (aside @ along) / (along @ along) * along
    at_one = clip.goal_baseline_reward(state, goal, baseline, 1.0)
    assert clip.goal_baseline_reward(state + aside, goal, baseline, 1.0) == pytest.approx(at_one)


def test_the_band_is_mapped_and_cut() -> None:
    target = {"goal": [1, 0], "baseline": [0, 1]}
    for low, high, score in [(0.0, 1.0, 0.6), (0.5, 0.7, 0.5), (0.7, 0.9, 0.0), (0.1, 0.5, 1.0), (-1.0, 1.0, 0.8)]:
        assert clip.verify("[0.6, 0.8]", target, low=low, high=high).score == pytest.approx(score)


def test_several_embeddings_are_averaged_as_unit_vectors_and_made_unit_again() -> None:
    target = {"goal": [[5, 0], [0, 1]], "baseline": [1, 0]}
    assert clip.verify("[1, 1]", target).score == pytest.approx(1.0)
    assert clip.verify("[0, 1]", target).score == pytest.approx(np.sqrt(0.5))


@pytest.mark.parametrize("answer", [
    "", "a dog", "[1]", "[1, 0, 0]", "[0, 0]", "[1e999, 0]", "[NaN, 0]", "[true, 1]", '["1", "0"]', "[[1, 0], [1, 0]]",
    "[" * 10_000, "1" * 5000, f"[{'9' * 400}, 0]", "[1, 0] or [0, 1]",
])  # fmt: skip
def test_what_is_no_embedding_scores_zero(answer: str) -> None:
    verdict = clip.verify(answer, {"goal": [1, 0], "baseline": [0, 1]}, low=-1.0)
    assert (verdict.score, verdict.status) == (0.0, "unparsed")


@pytest.mark.parametrize(
    ("target", "params", "says"),
    [
        ([1, 0], {}, "'goal' and 'baseline'"),
        ({"goal": [1, 0]}, {}, "'goal' and 'baseline'"),
        ({"goal": [1, 0], "baseline": [0, 1], "stage": [1, 0]}, {}, "'goal' and 'baseline'"),
        ({"goal": [1, 0], "baseline": [0, 1, 0]}, {}, "goal.*2.*baseline.*3"),
        ({"goal": [1, 0], "baseline": [2, 0]}, {}, "the same"),
        ({"goal": [1, 0], "baseline": [0, 0]}, {}, "baseline"),
        ({"goal": [[1, 0], [-1, 0]], "baseline": [0, 1]}, {}, "cancel"),
        ({"goal": "a dog lies down", "baseline": "a dog"}, {}, "need a model"),
        ({"goal": [1, 0], "baseline": [0, 1]}, {"alpha": 1.5}, "alpha '1.5'"),
        ({"goal": [1, 0], "baseline": [0, 1]}, {"low": 0.5, "high": 0.5}, "low 0.5 is not below"),
        ({"goal": [1, 0], "baseline": [0, 1]}, {"model": "/no/such/folder"}, "/no/such/folder.*config.json"),
    ],
)
def test_bad_targets_say_value_and_mend(target: Any, params: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        clip.check_target(target, **params)
    assert clip.verify("[1, 0]", target, **params).status == "bad_target"


# --- with a model -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A CLIP of random weights, with a tokenizer of single characters."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ids = {"bos_token_id": 52, "eos_token_id": 53, "pad_token_id": 53}
    text = {**size, **ids, "vocab_size": len(tokens), "max_position_embeddings": 12}
    vision = {**size, "image_size": 16, "patch_size": 8}
    torch.manual_seed(0)
    made = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    folder = tmp_path_factory.mktemp("clip")
    made.save_pretrained(folder)
    pixels = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    CLIPProcessor(pixels, CLIPTokenizer(vocabulary, [])).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("picture") / "red.png"
    Image.new("RGB", (20, 30), (200, 30, 30)).save(path)
    return str(path)


def test_embeddings_are_those_of_the_model(model: str, picture: str) -> None:
    from transformers import CLIPModel, CLIPProcessor

    processor = CLIPProcessor.from_pretrained(model)
    inputs = processor(text=["cat", "pet"], images=[Image.open(picture)], return_tensors="pt")
    true = CLIPModel.from_pretrained(model)(**inputs)
    goal, baseline = true.text_embeds.detach().double().numpy()
    state = true.image_embeds[0].detach().double().numpy()
    for alpha in (0.0, 0.5):
        expected = clip.goal_baseline_reward(state, goal, baseline, alpha)
        target = {"goal": "cat", "baseline": "pet", "state": {"image": picture}}
        assert clip.verify("", target, alpha=alpha, model=model).parts["reward"] == pytest.approx(expected, abs=1e-5)
        swapped = {"goal": {"image": picture}, "baseline": "pet"}
        caption = clip.verify("<think>dog</think><answer>cat</answer>", swapped, alpha=alpha, low=-1.0, model=model)
        expected = clip.goal_baseline_reward(goal, state, baseline, alpha)
        assert caption.parts["reward"] == pytest.approx(expected, abs=1e-5)


def test_a_text_goal_is_reached_by_itself_alone(model: str) -> None:
    target = {"goal": "a cat", "baseline": "a pet"}
    assert clip.gold(target, model=model) == "a cat"
    assert clip.verify("a cat", target, alpha=0.5, model=model).score == 1.0
    for other in ("a pet", "a dog", "x" * 1_000_000, "7" * 5000, "\0", "[1, 0, 0, 0, 0, 0, 0, 0]"):
        assert clip.verify(other, target, alpha=0.5, model=model).score < 1.0
    assert clip.verify("", target, model=model).score == 0.0
    several = target | {"goal": ["a cat", "one cat"]}
    assert clip.verify("a cat", several, model=model).score < 1.0
    with pytest.raises(ValueError, match="several prompts"):
        clip.gold(several, model=model)


def test_threads_share_one_model(model: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    target = {"goal": "a cat", "baseline": "a pet"}
    said = [f"{first} {second}" for first in "abcdefgh" for second in "cat"]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda text: clip.verify(text, target, model=model), said))
    assert together == [clip.verify(text, target, model=model) for text in said]


def test_broken_pictures_and_models_are_never_zero(model: str, tmp_path: Path) -> None:
    target = {"goal": "cat", "baseline": "pet", "state": {"image": str(tmp_path / "missing.png")}}
    verdict = clip.verify("", target, model=model)
    assert (verdict.score, verdict.status) == (None, "bad_target")
    assert "missing.png" in verdict.why
    large = tmp_path / "large.png"
    for size, why in (((4097, 4096), "has more than 16,777,216 pixels"), ((1, 1), "bytes, and it may have 67,108,864")):
        Image.new("1", size).save(large)
        if size == (1, 1):
            with large.open("rb+") as file:
                file.truncate(2**26 + 1)
        verdict = clip.verify("", target | {"state": {"image": str(large)}}, model=model)
        assert (verdict.score, verdict.status) == (None, "bad_target")
        assert why in verdict.why
    (tmp_path / "config.json").write_text("{}")
    verdict = clip.verify("a cat", {"goal": "cat", "baseline": "pet"}, model=str(tmp_path))
    assert (verdict.score, verdict.status) == (None, "error")
    foreign = {"goal": [1, 0], "baseline": [0, 1]}
    assert clip.verify("a cat", foreign, model=model).status == "bad_target"
