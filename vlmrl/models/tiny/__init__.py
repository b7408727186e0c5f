"""The embedded default: a Qwen2.5-VL of 2.8 M parameters with its own tokenizer and processor.

`FOLDER` holds the trained model. It was cold-started on the synthetic recipe and stopped while there was much left to
learn. `create(folder, seed)` writes an untrained one; `scripts/build_tiny_model.sh` is the whole recipe.

It is not just a scaled-down default config: at these widths the usual initialisation (std 0.02) and rotary base (1e6,
nearly position-blind in a head of width 32) learn far more slowly than fan-in scaling and base 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerFast

FOLDER = Path(__file__).parent

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
VOCABULARY = 352

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}"
    "{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def create(folder: Path, seed: int = 0) -> None:
    """Writes an untrained model with tokenizer and processor; the same seed gives the same weights."""
    import torch
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    tokenizer = train_tokenizer(shipped_corpus())
    ids = {name: tokenizer.get_vocab()[name] for name in SPECIAL_TOKENS}
    pixels = {"shortest_edge": 28 * 28, "longest_edge": 560 * 560}
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=pixels),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=pixels),
        chat_template=CHAT_TEMPLATE,
    )
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": 192,
            "intermediate_size": 512,
            "num_hidden_layers": 4,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": 8.0, "mrope_section": [4, 6, 6]},
            "tie_word_embeddings": True,
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={
            "depth": 4,
            "hidden_size": 128,
            "num_heads": 4,
            "intermediate_size": 256,
            "out_hidden_size": 192,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 112,
            "fullatt_block_indexes": [0, 1, 2, 3],
            "tokens_per_second": 2,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
        dtype="float32",
    )
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(config)
    initialise(model)
    model.generation_config.eos_token_id = ids["<|im_end|>"]
    model.generation_config.pad_token_id = ids["<|endoftext|>"]
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def initialise(model: nn.Module) -> None:
    """Fan-in scaling; projections into the residual stream are scaled down by the depth."""
    import torch
    from torch import nn

    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, nn.Embedding):
                module.weight.normal_(std=0.07)
            elif isinstance(module, nn.Linear | nn.Conv1d | nn.Conv3d) and not name.endswith("lm_head"):
                std = module.weight[0].numel() ** -0.5
                if name.endswith(("o_proj", "out_proj", "down_proj", "fc2", "attn.proj")):
                    std /= (2 * 4) ** 0.5
                module.weight.normal_(std=std)
                if module.bias is not None:
                    module.bias.zero_()


def shipped_corpus() -> list[str]:
    """Texts of the synthetic recipe."""
    from vlmrl import catalog

    samples = catalog.load("recipes", "synthetic").build(300, seed=1)
    return [message.content.replace("<image>", "") for sample in samples for message in sample.messages]


def train_tokenizer(corpus: Sequence[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE; digits and capitals are never merged, so that numbers and OCR strings spell out."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[0-9A-Z]| ?[a-z]+|\s|[^\s0-9A-Za-z]+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 2,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*corpus, "user\n", "assistant\n", "system\n"], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=None,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=4096,
        extra_special_tokens={
            "image_token": "<|image_pad|>",
            "video_token": "<|video_pad|>",
            "vision_bos_token": "<|vision_start|>",
            "vision_eos_token": "<|vision_end|>",
        },
    )
