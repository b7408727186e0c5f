"""Shared prefix: decoding attention of several responses to each prompt over one copy of the prompt's keys.

    prefix = SharedPrefix(keys_of_a_packed_row_of_prompts, lengths, n=8)
    model(input_ids_B1, position_ids, tree=prefix)      each call adds one token to every response
    prefix.keep(rows)                                   drops all other responses

A row attends to the prompt and to its own tokens. The two parts are computed separately and merged by their
log-sum-exp, as in Hydragen (arXiv 2402.05099, section 3.1), so that the keys of a prompt are read once for all of
its responses and never copied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

ROOM = 32
"""Number of own tokens by which the buffers grow at a time."""


class Layer(NamedTuple):
    """Keys and values of N prompts [N, kv heads, P, D], P the longest, and of B rows [B, kv heads, room, D]."""

    prompt_keys: torch.Tensor
    prompt_values: torch.Tensor
    own_keys: torch.Tensor
    own_values: torch.Tensor


class SharedPrefix:
    """B rows: at first `n` responses to each of N prompts. It is the argument `tree` of a forward call."""

    def __init__(self, keys: Mapping[int, tuple[torch.Tensor, torch.Tensor]], lengths: Sequence[int], n: int) -> None:
        """`keys` are keys and values [1, kv heads, T, D] of each attention layer, of the prompts in a row."""
        device = next(iter(keys.values()))[0].device
        # 1. The packed row of prompts becomes a padded batch: `index_NP` is the place in the row of each token.
        length_N = torch.tensor(lengths, device=device)
        token_P = torch.arange(int(length_N.max()), device=device)
        real_NP = token_P < length_N[:, None]
        index_NP = torch.where(real_NP, (length_N.cumsum(0) - length_N)[:, None] + token_P, 0)
        self.padding_NP = ~real_NP
        # 2. The rows, with the prompt that each answers.
        self.prompt_B = torch.arange(len(lengths), device=device).repeat_interleave(n)
        self.tokens = 0
        # 3. The keys of the prompts, copied once, and empty buffers for those of the rows.
        self.layers = {}
        for number, pair in keys.items():
            key, value = (x[0][:, index_NP].transpose(0, 1).contiguous() for x in pair)
            room = key.new_empty((len(self.prompt_B), key.shape[1], 0, key.shape[3]))
            self.layers[number] = Layer(key, value, room, room)
        self._index_rows()

    def _index_rows(self) -> None:
        """Sets `rows_NG`, the rows of each prompt padded with row 0, and `slot_B`, the place of each row in it."""
        count_N = self.prompt_B.bincount(minlength=len(self.padding_NP))
        first_N = count_N.cumsum(0) - count_N
        slot_G = torch.arange(int(count_N.max()), device=self.prompt_B.device)
        self.rows_NG = torch.where(slot_G < count_N[:, None], first_N[:, None] + slot_G, 0)
        offset_B = torch.arange(len(self.prompt_B), device=self.prompt_B.device) - first_N[self.prompt_B]
        self.slot_B = self.prompt_B * len(slot_G) + offset_B

    def grow(self) -> None:
        """Allocates space for one more token of every row."""
        if self.tokens == next(iter(self.layers.values())).own_keys.shape[2]:
            self.layers = {
                number: Layer(keys, values, *(torch.nn.functional.pad(x, (0, 0, 0, ROOM)) for x in own))
                for number, (keys, values, *own) in self.layers.items()
            }
        self.tokens += 1

    def keep(self, rows: torch.Tensor) -> None:
        """Drops all rows but these (ascending), and the prompts without rows."""
        prompt_B = self.prompt_B[rows]
        prompts, self.prompt_B = prompt_B.unique(return_inverse=True)
        all_prompts = len(prompts) == len(self.padding_NP)
        self.padding_NP = self.padding_NP[prompts]
        for number, layer in self.layers.items():
            shared = layer[:2] if all_prompts else (layer.prompt_keys[prompts], layer.prompt_values[prompts])
            self.layers[number] = Layer(*shared, layer.own_keys[rows], layer.own_values[rows])
        self._index_rows()

    def attend(
        self, module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """Attention of the newest tokens, with queries [B, heads, 1, D]; returns [B, 1, heads, D].

        It stores their keys and values.
        """
        # 1. The keys and values of the newest tokens go into the buffers.
        layer: Layer = self.layers[module.layer_idx]  # pyright: ignore[reportArgumentType]
        newest = self.tokens - 1
        layer.own_keys[:, :, newest], layer.own_values[:, :, newest] = key[:, :, 0], value[:, :, 0]
        rows, heads, _, width = query.shape
        kv_heads = key.shape[1]
        query = query.view(rows, kv_heads, heads // kv_heads, width) * scaling
        # 2. Over the prompts: the queries of all responses to a prompt, and of all heads that share a key head, are one
        # matrix [N, kv heads, G x repeats, D], so that its keys are read once.
        query_by_prompt = query[self.rows_NG].transpose(1, 2).flatten(2, 3)
        scores = torch.matmul(query_by_prompt, layer.prompt_keys.transpose(-1, -2)).float()
        scores.masked_fill_(self.padding_NP[:, None, None], float("-inf"))
        prompt_out, prompt_lse = (self._rows(x, query.shape[2]) for x in _softmax_part(scores, layer.prompt_values))
        # 3. Over each row's own tokens.
        own_keys, own_values = (x[:, :, : self.tokens] for x in (layer.own_keys, layer.own_values))
        own_out, own_lse = _softmax_part(torch.matmul(query, own_keys.transpose(-1, -2)).float(), own_values)
        # 4. The softmax over both is the mean of the two, each weighted by its share of the sum of exponentials:
        # exp(a) / (exp(a) + exp(b)) = sigmoid(a - b).
        share = torch.sigmoid(prompt_lse - own_lse)
        out = own_out.lerp(prompt_out, share).to(query.dtype)
        return out.view(rows, 1, heads, width)

    def _rows(self, x: torch.Tensor, repeats: int) -> torch.Tensor:
        """[N, kv heads, G x repeats, D] -> [B, kv heads, repeats, D]."""
        return x.unflatten(2, (-1, repeats)).transpose(1, 2).flatten(0, 1)[self.slot_B]


def _softmax_part(scores: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Output of an attention over some of the keys, and the log-sum-exp of its scores [..., 1], both float32."""
    top = scores.amax(-1, keepdim=True)
    weights = scores.sub_(top).exp_()
    total = weights.sum(-1, keepdim=True)
    return torch.matmul(weights.to(values.dtype), values).float() / total, top + total.log()
