"""Untrained miniatures of every supported model family, with processors, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vlmrl.models import tiny

TEXT = {
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
VISION = {"depth": 2, "num_heads": 2, "intermediate_size": 48, "spatial_merge_size": 2, "temporal_patch_size": 2}
RECURRENT = {
    "num_hidden_layers": 4,
    "layer_types": ["linear_attention", "linear_attention", "full_attention", "linear_attention"],
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}
PIXELS = {"shortest_edge": 16 * 16, "longest_edge": 560 * 560}


def create(family: str, folder: Path) -> Path:
    """A model folder of the family with random float32 weights."""
    import transformers as hf

    tokenizer = tiny._train_tokenizer(tiny._corpus())
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in tiny.SPECIAL_TOKENS}
    tokens = {
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "tie_word_embeddings": True,
        "dtype": "float32",
    }
    rope = {"rope_type": "default", "rope_theta": 100.0, "mrope_section": [2, 3, 3]}
    if family == "qwen2_5_vl":
        tiny.create(folder)
        return folder
    if family == "qwen2_vl":
        vision = {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2, "patch_size": 14}
        config: Any = hf.Qwen2VLConfig(text_config={**TEXT, "rope_parameters": rope}, vision_config=vision, **tokens)
        model: Any = hf.Qwen2VLForConditionalGeneration
        parts = (hf.Qwen2VLImageProcessor(size=PIXELS), hf.Qwen2VLVideoProcessor(size=PIXELS), hf.Qwen2VLProcessor)
    elif family == "qwen3_5":
        vision = {**VISION, "hidden_size": 32, "out_hidden_size": 64, "patch_size": 16, "num_position_embeddings": 64}
        rope |= {"partial_rotary_factor": 0.5, "mrope_section": [2, 1, 1], "mrope_interleaved": True}
        text = {**TEXT, **RECURRENT, "rope_parameters": rope}
        config = hf.Qwen3_5Config(text_config=text, vision_config=vision, **tokens)
        model = hf.Qwen3_5ForConditionalGeneration
        images = hf.Qwen2VLImageProcessor(size=PIXELS, patch_size=16)
        parts = (images, hf.Qwen3VLVideoProcessor(size=PIXELS, patch_size=16), hf.Qwen3VLProcessor)
    else:
        assert family == "qwen3_vl"
        vision = {
            **VISION,
            "hidden_size": 32,
            "out_hidden_size": 64,
            "patch_size": 16,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        }
        text = {**TEXT, "rope_parameters": {**rope, "mrope_interleaved": True}}
        config = hf.Qwen3VLConfig(text_config=text, vision_config=vision, **tokens)
        model = hf.Qwen3VLForConditionalGeneration
        images = hf.Qwen2VLImageProcessor(size=PIXELS, patch_size=16)
        parts = (images, hf.Qwen3VLVideoProcessor(size=PIXELS, patch_size=16), hf.Qwen3VLProcessor)
    images, videos, processor = parts
    torch.manual_seed(0)
    instance = model(config)
    with torch.no_grad():  # the default initialisation is so small that every logit is alike
        for parameter in instance.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4.0)
    instance.save_pretrained(folder)
    processor(
        image_processor=images, tokenizer=tokenizer, video_processor=videos, chat_template=tiny.CHAT_TEMPLATE
    ).save_pretrained(folder)
    return folder
