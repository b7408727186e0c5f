"""Shared prefix: decoding attention of several responses to each prompt over one copy of the prompt's keys.

    prefix = SharedPrefix(cache_of_a_packed_row_of_prompts, lengths, n=8)
    model(input_ids_B1, position_ids, tree=prefix)      each call adds one token to every response
    prefix.keep(rows)                                   only these responses go on

The two parts of a row's attention, over the prompt and over its own tokens, are computed apart and merged by
their log-sum-exp, as in Hydragen (arXiv 2402.05099, section 3.1), so that the keys of a prompt are read once
for all its responses and never copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

ROOM = 32
"""Own tokens for which memory is taken at a time."""


class Layer(NamedTuple):
    """Keys and values: of N prompts of at most P tokens [N, kv heads, P, D], of B rows [B, kv heads, room, D]."""

    prompt_keys: torch.Tensor
    prompt_values: torch.Tensor
    own_keys: torch.Tensor
    own_values: torch.Tensor


class SharedPrefix:
    """B rows, responses to N prompts, `n` to each at first. Passes as the `tree` of a forward call."""

    def __init__(self, cache: Any, lengths: Sequence[int], n: int) -> None:
        device = cache.layers[0].keys.device
        length_N = torch.tensor(lengths, device=device)
        token_P = torch.arange(int(length_N.max()), device=device)
        real_NP = token_P < length_N[:, None]
        table_NP = torch.where(real_NP, (length_N.cumsum(0) - length_N)[:, None] + token_P, 0)
        self.owner_B = torch.arange(len(lengths), device=device).repeat_interleave(n)
        self.padding_NP = ~real_NP
        self.tokens = 0
        self.layers = []
        for layer in cache.layers:
            keys, values = (x[0][:, table_NP].transpose(0, 1).contiguous() for x in (layer.keys, layer.values))
            room = keys.new_empty((len(self.owner_B), keys.shape[1], 0, keys.shape[3]))
            self.layers.append(Layer(keys, values, room, room))
        self._seat()

    def _seat(self) -> None:
        """`seats_NG`: the rows of each prompt, padded with row 0; `seat_B`: where each row is in it."""
        count_N = self.owner_B.bincount(minlength=len(self.padding_NP))
        first_N = count_N.cumsum(0) - count_N
        seat_G = torch.arange(int(count_N.max()), device=self.owner_B.device)
        self.seats_NG = torch.where(seat_G < count_N[:, None], first_N[:, None] + seat_G, 0)
        place_B = torch.arange(len(self.owner_B), device=self.owner_B.device) - first_N[self.owner_B]
        self.seat_B = self.owner_B * len(seat_G) + place_B

    def grow(self) -> None:
        """Makes room for one more token of every row."""
        if self.tokens == self.layers[0].own_keys.shape[2]:
            self.layers = [
                Layer(keys, values, *(torch.nn.functional.pad(x, (0, 0, 0, ROOM)) for x in own))
                for keys, values, *own in self.layers
            ]
        self.tokens += 1

    def keep(self, rows: torch.Tensor) -> None:
        """Drops all rows but these (ascending), and prompts that have none left."""
        owner_B = self.owner_B[rows]
        prompts, self.owner_B = owner_B.unique(return_inverse=True)
        self.padding_NP = self.padding_NP[prompts]
        all_prompts = len(prompts) == len(self.layers[0].prompt_keys)
        for number, layer in enumerate(self.layers):
            of_prompts = layer[:2] if all_prompts else (layer.prompt_keys[prompts], layer.prompt_values[prompts])
            self.layers[number] = Layer(*of_prompts, layer.own_keys[rows], layer.own_values[rows])
        self._seat()

    def attend(
        self, module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """Queries [B, heads, 1, D] of the newest tokens, whose keys and values are added; [B, 1, heads, D]."""
        layer: Layer = self.layers[module.layer_idx]  # pyright: ignore[reportArgumentType, reportCallIssue]
        newest = self.tokens - 1
        layer.own_keys[:, :, newest], layer.own_values[:, :, newest] = key[:, :, 0], value[:, :, 0]
        rows, heads, _, width = query.shape
        kv_heads = key.shape[1]
        query = query.view(rows, kv_heads, heads // kv_heads, width) * scaling
        # [N, kv heads, G x repeats, D]
        together = query[self.seats_NG].transpose(1, 2).flatten(2, 3)
        scores = torch.matmul(together, layer.prompt_keys.transpose(-1, -2)).float()
        scores.masked_fill_(self.padding_NP[:, None, None], float("-inf"))
        prompt_part = [self._rows(x, query.shape[2]) for x in _weigh(scores, layer.prompt_values)]
        own_keys, own_values = (x[:, :, : self.tokens] for x in (layer.own_keys, layer.own_values))
        own_part = _weigh(torch.matmul(query, own_keys.transpose(-1, -2)).float(), own_values)
        # The softmax over both parts is that of each, weighted by its share of the sum of exponentials.
        share = torch.sigmoid(prompt_part[1] - own_part[1])
        out = own_part[0].lerp(prompt_part[0], share).to(query.dtype)
        return out.view(rows, 1, heads, width)

    def _rows(self, x: torch.Tensor, repeats: int) -> torch.Tensor:
        """[N, kv heads, G x repeats, D] -> [B, kv heads, repeats, D]."""
        return x.unflatten(2, (-1, repeats)).transpose(1, 2).flatten(0, 1)[self.seat_B]


def _weigh(scores: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The attention's output and the log-sum-exp of its scores [..., 1], both float32."""
    top = scores.amax(-1, keepdim=True)
    weights = scores.sub_(top).exp_()
    total = weights.sum(-1, keepdim=True)
    return torch.matmul(weights.to(values.dtype), values).float() / total, top + total.log()
