"""Fork: a prompt that is computed once, and its responses that run from what it left behind, a chunk at a time.

    fork = Fork(item, [[0, 3], [1, 2]])
    for spans, scores in score(policy, fork): ...         vlmrl.models.logprobs

A chunk is a batch of responses, padded on the right: neither attention nor a recurrence carries padding to a real
token. Memory is that of the prompt and one chunk, however large the group is. The last token of a response predicts
nothing, so it is not computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

import torch
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from vlmrl.models.attention.sharing import Sharing
from vlmrl.models.packing import Item, Row, Span, Work, build, repeat


@dataclass(frozen=True, slots=True)
class Chunk:
    """B responses, of which at most T tokens are computed."""

    input_ids_BT: torch.Tensor
    length_B: torch.Tensor
    """Tokens of each response, which are all scored."""
    target_L: torch.Tensor
    spans: list[Span]

    @property
    def predictor_BS(self) -> torch.Tensor:
        """Which of S = T + 1 hidden states predict a token: that of the prompt, then those of the computed tokens."""
        return torch.arange(self.input_ids_BT.shape[1] + 1) < self.length_B[:, None]


@dataclass(frozen=True)
class Fork:
    """An item as a prefix and chunks of its responses."""

    item: Item
    order: Sequence[Sequence[int]]
    """Places in the item of the responses of each chunk."""

    @property
    def items(self) -> list[Item]:
        return [self.item]

    @property
    def spans(self) -> list[Span]:
        return [span for chunk in self.chunks for span in chunk.spans]

    @cached_property
    def chunks(self) -> list[Chunk]:
        numbers = self.item.numbers or range(len(self.item.responses))
        chunks, scored = [], 0
        for chosen in self.order:
            responses = [torch.tensor(self.item.responses[n]) for n in chosen]
            bounds = [*accumulate(map(len, responses), initial=scored)]
            spans = [
                Span(self.item.name, numbers[n], a, b) for n, a, b in zip(chosen, bounds, bounds[1:], strict=False)
            ]
            scored = bounds[-1]
            ids_BT = pad_sequence([response[:-1] for response in responses], batch_first=True)
            if ids_BT.shape[1] == 1:  # recurrent layers have a kernel for single tokens, which has no backward pass
                ids_BT = pad(ids_BT, (0, 1))
            length_B = torch.tensor([len(response) for response in responses])
            chunks.append(Chunk(ids_BT, length_B, torch.cat(responses), spans))
        return chunks


def rows_of(item: Item, sharing: Sharing) -> list[Row | Fork]:
    """The passes over an item whose size is not limited."""
    if sharing == "fork" and len(item.responses) > 1:
        return [Fork(item, [range(len(item.responses))])]
    if sharing == "tree":
        return [build([item])]
    return [build([one], tree=False) for one in repeat([item])]


def chunk_work(item: Item, chosen: Sequence[int], block: int = 1) -> Work:
    """Work of a chunk with its padding, where a response takes a multiple of `block` tokens."""
    responses = [item.responses[n] for n in chosen]
    computed = rounded(max(map(len, responses)) - 1, block)
    padded = sum((Work.of_response(item.prompt, computed + 1) for _ in responses), start=Work())
    return replace(padded, scored=sum(map(len, responses)))


def rounded(tokens: int, block: int) -> int:
    """The next multiple of `block`."""
    return -(-tokens // block) * block
