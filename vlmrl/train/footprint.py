"""Footprint: the memory that an update takes besides the weights and the optimizer's state, from the work of its rows.

The memory that autograd saves for a row is linear in its tokens, scored tokens and patches. The coefficients are
measured: the model makes forward passes over five rows of some dozen tokens, and every storage that autograd saves is
counted. So they are exact for any family, adapter, compute type, frozen part and gradient checkpointing. Upper bounds
of temporary memory are added: a chunk of logits, the gradients inside one layer, and with checkpointing the activations
of that layer once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakSet

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from vlmrl.models.encoded_prompt import EncodedPrompt
from vlmrl.models.logprobs import CHUNK, token_scores
from vlmrl.models.packing import Item, Row, Work, build
from vlmrl.models.policy import Policy

MARGIN = 1.1
"""Factor for memory that is not counted: indices, masks, and buffers of libraries."""


class Saved(NamedTuple):
    """Bytes that autograd saves in a forward pass: a constant, and bytes for each unit of work."""

    fixed: float
    """Copies of weights in the compute type."""
    token: float
    scored: float
    patch: float
    sound: float
    """For each value of the features of sounds."""

    def bytes(self, work: Work) -> float:
        linear = self.token * work.tokens + self.scored * work.scored
        return self.fixed + linear + self.patch * work.patches + self.sound * work.sounds


@dataclass(frozen=True)
class Footprint:
    """Coefficients, in bytes, of the memory of a policy's updates."""

    saved: Saved
    layer_token: float
    """Temporary, in the backward pass of a language layer."""
    block_patch: float
    """Temporary, in a block of the vision tower: in its backward pass, or in the forward pass of a frozen one."""
    layer_sound: float
    """The same of a value of sounds, in a layer of the audio tower."""
    input_patch: float
    """Pixel values, where autograd does not save them itself."""
    logits: float
    """Logits of a chunk, with their gradient."""
    head: float
    """A second gradient of the output head, before it is accumulated, and the head's copy in the compute type."""
    gradients: float
    kept_token: float
    """Keys and values of a kept prompt token beside those that are saved: a copy in the chunk, and their gradients."""

    @classmethod
    def of(cls, policy: Policy) -> Footprint:
        """Measures the policy; its weights and the random state do not change."""
        text: Any = policy.core.config.text_config
        weight = policy.core.lm_head.weight
        saved, plain = _count(policy, training=True), _count(policy, training=False)
        # The gradients that exist at the same time inside a layer, three of the MLP's width and two of the model's, are
        # half of what the layer saves. Recomputed activations take a little more than saved ones; a recurrent layer
        # takes more than the mean of all layers (measured).
        recomputed = 3.0 if policy.recurrent else 2.0
        live_share = recomputed if saved.token < plain.token else 0.5
        head_size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        trained = [parameter for parameter in policy.model.parameters() if parameter.requires_grad]
        return cls(
            saved=saved,
            layer_token=live_share * plain.token / text.num_hidden_layers,
            block_patch=_block_patch(policy, live_share * plain.patch),
            layer_sound=_layer_sound(policy, live_share * plain.sound),
            input_patch=_input_patch(policy),
            logits=3 * 4.0 * CHUNK * weight.shape[0],
            head=weight.numel() * (4.0 * weight.requires_grad + 2.0 * (policy.compute != torch.float32)),
            gradients=sum(parameter.numel() * parameter.element_size() for parameter in trained),
            kept_token=2 * policy.compute.itemsize * 2 * text.num_key_value_heads * head_size * text.num_hidden_layers,
        )

    def row(self, work: Work) -> float:
        """Peak of a row's forward and backward pass, without accumulated gradients."""
        kept = self.saved.bytes(work) + self.input_patch * work.patches + self.kept_token * work.kept
        head = self.logits * min(1.0, work.scored / CHUNK)
        layer = self.layer_token * work.tokens
        in_tower = max(self.block_patch * work.patches, self.layer_sound * work.sounds)
        in_tower -= self.saved.token * work.tokens  # nothing of the layers is saved then
        return MARGIN * (kept + self.head + max(head, layer, in_tower))

    def update(self, works: Sequence[Work]) -> float:
        """Peak over the passes in this order, with accumulated gradients; the first has none yet, if it is a row."""
        first, *later = (self.row(work) for work in works)
        return max(first + bool(works[0].kept) * self.gradients, self.gradients + max(later, default=self.head))


def _trains(tower: Any) -> bool:
    return any(parameter.requires_grad for parameter in tower.parameters())


def _block_patch(policy: Policy, live: float) -> float:
    """Temporary bytes for each patch in a block of the vision tower; `live`, in the backward pass of all blocks."""
    if (tower := policy.visual) is None:
        return 0.0
    if _trains(tower):
        return live / len(tower.blocks)
    width = tower.blocks[0].norm1.weight.shape[0]
    linear = (m for m in tower.blocks[0].modules() if isinstance(m, nn.Linear))
    return 4.0 * (8 * width + 3 * max(4 * width, *(m.out_features for m in linear)))


def _input_patch(policy: Policy) -> float:
    """Bytes of the pixel values of a patch, where autograd does not save them itself."""
    if (tower := policy.visual) is None or (_trains(tower) and policy.compute == torch.float32):
        return 0.0
    return 4.0 * _patch_size(policy.core.config.vision_config)


