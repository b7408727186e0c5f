"""CLIP similarity: how near an image or a text comes to a goal, seen in the direction from a baseline to it.

The reward of VLM-RM (arXiv 2310.12921, section 3.1). With the unit embeddings s of the state, g of the goal and b of
the baseline, and proj_L the projection to the line through b and g:

    R = 1 - ||alpha * proj_L(s) + (1 - alpha) * s - g||^2 / 2            in [-1, 1]; alpha = 0: the cosine of s and g
    score = (R - low) / (high - low), cut to [0, 1]

The goal and the baseline ("a dog": what any such picture shows) stand in the target, and the state too where it is
known. A state that the target does not give is the answer: its text (a caption against the picture as goal), or, as
long as no `model` is given, an embedding in JSON. Several embeddings or prompts of one role are averaged and made
unit again; the paper's code leaves the mean shorter than 1, which differs for several prompts alone.

CLIP's cosines between a picture and a text lie in a narrow band, mostly 0.1 to 0.35: set `low` and `high` to the
band of your model. With alpha = 1 all that is off the line is ignored; it serves comparisons, not rewards.

    vlmrl check clip_similarity
"""

from __future__ import annotations

import json
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlmrl.data import media
from vlmrl.reading import answers
from vlmrl.sample import Media
from vlmrl.verdict import Example, Verdict, bad_target, unparsed

RUNS = "thread"
LOCAL = ("params.model", "target.*.image")

Vector = NDArray[np.float64]

_EAST = {"goal": [1, 0], "baseline": [0, 1]}
EXAMPLES = [
    Example("<answer>[2, 0]</answer>", _EAST, 1.0),
    Example("[0.6, 0.8]", _EAST, 0.6),
    Example("[0.6, 0.8]", _EAST, 0.63, {"alpha": 0.5}),
    Example("[0, 1]", _EAST, 0.0),
    Example("[-1, 0]", _EAST, 0.0),
    Example("[0.6, 0.8]", _EAST, 0.8, {"low": -1.0}),
    Example("[1, 0, 0]", _EAST, 0.0),
    Example("(not read)", {"goal": [[1, 1], [1, -1]], "baseline": [0, 1], "state": [3, 0]}, 1.0),
    Example("[1, 0]", {"goal": [1, 0], "baseline": [1, 0]}, None),
    Example("a dog", {"goal": "a dog that lies down", "baseline": "a dog"}, None),
]

_LONGEST = 400_000
"""Characters of an embedding in JSON."""
_LONGEST_TEXT = 2000
"""Characters of a text; CLIP reads its first 77 tokens."""
_MOST_BYTES = 64 * 2**20
"""Bytes of an image file; so many pixels as below take less without compression."""
_MOST_PIXELS = 4096 * 4096
"""Pixels of an image; CLIP sees it in a few hundred a side, and its processor holds it several times, as floats."""
_one_at_a_time = threading.Lock()


