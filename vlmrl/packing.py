"""Group-once packing: each prompt, with its media, stands once in a row for all of its responses.

    rows = pack(items, row_tokens=4096)          share_prompt=False repeats the prompt: the reference path

A row is [prompt 1, response 1.1, ..., response 1.G, prompt 2, ...] without padding. Positions of every
response continue its prompt. The last token of a response predicts nothing, so it is not in the row.
Tensor suffixes: T tokens of the row, L scored response tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from vlmrl.attention import Branch, Tree
from vlmrl.formatting import EncodedPrompt


@dataclass(frozen=True, slots=True)
class Item:
    """A prompt and the responses to be scored on it; `name` finds them again in the row's spans."""

    name: int
    prompt: EncodedPrompt
    responses: Sequence[Sequence[int]]
    """Token ids, each with its stop token; empty responses are not allowed."""
    first: int = 0
    """Number of the first of these responses, when a group is split over rows."""

    @property
    def tokens(self) -> int:
        return len(self.prompt) + sum(len(response) - 1 for response in self.responses)


@dataclass(frozen=True, slots=True)
class Span:
    """Where the tokens of one response stand in the L scored tokens of a row."""

    item: int
    response: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Row:
    """One forward pass."""

    inputs: dict[str, torch.Tensor | Tree]
    """Keyword arguments of the model: ids, positions, media, tree."""
    predictor_L: torch.Tensor
    """Row index whose hidden state predicts each scored token."""
    target_L: torch.Tensor
    spans: list[Span]
    items: list[Item]

    @property
    def tokens(self) -> int:
        ids = self.inputs["input_ids"]
        assert isinstance(ids, torch.Tensor)
        return ids.shape[1]


def pack(items: Sequence[Item], row_tokens: int, *, share_prompt: bool = True) -> list[Row]:
    """Rows of at most `row_tokens` tokens where that is possible: one response with its prompt is never cut.

    Prompts of similar length share a row, because attention pads to the longest.
    """
    if not share_prompt:
        items = [Item(i.name, i.prompt, [r], i.first + n) for i in items for n, r in enumerate(i.responses)]
    pieces = [piece for item in items for piece in _split(item, row_tokens)]
    pieces.sort(key=lambda piece: (-len(piece.prompt), piece.name, piece.first))
    rows: list[list[Item]] = []
    filled = 0
    for piece in pieces:
        if not rows or filled + piece.tokens > row_tokens:
            rows.append([])
            filled = 0
        rows[-1].append(piece)
        filled += piece.tokens
    return [_build(row) for row in rows]


def _split(item: Item, row_tokens: int) -> Iterator[Item]:
    """The item in as few pieces as fit a row each."""
    start, filled = 0, len(item.prompt)
    for number, response in enumerate(item.responses):
        if number > start and filled + len(response) - 1 > row_tokens:
            yield Item(item.name, item.prompt, item.responses[start:number], item.first + start)
            start, filled = number, len(item.prompt)
        filled += len(response) - 1
    yield Item(item.name, item.prompt, item.responses[start:], item.first + start)


def _build(items: list[Item]) -> Row:
    ids, types, positions, predictors, targets, spans = [], [], [], [], [], []
    cursor = scored = 0
    for item in items:
        prompt = item.prompt
        ids.append(prompt.input_ids)
        types.append(prompt.token_types)
        positions.append(prompt.positions)
        cursor += len(prompt)
        last = cursor - 1
        for offset, response in enumerate(item.responses):
            fed = len(response) - 1
            ids.append(torch.tensor(response[:fed], dtype=torch.long))
            types.append(torch.zeros(fed, dtype=torch.long))
            positions.append((torch.arange(fed) + prompt.next_position).expand(3, -1))
            predictors.append(torch.tensor([last, *range(cursor, cursor + fed)]))
            targets.append(torch.tensor(response, dtype=torch.long))
            spans.append(Span(item.name, item.first + offset, scored, scored + fed + 1))
            cursor += fed
            scored += fed + 1
    inputs: dict[str, torch.Tensor | Tree] = {
        "input_ids": torch.cat(ids)[None],
        "mm_token_type_ids": torch.cat(types)[None],
        "position_ids": torch.cat(positions, dim=1)[:, None],
        "tree": Tree(tuple(Branch(len(item.prompt), tuple(len(r) - 1 for r in item.responses)) for item in items)),
        **_media(items),
    }
    return Row(inputs, torch.cat(predictors), torch.cat(targets), spans, items)


def _media(items: list[Item]) -> dict[str, torch.Tensor]:
    keys = dict.fromkeys(key for item in items for key in item.prompt.vision)
    return {key: torch.cat([i.prompt.vision[key] for i in items if key in i.prompt.vision]) for key in keys}
