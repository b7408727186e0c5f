"""Untrained miniatures of every supported model family, with processors, for tests."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import torch

from vlmrl.models import tiny
from vlmrl.models.tiny import hearing

TEXT: dict[str, Any] = {
    "vocab_size": tiny.VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
ROPE: dict[str, Any] = {"rope_type": "default", "rope_theta": 100.0, "mrope_section": [2, 3, 3]}
EXPERTS: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
VISION: dict[str, Any] = {
    "depth": 2,
    "num_heads": 2,
    "intermediate_size": 48,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
VISION_3 = {
    **VISION,
    "hidden_size": 32,
    "out_hidden_size": 64,
    "patch_size": 16,
    "num_position_embeddings": 64,
}
TEMPLATE = tiny.CHAT_TEMPLATE
PIXELS = {"shortest_edge": 16 * 16, "longest_edge": 560 * 560}


def create(family: str, folder: Path) -> Path:
    """A model folder of the family with random float32 weights."""
    if family == "qwen2_5_vl":
        tiny.create(folder)
        return folder
    config, model, processor = MINIATURES[family]()
    torch.manual_seed(0)
    instance = model(config)
    with torch.no_grad():  # the default initialisation is so small that every logit is alike
        for name, parameter in instance.named_parameters():
            if parameter.ndim > 1 and "conv1d" not in name:
                parameter.mul_(4.0)
    instance.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _qwen2_vl() -> tuple[Any, Any, Any]:
    import transformers as hf

    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2, "patch_size": 14}
    config = hf.Qwen2VLConfig(text_config={**TEXT, "rope_parameters": ROPE}, vision_config=vision, **_qwen_tokens())
    images, videos = hf.Qwen2VLImageProcessor(size=PIXELS), hf.Qwen2VLVideoProcessor(size=PIXELS)
    return config, hf.Qwen2VLForConditionalGeneration, hf.Qwen2VLProcessor(images, _tokenizer(), videos, TEMPLATE)


def _qwen3(name: str, text: dict[str, Any], vision: dict[str, Any]) -> tuple[Any, Any, Any]:
    import transformers as hf

    text = {**TEXT, "rope_parameters": {**ROPE, "mrope_interleaved": True}, **text}
    config = getattr(hf, f"{name}Config")(text_config=text, vision_config=VISION_3 | vision, **_qwen_tokens())
    images = hf.Qwen2VLImageProcessor(size=PIXELS, patch_size=16)
    videos = hf.Qwen3VLVideoProcessor(size=PIXELS, patch_size=16)
    processor = hf.Qwen3VLProcessor(images, _tokenizer(), videos, TEMPLATE)
    return config, getattr(hf, f"{name}ForConditionalGeneration"), processor


def _qwen3_vl() -> tuple[Any, Any, Any]:
    return _qwen3("Qwen3VL", {}, {"deepstack_visual_indexes": [0]})


def _qwen3_vl_moe() -> tuple[Any, Any, Any]:
    return _qwen3("Qwen3VLMoe", EXPERTS, {"deepstack_visual_indexes": [0]})


HYBRID: dict[str, Any] = {
    "num_hidden_layers": 4,  # three recurrent ones and one of full attention, as in the real models
    "head_dim": 32,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    # A quarter of each head is rotated.
    "rope_parameters": {**ROPE, "mrope_section": [2, 1, 1], "mrope_interleaved": True, "partial_rotary_factor": 0.25},
}


def _qwen3_5() -> tuple[Any, Any, Any]:
    return _qwen3("Qwen3_5", HYBRID, {})


def _qwen3_5_moe() -> tuple[Any, Any, Any]:
    return _qwen3("Qwen3_5Moe", HYBRID | EXPERTS | {"shared_expert_intermediate_size": 32}, {})


GLM_TURNS = ("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")
GLM_MEDIA = ("image", "video", "begin_of_image", "end_of_image", "begin_of_video", "end_of_video")
GLM_TEMPLATE = (
    "[gMASK]<sop>{% for message in messages %}<|{{ message.role }}|>\n"
    "{% if message.content is string %}{{ message.content }}"
    "{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|begin_of_image|><|image|><|end_of_image|>"
    "{% elif part.type == 'video' %}<|begin_of_video|><|video|><|end_of_video|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def _glm4v() -> tuple[Any, Any, Any]:
    import transformers as hf

    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=deepcopy(_tokenizer().backend_tokenizer), eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": [*GLM_TURNS, *(f"<|{name}|>" for name in GLM_MEDIA)]})
    tokenizer.add_tokens(["<think>", "</think>", "<answer>", "</answer>", "<|begin_of_box|>", "<|end_of_box|>"])
    ids: list[Any] = [tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in GLM_MEDIA]
    image, video, *borders = ids
    parts = ("image_start", "image_end", "video_start", "video_end")
    text = {name: value for name, value in TEXT.items() if name != "head_dim"}
    text |= {"num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": False}
    text |= {"vocab_size": len(tokenizer), "rope_parameters": {**ROPE, "partial_rotary_factor": 0.5}}
    border_ids: dict[str, Any] = {f"{part}_token_id": token for part, token in zip(parts, borders, strict=True)}
    config = hf.Glm4vConfig(
        text_config=text,
        vision_config={**VISION, "hidden_size": 32, "out_hidden_size": 64, "patch_size": 14, "image_size": 112},
        image_token_id=image,
        video_token_id=video,
        dtype="float32",
        **border_ids,
    )
    sizes = {"shortest_edge": 2 * 28 * 28, "longest_edge": 2 * 560 * 560}  # of the two frames of a patch
    images, videos = hf.Glm4vImageProcessor(size=sizes), hf.Glm4vVideoProcessor(size=sizes)
    return config, hf.Glm4vForConditionalGeneration, hf.Glm4vProcessor(images, tokenizer, videos, GLM_TEMPLATE)


AUDIO: dict[str, Any] = {"encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 48, "d_model": 32}


def _qwen2_audio() -> tuple[Any, Any, Any]:
    """It hears sounds of up to 2 s."""
    import transformers as hf

    tokenizer = _hearing_tokenizer()
    config = hf.Qwen2AudioConfig(
        audio_config={**AUDIO, "num_mel_bins": 16, "max_source_positions": 100},
        text_config={**TEXT, "vocab_size": len(tokenizer), "rope_parameters": _plain(ROPE), "model_type": "qwen2"},
        audio_token_id=tokenizer.convert_tokens_to_ids("<|audio_pad|>"),
        tie_word_embeddings=True,
        dtype="float32",
    )
    extractor = hf.WhisperFeatureExtractor(feature_size=16, chunk_length=2)
    return config, hf.Qwen2AudioForConditionalGeneration, hf.Qwen2AudioProcessor(extractor, tokenizer, hearing.TEMPLATE)


def _omni(name: str, text: dict[str, Any], vision: dict[str, Any], audio: dict[str, Any], patch: int) -> Any:
    """The thinker's config, its class, and the processor of the whole."""
    import transformers as hf

    tokenizer = _hearing_tokenizer()
    tokens: dict[str, Any] = _qwen_tokens() | {
        f"{part}_token_id": tokenizer.convert_tokens_to_ids(f"<|{part.replace('token', 'pad')}|>")
        for part in ("audio_start", "audio_end")
    }
    tokens["audio_token_id"] = tokenizer.convert_tokens_to_ids("<|audio_pad|>")
    config = getattr(hf, f"{name}ThinkerConfig")(
        text_config={**TEXT, "vocab_size": len(tokenizer), "rope_parameters": ROPE, **text},
        vision_config=vision,
        audio_config={**AUDIO, "num_mel_bins": 16, "output_dim": 64, "max_source_positions": 100, **audio},
        position_id_per_seconds={14: 25, 16: 13}[patch],
        **tokens,
    )
    images = hf.Qwen2VLImageProcessor(size=PIXELS, patch_size=patch)
    videos = hf.Qwen2VLVideoProcessor(size=PIXELS, patch_size=patch)
    extractor = hf.WhisperFeatureExtractor(feature_size=16, chunk_length=300)
    processor = getattr(hf, f"{name}Processor")(images, videos, extractor, tokenizer, hearing.TEMPLATE)
    return config, getattr(hf, f"{name}ThinkerForConditionalGeneration"), processor