def verify(
    response: str,
    target: Any,
    *,
    alpha: float = 0.0,
    low: float = 0.0,
    high: float = 1.0,
    model: str | None = None,
) -> Verdict:
    """The goal-baseline reward of the state, mapped from [`low`, `high`] to [0, 1].

    `target`: `{"goal": ..., "baseline": ...}` and maybe `"state"`, each an embedding or a list of them, and with a
    `model` also a text, a list of texts, or `{"image": path or data URI}`. `alpha`: strength of the regularisation,
    0 to 1. `model`: a folder with a CLIP model in the format of transformers (safetensors), read from disk only.
    The parts are `reward`, which is R, and `cosine`, the R of alpha = 0.
    """
    try:
        check_target(target, alpha=alpha, low=low, high=high, model=model)
        known = {role: _unit_mean(_embeddings(value, model)) for role, value in target.items()}
        answer = answers.extract(response)
        if "state" not in known:
            if answer is None or not answer.text:
                return unparsed("no answer that could be compared")
            said = _answered(answer.text, model, known["goal"].size)
            if said is None:
                return unparsed(f"the answer is not an embedding of {known['goal'].size} numbers")
            known["state"] = _unit_mean(said)
        _check_geometry(known)
    except ValueError as error:
        return bad_target(str(error))
    except Exception as error:  # whatever a broken model folder makes transformers raise
        return Verdict(None, "error", why=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    reward = goal_baseline_reward(known["state"], known["goal"], known["baseline"], alpha)
    score = min(max((reward - low) / (high - low), 0.0), 1.0)
    parts = {"reward": reward, "cosine": float(known["state"] @ known["goal"])}
    return Verdict(score, parts=parts, answer=answer.text[:200] if answer else None)


def goal_baseline_reward(state: Vector, goal: Vector, baseline: Vector, alpha: float) -> float:
    """R of three unit vectors; `goal` and `baseline` differ."""
    along = (goal - baseline) / np.linalg.norm(goal - baseline)
    projected = baseline + ((state - baseline) @ along) * along
    apart = alpha * projected + (1.0 - alpha) * state - goal
    return float(1.0 - apart @ apart / 2.0)


def gold(target: Any, *, model: str | None = None, **_: Any) -> str:
    """The goal itself; ValueError where no answer is known to reach it exactly (an image, several prompts)."""
    if "state" in target:
        return ""
    if isinstance(target["goal"], str):
        return target["goal"]
    if model is not None:
        raise ValueError("goal: no text is known to score 1 against an image or several prompts")
    return json.dumps(_unit_mean(_embeddings(target["goal"], None)).tolist())


def check_target(
    target: Any, *, alpha: float = 0.0, low: float = 0.0, high: float = 1.0, model: str | None = None
) -> None:
    """ValueError unless goal and baseline are embeddings, or texts or images that the model can embed."""
    for name, value, least, most in (("alpha", alpha, 0, 1), ("low", low, -1, 1), ("high", high, -1, 1)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            raise ValueError(f"{name} {str(value)[:40]!r} is not a number from {least} to {most}")
    if low >= high:
        raise ValueError(f"low {low:g} is not below high {high:g}; give the band of the reward")
    if model is not None and not (isinstance(model, str) and (Path(model) / "config.json").is_file()):
        raise ValueError(f"model {str(model)[:80]!r} is not a folder with a config.json; give a local CLIP model")
    names = set(target) if isinstance(target, dict) else set()
    if not {"goal", "baseline"} <= names <= {"goal", "baseline", "state"}:
        raise ValueError(f"target {str(target)[:60]!r}: give 'goal' and 'baseline', and 'state' if it is known")
    for role, value in target.items():
        if _vectors(value) is None and (model is None or not (_texts(value) or _image(value))):
            needed = "an embedding" if model is None else "an embedding, a text or {'image': path}"
            raise ValueError(
                f"{role} {str(value)[:60]!r}: give {needed}" + "; texts and images need a model" * (not model)
            )
    given = {role: vectors for role, value in target.items() if (vectors := _vectors(value)) is not None}
    _check_geometry({role: _unit_mean(vectors) for role, vectors in given.items()})


def _check_geometry(known: dict[str, Vector]) -> None:
    sizes = {role: vector.size for role, vector in known.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"the embeddings have {sizes} numbers; give those of one model")
    if {"goal", "baseline"} <= set(known) and np.allclose(known["goal"], known["baseline"], rtol=0, atol=1e-6):
        raise ValueError("goal and baseline are the same; the baseline leaves out what makes the goal")


# --- embeddings -------------------------------------------------------------------------------------------


def _unit_mean(vectors: Vector) -> Vector:
    """[N, D] -> [D]: the mean of the unit vectors, itself of length 1."""
    mean = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).mean(axis=0)
    length = np.linalg.norm(mean)
    if length < 1e-6:
        raise ValueError("the embeddings of one role cancel out; give fewer of them")
    return mean / length


def _vectors(value: Any) -> Vector | None:
    """[N, D] from one list of numbers or several; None if it is anything else."""
    rows = value if isinstance(value, list) and value and isinstance(value[0], list) else [value]
    for row in rows:
        if not isinstance(row, list) or len(row) != len(rows[0]) or not row or not all(map(_finite, row)):
            return None
    vectors = np.array(rows, dtype=np.float64)
    return vectors if (np.linalg.norm(vectors, axis=1) > 1e-6).all() else None


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e6


def _texts(value: Any) -> list[str]:
    texts = value if isinstance(value, list) else [value]
    return texts if all(isinstance(text, str) and text.strip() for text in texts) else []


def _image(value: Any) -> str | None:
    path = value.get("image") if isinstance(value, dict) and len(value) == 1 else None
    return path if isinstance(path, str) and path else None


def _embeddings(value: Any, model: str | None) -> Vector:
    given = _vectors(value)
    if given is not None:
        return given
    assert model is not None
    image = _image(value)
    return np.array([_embed_image(model, image)] if image else [_embed_text(model, text) for text in _texts(value)])


def _answered(text: str, model: str | None, size: int) -> Vector | None:
    """The answer's embedding: of its text, or the one that it is; None if it is none of `size` numbers."""
    if model is not None:
        return np.array([_embed_text(model, text[:_LONGEST_TEXT])])
    try:
        vectors = _vectors(json.loads(text)) if len(text) <= _LONGEST else None
    except (ValueError, RecursionError):
        return None
    return vectors if vectors is not None and vectors.shape == (1, size) else None


class _Clip(NamedTuple):
    model: Any
    processor: Any


@lru_cache(maxsize=1)
def _load(folder: str) -> _Clip:
    from transformers import CLIPModel, CLIPProcessor

    # No pickle is ever opened, and nothing is fetched.
    model = CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype="float32")
    processor = CLIPProcessor.from_pretrained(folder, local_files_only=True)
    return _Clip(model.eval().requires_grad_(False), processor)


@lru_cache(maxsize=1024)
def _embed_text(folder: str, text: str) -> Vector:
    with _one_at_a_time:
        clip = _load(folder)
        longest = clip.model.config.text_config.max_position_embeddings
        inputs = clip.processor.tokenizer([text], truncation=True, max_length=longest, return_tensors="pt")
        return clip.model.get_text_features(**inputs).pooler_output[0].numpy().astype(np.float64)


@lru_cache(maxsize=64)
def _embed_image(folder: str, image: str) -> Vector:
    file = Media.model_validate(image)
    with _one_at_a_time:  # the image is inside as well: 32 threads at once would hold 32 of them
        file.size(_MOST_BYTES)
        width, height = media.image_size(file)
        if width * height > _MOST_PIXELS:
            raise ValueError(f"{file.name}: has more than {_MOST_PIXELS:,} pixels; make the image smaller")
        clip, pixels = _load(folder), media.load_image(file)
        inputs = clip.processor.image_processor(images=pixels, return_tensors="pt")
        return clip.model.get_image_features(**inputs).pooler_output[0].numpy().astype(np.float64)
