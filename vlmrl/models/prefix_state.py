"""Prefix state: what the layers keep of a prompt, as leaves that collect the gradients of everything that runs from it.

    state = PrefixState(policy, prompt)        the prompt, with its media, runs once
    hidden = state.run(input_ids_BT)           responses run from it; call backward() on their loss before the next ones
    state.backward()                           one backward pass of the prompt, with the gradients of all of them

An attention layer keeps keys and values, a recurrent layer (gated delta net) its last state and the last inputs of its
convolution. They are assigned, never written in place, so autograd can go through them. The model file is unchanged:
attention takes the keys from the argument `tree`, a recurrent layer takes its state from `past_key_values`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch.nn.functional import pad

from vlmrl.models.attention.tree import Attends, Branch, Tree
from vlmrl.models.encoded_prompt import EncodedPrompt
from vlmrl.models.packing import prompt_inputs
from vlmrl.models.policy import Policy

State = tuple[torch.Tensor, torch.Tensor]
"""Keys and values [B, kv heads, T, D]; or state [B, heads, K, V] and last inputs of the convolution [B, C, N]."""


class Recurrence:
    """Stands in for transformers' cache in the recurrent layers of a pass: each starts from `start` and sets `end`.

    The classes of transformers copy into tensors that autograd needs unchanged.
    """

    def __init__(self, start: Mapping[int, State] | None = None) -> None:
        self.start = start or {}
        self.end: dict[int, State] = {}
        # `record_past` keeps the layer from a kernel that changes the convolution's inputs in place.
        self.layers = {
            layer: SimpleNamespace(recurrent_states=[state], record_past=True)
            for layer, (state, _) in self.start.items()
        }
        self._tail: dict[int, torch.Tensor] = {}

    def has_previous_state(self, layer_idx: int, state_idx: int) -> bool:
        return layer_idx in self.start

    def update(self, key: torch.Tensor, value: torch.Tensor, layer_idx: int) -> State:
        """Attention layers: keys go through `tree`."""
        return key, value

    def update_conv_state(self, inputs_BCT: torch.Tensor, layer_idx: int, conv_kernel_size: int) -> torch.Tensor:
        """The inputs of the convolution, after the last ones of the start."""
        if layer_idx in self.start:
            inputs_BCT = torch.cat([self.start[layer_idx][1].to(inputs_BCT), inputs_BCT], dim=-1)
        kept = conv_kernel_size - 1
        self._tail[layer_idx] = pad(inputs_BCT, (max(0, kept - inputs_BCT.shape[-1]), 0))[..., -kept:]
        return inputs_BCT

    def update_recurrent_state(self, state: torch.Tensor, layer_idx: int) -> torch.Tensor:
        self.end[layer_idx] = state, self._tail[layer_idx]
        return state


class Recording:
    """Attention over a tree that keeps the keys and values of every layer."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.keys: dict[int, State] = {}

    def attend(
        self, module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        layer: Any = module.layer_idx
        self.keys[layer] = key, value
        return self.tree.attend(module, query, key, value, scaling)


class Continuation:
    """Attention of B responses of T tokens over the keys of their prompt, which are not repeated, and their own."""

    def __init__(self, keys: Mapping[int, State], tree: Tree) -> None:
        self.keys = keys
        self.tree = tree

    def attend(
        self, module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        # The batch becomes a packed row whose prompt has keys only.
        rows = query.shape[0]
        query, *own = (x.transpose(0, 1).flatten(1, 2)[None] for x in (query, key, value))
        layer: Any = module.layer_idx
        key, value = (torch.cat(parts, dim=2) for parts in zip(self.keys[layer], own, strict=True))
        return self.tree.attend(module, query, key, value, scaling)[0].unflatten(0, (rows, -1))


class Filled(NamedTuple):
    """What a pass over N prompts leaves; keys and states by layer."""

    hidden_TH: torch.Tensor
    keys: dict[int, State]
    recurrent: dict[int, State]


def fill(policy: Policy, prompts: Sequence[EncodedPrompt]) -> Filled:
    """Runs prompts as one packed row; those of a model with recurrent layers one at a time."""
    assert len(prompts) == 1 or not policy.recurrent, "a recurrence would run through the row"
    recording = Recording(Tree(tuple(Branch(len(prompt), ()) for prompt in prompts), policy.device))
    recurrence = Recurrence()
    inputs = {key: value.to(policy.device) for key, value in prompt_inputs(prompts).items()}
    with policy.forward_context(prompts):
        hidden_TH = run(policy, recording, recurrence, **inputs)[0]
    return Filled(hidden_TH, recording.keys, recurrence.end)


def run(policy: Policy, tree: Attends, recurrence: Recurrence, **inputs: torch.Tensor) -> torch.Tensor:
    """Last hidden states [B, T, H] of a pass with this attention, which starts from the states of `recurrence`."""
    cache: dict[str, Any] = {}
    if policy.recurrent:
        # The masks are given, so that transformers does not ask the cache for its sizes.
        masks = dict.fromkeys(policy.core.config.text_config.layer_types)
        cache = {"past_key_values": recurrence, "attention_mask": masks}
    return policy.hidden_states(**inputs, tree=tree, use_cache=False, **cache)


class PrefixState:
    """The state of one prompt. Without gradients it is only the state."""

    def __init__(self, policy: Policy, prompt: EncodedPrompt) -> None:
        self.policy = policy
        self.prompt = prompt
        self._outputs: list[tuple[torch.Tensor, torch.Tensor]] = []
        hidden_TH, keys, recurrent = fill(policy, [prompt])
        self.last_1H = self._leaf(hidden_TH[-1:])
        self.keys = {layer: (self._leaf(a), self._leaf(b)) for layer, (a, b) in keys.items()}
        self.recurrent = {layer: (self._leaf(a), self._leaf(b)) for layer, (a, b) in recurrent.items()}

    def _leaf(self, output: torch.Tensor) -> torch.Tensor:
        leaf = output.detach()
        if output.requires_grad:
            self._outputs.append((output, leaf.requires_grad_()))
        return leaf

    def run(self, ids_BT: torch.Tensor) -> torch.Tensor:
        """Hidden states [B, T + 1, H] of B responses that follow the prompt, after the one that the prompt leaves."""
        (count, width), device = ids_BT.shape, self.policy.device
        last_B1H = self.last_1H.expand(count, 1, -1)
        if not width:
            return last_B1H
        tree = Tree((Branch(len(self.prompt), (width,) * count),), device, cached=len(self.prompt))
        # FLA's kernels do not take an expanded state.
        start = {
            layer: (state.expand(count, -1, -1, -1).contiguous(), tail.expand(count, -1, -1))
            for layer, (state, tail) in self.recurrent.items()
        }
        position_T = torch.arange(width, device=device) + self.prompt.next_position
        inputs = {"input_ids": ids_BT.to(device), "position_ids": position_T.expand(3, count, -1)}
        with self.policy.autocast():
            hidden_BTH = run(self.policy, Continuation(self.keys, tree), Recurrence(start), **inputs)
        return torch.cat([last_B1H, hidden_BTH], dim=1)

    def backward(self) -> None:
        """Carries the gradients of the leaves through the prompt; once, after the last response."""
        reached = [(output, leaf.grad) for output, leaf in self._outputs if leaf.grad is not None]
        self._outputs = []
        if reached:
            torch.autograd.backward([output for output, _ in reached], [gradient for _, gradient in reached])