def _layer_sound(policy: Policy, live: float) -> float:
    """Temporary bytes for each value of sounds in a layer of the audio tower; `live`, in that of all layers."""
    if (audio := getattr(policy.core.config, "audio_config", None)) is None:
        return 0.0
    if _trains(policy.core.get_submodule(policy.formatter.family.towers[policy.visual is not None])):
        return live / audio.encoder_layers
    # A step of the layers is at least two frames.
    return 4.0 * (8 * audio.d_model + 3 * audio.encoder_ffn_dim) / (2 * audio.num_mel_bins)


def _count(policy: Policy, training: bool) -> Saved:
    """Coefficients of a forward pass in this mode: transformers checkpoints gradients only in training mode."""
    merge = policy.visual.config.spatial_merge_size if policy.visual is not None else 0
    # 1. Bytes saved for rows (text tokens, side of the image in patches, sounds, response tokens) that differ in one
    # size. Rows of text differ by 64 tokens, a block of a recurrent layer; tokens of an image replace text.
    rows = [(32, 0, 0, 2), (96, 0, 0, 2), (32, 0, 0, 66)]
    rows += [(28, 2 * merge, 0, 2), (16, 4 * merge, 0, 2)] if merge else []
    rows += [(32, 0, 1, 2)] if "audio" in policy.formatter.family.modalities else []
    modes = [(module, module.training) for module in policy.model.modules()]
    policy.model.train(training)
    devices = [policy.device] if policy.device.type == "cuda" else []
    with torch.random.fork_rng(devices):  # dropout uses it
        built = [_row(policy, *sizes) for sizes in rows]
        counts = [_saved_bytes(policy, row) for row in built]
    for module, mode in modes:
        module.training = mode
    # 2. The differences are the coefficients. A response of n tokens has n - 1 computed and n scored tokens.
    (short, long, scored_more), of_media = counts[:3], counts[3:]
    token = (long - short) / 64
    scored = (scored_more - short) / 64 - token
    patch = sound = 0.0
    if merge:
        patch = (of_media[1] - of_media[0]) / (12 * merge**2)
    if "audio" in policy.formatter.family.modalities:
        heard = built[-1].items[0].prompt
        sound = (of_media[-1] - short - token * (len(heard) - 32)) / heard.sound_values
    return Saved(short - 33 * token - 2 * scored, token, scored, patch, sound)


def _saved_bytes(policy: Policy, row: Row) -> int:
    weights = {_storage(x) for x in [*policy.model.parameters(), *policy.model.buffers()]}
    # What a graph saves that is thrown away, as that of a final state that nobody wants, is freed before the end.
    held: WeakSet[_Held] = WeakSet()

    def hold(saved: torch.Tensor) -> _Held:
        held.add(one := _Held(saved))
        return one

    inputs = {key: value.to(policy.device) for key, value in row.inputs.items()}
    nothing_banned = torch.zeros(0, dtype=torch.long, device=policy.device)
    # Not in `policy.forward_context`, because these images must not enter the vision cache.
    with torch.enable_grad(), saved_tensors_hooks(hold, lambda one: one.saved), policy.autocast():
        hidden_TH = policy.hidden_states(**inputs, use_cache=False)[0]
        hidden_LH, target_L = hidden_TH[row.predictor_L.to(policy.device)], row.target_L.to(policy.device)
        _scores = token_scores(hidden_LH, policy.core.lm_head.weight, target_L, nothing_banned, compute=policy.compute)
    # While `_scores` holds the graph, no two storages share an address.
    sizes_by_storage = {_storage(one.saved): one.saved.untyped_storage().nbytes() for one in held}
    return sum(size for storage, size in sizes_by_storage.items() if storage not in weights)


class _Held:
    """A tensor that a graph holds: it lives as long as the graph does."""

    def __init__(self, saved: torch.Tensor) -> None:
        self.saved = saved


def _storage(x: torch.Tensor) -> int:
    return x.untyped_storage()._cdata


def _row(policy: Policy, text: int, side: int, sounds: int, response: int) -> Row:
    """A row of `text` tokens, an image of side x side patches, sounds of one length, and one response."""
    config, family = policy.core.config, policy.formatter.family
    word = int(policy.formatter.tokenizer.eos_token_id)
    ids, features = [word] * text, {}
    if side:
        ids += [config.image_token_id] * (side // config.vision_config.spatial_merge_size) ** 2
        features["pixel_values"] = torch.zeros(side * side, _patch_size(config.vision_config))
        features["image_grid_thw"] = torch.tensor([[1, side, side]])
    if sounds:
        # Sounds that their windows do not divide: padding and its mask take memory too.
        kind, audio = family.kinds[-1], config.audio_config
        length = audio.max_source_positions if family.whole_window else 3 * audio.n_window
        lengths, bins = torch.full((sounds,), length), audio.num_mel_bins
        shape = (sounds, bins, 2 * length) if family.whole_window else (sounds * length, bins)
        features |= {kind.values: torch.zeros(shape), kind.sizes: lengths}
        ids += [config.audio_token_id] * int(kind.tokens(lengths, config).sum())
    tokens = torch.tensor(ids)
    types = torch.zeros_like(tokens)
    for kind in family.kinds:
        types[tokens == getattr(config, f"{kind.name}_token_id")] = kind.token_type
    places = torch.arange(len(ids)).expand(3, -1)
    prompt = EncodedPrompt("", tokens, types, places, len(ids), features, family.kinds)
    return build([Item(0, prompt, [[word] * response])], tree=policy.sharing == "tree")


def _patch_size(vision: Any) -> int:
    """Number of values of a patch."""
    channels = getattr(vision, "in_channels", None) or vision.in_chans
    return channels * vision.temporal_patch_size * vision.patch_size**2
