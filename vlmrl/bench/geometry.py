"""Geometry: the model, prompts and completions of a measured update or rollout.

Weights, pixels, digits and completions are random, in the given sizes. Nothing is trained here.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vlmrl.config.model import ModelSettings
from vlmrl.errors import UserError
from vlmrl.models import tiny
from vlmrl.models.encoded_prompt import EncodedPrompt
from vlmrl.models.formatting import Formatter
from vlmrl.models.logprobs import score_item
from vlmrl.models.packing import Item
from vlmrl.models.policy import Policy, choose_device
from vlmrl.rollout import Rollout
from vlmrl.rollout.group import Group
from vlmrl.sample import Media, MediaSet, Message, RewardSpec, Sample
from vlmrl.verdict import Verdict

SHAPES: dict[str, dict[str, dict[str, Any]]] = {
    "random-7m": {
        "text": {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 7, "num_attention_heads": 4},
        "rope": {"mrope_section": [8, 12, 12]},
        "vision": {"depth": 6, "hidden_size": 128, "intermediate_size": 340, "fullatt_block_indexes": [2, 5]},
    },
    "random-7m-qwen3_5": {
        "text": {
            **{"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 8, "num_attention_heads": 4},
            **{"head_dim": 64, "linear_num_key_heads": 2, "linear_num_value_heads": 4},
            **{"linear_key_head_dim": 64, "linear_value_head_dim": 64},
        },
        "rope": {"mrope_section": [4, 2, 2], "mrope_interleaved": True, "partial_rotary_factor": 0.25},
        "vision": {"depth": 6, "hidden_size": 128, "intermediate_size": 340, "patch_size": 14},
    },
    "random-3b": {
        "text": {
            **{"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16},
            "vocab_size": 151936,
        },
        "rope": {"mrope_section": [16, 24, 24]},
        "vision": {
            **{"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16},
            "fullatt_block_indexes": [7, 15, 23, 31],
        },
    },
}
"""Models that are built here with random weights: Qwen2.5-VL, or the family that the name ends with. The 3B model has
the config.json of Qwen2.5-VL, except for the tokenizer. The small ones have similar proportions: a patch costs the
vision tower 0.2 times what a token costs the language layers. Their vocabulary is that of the embedded tokenizer, so
that the output head is a small part of the work. Otherwise libraries that also score prompt positions would be slower
for that reason alone.
"""

DRIFT = 0.1
"""Standard deviation, in nats, between behaviour and policy logprobs, so that every update clips some tokens."""


@dataclass(frozen=True)
class Geometry:
    """The sizes of one measurement."""

    model: str | None
    """A folder or hub id; None until `create_model` has built one."""
    prompt_tokens: int
    """Text tokens of a prompt with its chat template, without those of the image."""
    image: tuple[int, int] | None
    """Width and height in pixels of a prompt's image; None without images."""
    completion: int
    """Tokens of every completion, with the end-of-turn token."""
    group: int
    groups: int
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.group < 2:
            raise UserError(f"--group {self.group}: one completion has no advantage; give at least 2")

    def load(self) -> Policy:
        """Loads the policy as a run does."""
        assert self.model
        limits = ModelSettings(
            path=self.model, gradient_checkpointing=self.gradient_checkpointing, max_prompt_tokens=10**9
        )
        return Policy.load(limits)

    def describe(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self) | {"image": "x".join(map(str, self.image)) if self.image else None}


def samples(geometry: Geometry, formatter: Formatter, seed: int = 0) -> list[Sample]:
    """One sample for each group. `UserError` if the chat template alone is longer than the prompt."""
    random = np.random.default_rng(seed)
    media = [() if geometry.image is None else (_image(geometry.image, random),) for _ in range(geometry.groups)]
    mark = "" if geometry.image is None else "<image>"
    empty = _sample(0, mark, media[0])
    template = _text_tokens(formatter.encode([empty])[0])
    # In every Qwen tokenizer a digit is a token.
    digits = geometry.prompt_tokens - template
    if digits < 1:
        least = f"the chat template takes {template}; give at least {template + 1}"
        raise UserError(f"--prompt-tokens {geometry.prompt_tokens}: {least}")
    texts = ["".join(map(str, random.integers(0, 10, digits))) for _ in media]
    return [_sample(n, mark + text, images) for n, (text, images) in enumerate(zip(texts, media, strict=True))]


