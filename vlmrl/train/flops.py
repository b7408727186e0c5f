"""FLOPs of an update: the necessary arithmetic of its tokens and patches, from the model's own weights.

A multiplication with its addition counts 2. For each sequence computed, in the forward pass:

    language   2 * (weights of the linear maps of the language layers) a token
    attention  4 * heads * head size * layers a pair (query, key it sees): causal, so n tokens see n (n + 1) / 2
    head       2 * hidden size * vocabulary a scored token
    vision     2 * (weights of the patch embedding and the blocks) a patch, 2 * (weights of the mergers) a merged
               token, 4 * width a pair of patches of one frame, or of one window where the block has windows

The last token of a completion predicts nothing: it is scored, but not computed. The backward pass costs twice the
forward pass, which cancels in every ratio. Plain work repeats prompt and media for each of the G completions;
unique work has them once, and a completion sees them as before. Plain over unique is the bound of any speed-up
that comes from not repeating the prompt. Norms, rotary positions, softmax and the optimizer are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from vlmrl.errors import UserError
from vlmrl.models.encoded_prompt import EncodedPrompt
from vlmrl.models.packing import Work
from vlmrl.rollout.group import Group


class Flops(NamedTuple):
    """By part; of the forward pass, or of forward and backward pass."""

    language: float
    attention: float
    head: float
    vision: float

    @property
    def total(self) -> float:
        return sum(self)


@dataclass(frozen=True)
class Rates:
    """FLOPs of the forward pass of a model's language part, a unit of work each."""

    token: float
    pair: float
    scored: float

    @classmethod
    def of(cls, model: Any) -> Rates:
        """Of a transformers model. Of the experts of a layer, those a token goes through count."""
        text, layers = model.config.text_config, model.model.language_model.layers
        sparse = sum(hasattr(layer.mlp, "experts") for layer in layers)
        routed = 3 * text.hidden_size * text.moe_intermediate_size * text.num_experts_per_tok if sparse else 0
        head_size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        return cls(
            token=2 * (_weights([layers]) + sparse * routed),
            pair=4 * text.num_attention_heads * head_size * text.num_hidden_layers,
            scored=2 * text.hidden_size * text.vocab_size,
        )

    def flops(self, work: Work) -> Flops:
        return Flops(self.token * work.tokens, self.pair * work.pairs, self.scored * work.scored, work.vision)


def update_flops(model: Any, groups: Sequence[Group], share_prompt: bool) -> Flops:
    """Of one update of the transformers model on these groups, its prompts once for each group or each rollout."""
    if getattr(model.config.text_config, "num_experts", 0):
        raise UserError(f"model.path: {model.config.model_type!r} has experts, whose FLOPs are not counted yet")
    total = Work()
    for group in groups:
        prompt = Work.of_prompt(group.prompt, vision_flops(model.model.visual, group.prompt))
        for _ in range(1 if share_prompt else len(group.rollouts)):
            total += prompt
        for rollout in group.rollouts:
            total += Work.of_response(group.prompt, len(rollout.token_ids))
    return Flops(*(3 * part for part in Rates.of(model).flops(total)))


def vision_flops(visual: Any, prompt: EncodedPrompt) -> float:
    """Of one forward pass of the vision tower over the media of a prompt."""
    from transformers.vision_utils import get_vision_cu_seqlens, get_vision_window_index

    grids = [prompt.vision[key] for key in ("image_grid_thw", "video_grid_thw") if key in prompt.vision]
    if not grids:
        return 0.0
    grid, config = torch.cat(grids), visual.config
    per_patch = _weights([visual.patch_embed, visual.blocks])
    per_merged = _weights(module for name, module in visual.named_children() if "merger" in name)
    full = _squares(get_vision_cu_seqlens(grid))
    windows = [full] * len(visual.blocks)
    if hasattr(config, "fullatt_block_indexes"):
        _, ends = get_vision_window_index(grid, config.spatial_merge_size, config.window_size, config.patch_size)
        narrow = _squares(ends)
        windows = [full if n in config.fullatt_block_indexes else narrow for n in range(len(visual.blocks))]
    width = visual.blocks[0].attn.qkv.in_features
    merged = prompt.patches / config.spatial_merge_size**2
    return 2 * per_patch * prompt.patches + 2 * per_merged * merged + 4 * width * sum(windows)


def _squares(ends: torch.Tensor) -> float:
    return float(ends.diff().double().square().sum())


def _weights(modules: Iterable[nn.Module]) -> int:
    """Weights of the linear maps in these modules."""
    maps = [m for module in modules for m in module.modules() if isinstance(m, nn.Linear | nn.Conv3d)]
    return sum(m.weight.numel() for m in maps)
