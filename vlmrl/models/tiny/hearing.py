"""An untrained Qwen2-Audio of 0.3 M parameters, which hears a second: `scripts/tones.sh` trains it.

It is made when `model.path` is "tiny-audio-untrained"; no weights of it are shipped.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmrl.models.tiny import CHAT_TEMPLATE, initialise, shipped_corpus, train_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SECONDS = 1
"""Length of the window: 100 frames, which the encoder halves twice."""
BINS = 32
TEMPLATE = CHAT_TEMPLATE.replace(
    "{% else %}{{ part.text }}",
    "{% elif part.type == 'audio' %}<|audio_start|><|audio_pad|><|audio_end|>{% else %}{{ part.text }}",
)
"""That of the embedded model, with sounds."""


def create(folder: Path, seed: int = 0) -> None:
    """Writes an untrained model with tokenizer and processor; the same seed gives the same weights."""
    import torch
    from transformers import (
        Qwen2AudioConfig,
        Qwen2AudioForConditionalGeneration,
        Qwen2AudioProcessor,
        WhisperFeatureExtractor,
    )

    words = tokenizer()
    tokens: dict[str, Any] = {
        "audio_token_id": words.convert_tokens_to_ids("<|audio_pad|>"),
        "tie_word_embeddings": True,
    }
    config = Qwen2AudioConfig(
        audio_config={
            "num_mel_bins": BINS,
            "d_model": 64,
            "encoder_layers": 2,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 128,
            "max_source_positions": 50 * SECONDS,
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": len(words),
            "hidden_size": 96,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 2048,
            "rope_parameters": {"rope_type": "default", "rope_theta": 8.0},
            "tie_word_embeddings": True,
        },
        dtype="float32",
        **tokens,
    )
    torch.manual_seed(seed)
    model = Qwen2AudioForConditionalGeneration(config)
    initialise(model)
    model.generation_config.eos_token_id = words.eos_token_id
    model.save_pretrained(folder)
    extractor = WhisperFeatureExtractor(feature_size=BINS, chunk_length=SECONDS)
    Qwen2AudioProcessor(extractor, words, TEMPLATE).save_pretrained(folder)


def tokenizer() -> PreTrainedTokenizerFast:
    """The embedded model's tokenizer, with tokens for sounds."""
    from transformers import PreTrainedTokenizerFast

    names = {
        "audio_token": "audio_pad",
        "audio_bos_token": "audio_start",
        "audio_eos_token": "audio_end",
        "image_token": "image_pad",
        "video_token": "video_pad",
        "vision_bos_token": "vision_start",
        "vision_eos_token": "vision_end",
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=deepcopy(train_tokenizer(shipped_corpus()).backend_tokenizer),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens={name: f"<|{token}|>" for name, token in names.items()},
    )