def groups(geometry: Geometry, policy: Policy, seed: int = 0) -> list[Group]:
    """Groups for the learner, with behaviour logprobs near those of the policy and a spread of scores."""
    random = np.random.default_rng(seed)
    chosen = samples(geometry, policy.formatter, seed)
    prompts = policy.formatter.encode(chosen)
    text = _text_tokens(prompts[0])
    assert text == geometry.prompt_tokens, f"{text} text tokens"
    made = []
    for sample, prompt in zip(chosen, prompts, strict=True):
        completions = _completions(policy.formatter, geometry, random)
        behaviour = _behaviour(policy, prompt, completions, random)
        scores = random.permutation(np.linspace(0, 1, geometry.group))
        rollouts = [
            Rollout(tuple(ids), tuple(logprobs), policy.formatter.decode(ids), "stop", 0)
            for ids, logprobs in zip(completions, behaviour, strict=True)
        ]
        made.append(Group(sample, prompt, rollouts, [Verdict(float(score)) for score in scores]))
    return made


def _sample(number: int, text: str, images: Sequence[Media]) -> Sample:
    return Sample(
        id=f"bench-{number}",
        source="bench",
        messages=(Message(role="user", content=text),),
        media=MediaSet(images=tuple(images)),
        # Edit similarity to random text: every group has a spread of scores.
        reward=(RewardSpec(verifier="ocr", target=text.removeprefix("<image>") or "?"),),
    )


def _image(size: tuple[int, int], random: np.random.Generator) -> Media:
    width, height = size
    pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=0)
    return Media(data=buffer.getvalue())


def _text_tokens(prompt: EncodedPrompt) -> int:
    return int((prompt.token_types == 0).sum())


def _completions(formatter: Formatter, geometry: Geometry, random: np.random.Generator) -> list[list[int]]:
    special = {*formatter.tokenizer.all_special_ids, *formatter.tokenizer.get_added_vocab().values()}
    words = np.array([i for i in range(len(formatter.tokenizer)) if i not in special])
    shape = (geometry.group, geometry.completion - 1)
    return [[*map(int, row), formatter.tokenizer.eos_token_id] for row in random.choice(words, shape)]


def _behaviour(
    policy: Policy, prompt: EncodedPrompt, completions: list[list[int]], random: np.random.Generator
) -> list[list[float]]:
    logprobs: list[list[float]] = []
    for logprob_T in score_item(policy, Item(0, prompt, completions)):
        drifted_T = logprob_T.cpu().numpy() + random.normal(0, DRIFT, len(logprob_T))
        logprobs.append(np.minimum(drifted_T, 0).tolist())
    return logprobs


@contextmanager
def model_folder(path: str | None) -> Iterator[str]:
    """The model at `path`, or one of `SHAPES` in a temporary folder."""
    name = path or "random-7m"
    if name not in SHAPES:
        yield name
        return
    with tempfile.TemporaryDirectory(prefix="vlmrl-bench-") as folder:
        yield str(create_model(Path(folder), name))


def create_model(folder: Path, shape: str = "random-7m", seed: int = 0) -> Path:
    """Writes a model of this shape with random float32 weights; returns the folder."""
    from transformers import AutoModelForImageTextToText
    from transformers.utils import logging

    logging.disable_progress_bar()
    tiny.create(folder, seed)  # its tokenizer, processor and token ids
    torch.manual_seed(seed)
    with torch.device(choose_device("auto")):  # a GPU initialises a large model much faster
        model = AutoModelForImageTextToText.from_config(config_of(folder, shape))
    model.save_pretrained(folder, max_shard_size="100GB")
    _raise_pixel_limit(folder)
    return folder


def config_of(folder: Path, shape: str) -> Any:
    """The config of a shape, with the token ids of the model in `folder`."""
    from transformers import AutoConfig, Qwen2_5_VLConfig, Qwen3_5Config

    sizes = SHAPES[shape]
    rope = {"rope_type": "default", "rope_theta": 1e6, **sizes["rope"]}
    text = {"num_key_value_heads": 2, "rope_parameters": rope, "max_position_embeddings": 32768, "layer_types": None}
    config: Any = AutoConfig.from_pretrained(folder).to_dict()
    if shape.endswith("qwen3_5"):
        text |= {"vocab_size": config["text_config"]["vocab_size"], "tie_word_embeddings": True}
        tokens = {name: value for name, value in config.items() if name.endswith("token_id")}
        vision = {"out_hidden_size": sizes["text"]["hidden_size"], "num_heads": 2, **sizes["vision"]}
        return Qwen3_5Config(text_config=text | sizes["text"], vision_config=vision, tie_word_embeddings=True, **tokens)
    config["text_config"] |= text | sizes["text"]
    config["vision_config"] |= {"out_hidden_size": sizes["text"]["hidden_size"], **sizes["vision"]}
    return Qwen2_5_VLConfig(**config)


def _raise_pixel_limit(folder: Path) -> None:
    """Raises the limit, so that images up to 4096 x 4096 pixels are not resized."""
    from transformers import AutoProcessor

    processor: Any = AutoProcessor.from_pretrained(folder)
    processor.image_processor.size = {"shortest_edge": 28 * 28, "longest_edge": 4096 * 4096}
    processor.save_pretrained(folder)