def _qwen2_5_omni() -> tuple[Any, Any, Any]:
    vision = {**VISION, "hidden_size": 32, "out_hidden_size": 64, "patch_size": 14, "window_size": 56}
    return _omni("Qwen2_5Omni", {}, {**vision, "fullatt_block_indexes": [1]}, {"n_window": 10}, 14)


def _qwen3_omni_moe() -> tuple[Any, Any, Any]:
    text = {**EXPERTS, "rope_parameters": {**ROPE, "mrope_interleaved": True}}
    audio = {"n_window": 50, "n_window_infer": 100, "downsample_hidden_size": 8}
    return _omni("Qwen3OmniMoe", text, {**VISION_3, "deepstack_visual_indexes": [0]}, audio, 16)


@cache
def _hearing_tokenizer() -> Any:
    return hearing.tokenizer()


def _plain(rope: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in rope.items() if name != "mrope_section"}


MINIATURES: dict[str, Callable[[], tuple[Any, Any, Any]]] = {
    "qwen2_vl": _qwen2_vl,
    "qwen3_vl": _qwen3_vl,
    "qwen3_vl_moe": _qwen3_vl_moe,
    "qwen3_5": _qwen3_5,
    "qwen3_5_moe": _qwen3_5_moe,
    "glm4v": _glm4v,
    "qwen2_audio": _qwen2_audio,
    "qwen2_5_omni": _qwen2_5_omni,
    "qwen3_omni_moe": _qwen3_omni_moe,
}
"""Config, class of the model, and processor of each family but the one that is shipped."""


@cache
def _tokenizer() -> Any:
    return tiny.train_tokenizer(tiny.shipped_corpus())


def _qwen_tokens() -> dict[str, Any]:
    ids = {name: _tokenizer().convert_tokens_to_ids(name) for name in tiny.SPECIAL_TOKENS}
    return {
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "tie_word_embeddings": True,
        "dtype": "float32",
    }
