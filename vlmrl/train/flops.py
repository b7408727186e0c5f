"""FLOPs of an update: the necessary arithmetic of its tokens and patches, counted from the model's weights.

A multiplication with its addition counts 2. The forward pass of a sequence takes:

    language   per token: 2 * (weights of the linear maps of the language layers)
    attention  per pair (query, key that it sees): 4 * heads * head size * layers; n tokens have n (n + 1) / 2 pairs
    recurrence per token of a gated delta net: 6 * heads * key size * value size (its state is read twice and updated)
    head       per scored token: 2 * hidden size * vocabulary
    vision     per patch: 2 * (weights of the patch embedding and the blocks); per merged token: 2 * (weights of what
               merges them); per pair of patches of a frame, or of a window in a block with windows: 4 * width
    sounds     per place of a convolution's output: 2 * its weights; per step: 2 * (weights of the layers); per pair of
               steps of a window: 4 * width; per token: 2 * (weights of what follows)

The last token of a completion predicts nothing: it is scored, but not computed. The backward pass costs twice the
forward pass, which cancels in every ratio. Plain work repeats prompt and media for each of the G completions. Unique
work has them once, and every completion sees them. Plain over unique is the largest speed-up that not repeating the
prompt can give. Norms, rotary positions, softmax and the optimizer are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from vlmrl.errors import UserError
from vlmrl.models.encoded_prompt import EncodedPrompt
from vlmrl.models.family import IMAGE, Kind, family_of, language_layers
from vlmrl.models.packing import Work
from vlmrl.rollout.group import Group


class Flops(NamedTuple):
    """FLOPs by part, of the forward pass or of forward and backward pass."""

    language: float
    attention: float
    head: float
    towers: float

    @property
    def total(self) -> float:
        return sum(self)


@dataclass(frozen=True)
class Rates:
    """FLOPs of a model's language part for each unit of work, in the forward pass."""

    token: float
    pair: float
    scored: float

    @classmethod
    def of(cls, model: Any) -> Rates:
        """The rates of a transformers model. Of a layer's experts, only those that a token uses count."""
        text, layers = model.config.text_config, language_layers(model)
        sparse = sum(hasattr(layer.mlp, "experts") for layer in layers)
        routed = 3 * text.hidden_size * text.moe_intermediate_size * text.num_experts_per_tok if sparse else 0
        head_size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        nets = [layer.linear_attn for layer in layers if hasattr(layer, "linear_attn")]
        states = sum(net.num_v_heads * net.head_k_dim * net.head_v_dim for net in nets)
        return cls(
            token=2 * (_weights([layers]) + sparse * routed) + 6 * states,
            pair=4 * text.num_attention_heads * head_size * (len(layers) - len(nets)),
            scored=2 * text.hidden_size * text.vocab_size,
        )

    def flops(self, work: Work) -> Flops:
        return Flops(self.token * work.tokens, self.pair * work.pairs, self.scored * work.scored, work.towers)


def update_flops(model: Any, groups: Sequence[Group], share_prompt: bool) -> Flops:
    """FLOPs of an update on these groups; prompts count once for each group (`share_prompt`) or for each rollout."""
    if getattr(model.config.text_config, "num_experts", 0):
        raise UserError(f"model.path: {model.config.model_type!r} has experts, whose FLOPs are not counted yet")
    total = Work()
    for group in groups:
        prompt = Work.of_prompt(group.prompt, tower_flops(model, group.prompt))
        for _ in range(1 if share_prompt else len(group.rollouts)):
            total += prompt
        for rollout in group.rollouts:
            total += Work.of_response(group.prompt, len(rollout.token_ids))
    return Flops(*(3 * part for part in Rates.of(model).flops(total)))


def tower_flops(model: Any, prompt: EncodedPrompt) -> float:
    """FLOPs of one forward pass of a transformers model's towers over the media of a prompt."""
    family = family_of(model.config.model_type)
    towers = [model.get_submodule(name) for name in family.towers]
    vision = vision_flops(towers[0], prompt) if IMAGE in family.kinds else 0.0
    sounds = [kind for kind in family.kinds if kind.name == "audio" and kind.sizes in prompt.features]
    return vision + sum(sound_flops(towers[IMAGE in family.kinds :], model.config, kind, prompt) for kind in sounds)


def sound_flops(towers: Sequence[Any], config: Any, kind: Kind, prompt: EncodedPrompt) -> float:
    """FLOPs of one forward pass of the audio tower, and of the projector if there is one, over a prompt's sounds."""
    tower, audio = towers[0], config.audio_config
    lengths = prompt.features[kind.sizes]
    tokens = float(kind.tokens(lengths, config).sum())
    # A tower that takes a window of padded frames computes all of them.
    padded = prompt.features[kind.values].ndim == 3
    steps = (lengths.new_full(lengths.shape, prompt.features[kind.values].shape[-1]) if padded else lengths).double()
    # 1. Convolutions: every weight at every place of the output.
    total, height = 0.0, float(audio.num_mel_bins)
    for conv in (module for module in tower.children() if isinstance(module, nn.Conv1d | nn.Conv2d)):
        steps = steps / conv.stride[-1]
        height = height / conv.stride[0] if isinstance(conv, nn.Conv2d) else 1.0
        total += 2 * conv.weight.numel() * float(steps.sum()) * height
    # 2. Layers, whose steps see their window.
    frames_of_step = 8 if height > 1 else 2
    window = getattr(audio, "n_window_infer", None) or 2 * getattr(audio, "n_window", 0) or math.inf
    seen = steps.clamp(max=window / frames_of_step)
    total += 2 * _weights([tower.layers]) * float(steps.sum())
    total += 4 * audio.d_model * len(tower.layers) * float((steps * seen).sum())
    # 3. What follows the layers, for each token.
    last = [module for module in tower.children() if isinstance(module, nn.Linear)]
    return total + 2 * _weights([*last, *towers[1:]]) * tokens


def vision_flops(visual: Any, prompt: EncodedPrompt) -> float:
    """FLOPs of one forward pass of the vision tower over the media of a prompt."""
    from transformers.vision_utils import get_vision_cu_seqlens, get_vision_window_index

    grids = [prompt.features[key] for key in ("image_grid_thw", "video_grid_thw") if key in prompt.features]
    if not grids:
        return 0.0
    grid, config = torch.cat(grids), visual.config
    per_patch = _weights([visual.patch_embed, visual.blocks])
    per_merged = _weights([visual]) - per_patch
    full = _squares(get_vision_cu_seqlens(grid))
    windows = [full] * len(visual.blocks)
    if hasattr(config, "fullatt_block_indexes"):
        _, ends = get_vision_window_index(grid, config.spatial_merge_size, config.window_size, config.patch_size)
        narrow = _squares(ends)
        windows = [full if n in config.fullatt_block_indexes else narrow for n in range(len(visual.blocks))]
    width = visual.blocks[0].norm1.weight.shape[0]
    merged = prompt.patches / config.spatial_merge_size**2
    return 2 * per_patch * prompt.patches + 2 * per_merged * merged + 4 * width * sum(windows)


def _squares(ends: torch.Tensor) -> float:
    return float(ends.diff().double().square().sum())


def _weights(modules: Iterable[nn.Module]) -> int:
    """Weights of the linear maps in these modules."""
    parts = (m for module in modules for m in module.modules())
    return sum(m.weight.numel() for m in parts if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d))
