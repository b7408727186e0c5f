"""Group-once packing: each prompt, with its media, stands once in a row for all of its responses.

    rows = pack(items, row_tokens=4096)          share_prompt=False repeats the prompt: the reference path
    batches = arrange(items, gauge)              the same with a gauge of its own, before any tensor is built

A row is [prompt 1, response 1.1, ..., response 1.G, prompt 2, ...] without padding. Positions of every
response continue its prompt. The last token of a response predicts nothing, so it is not in the row.
Tensor suffixes: T tokens of the row, L scored response tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from operator import add
from typing import Protocol

import torch

from vlmrl.models.attention.tree import Branch, Tree
from vlmrl.models.encoded_prompt import EncodedPrompt


@dataclass(frozen=True, slots=True)
class Item:
    """A prompt and the responses to be scored on it; `name` finds them again in the row's spans."""

    name: int
    prompt: EncodedPrompt
    responses: Sequence[Sequence[int]]
    """Token ids, each with its stop token; empty responses are not allowed."""
    numbers: Sequence[int] | None = None
    """Of these responses, where they are a part of a group; None: counted from 0."""

    def part(self, chosen: Sequence[int]) -> Item:
        """The same prompt with some of the responses."""
        numbers = self.numbers or range(len(self.responses))
        return Item(self.name, self.prompt, [self.responses[i] for i in chosen], [numbers[i] for i in chosen])


@dataclass(frozen=True, slots=True)
class Work:
    """What a pass computes, in units that add up."""

    tokens: int = 0
    pairs: int = 0
    """Of a query and a key it sees."""
    scored: int = 0
    patches: int = 0
    vision: float = 0.0
    """FLOPs of the vision tower, forward."""

    def __add__(self, other: Work) -> Work:
        return Work(*map(add, astuple(self), astuple(other)))

    @classmethod
    def of_prompt(cls, prompt: EncodedPrompt, vision: float = 0.0) -> Work:
        return cls(tokens=len(prompt), pairs=_causal(len(prompt)), patches=prompt.patches, vision=vision)

    @classmethod
    def of_response(cls, prompt: EncodedPrompt, tokens: int) -> Work:
        """Of a response of so many tokens, the prompt's own work aside."""
        fed = tokens - 1
        return cls(tokens=fed, pairs=fed * len(prompt) + _causal(fed), scored=tokens)


class Gauge(Protocol):
    """What `arrange` goes by."""

    def prompt(self, prompt: EncodedPrompt) -> Work: ...

    def cost(self, work: Work) -> float:
        """What is to be alike for all rows."""
        ...

    def fits(self, work: Work) -> bool:
        """Whether a row may hold it. More work never fits where less does not."""
        ...


@dataclass(frozen=True)
class TokenGauge:
    """Rows of at most so many tokens."""

    row_tokens: int

    def prompt(self, prompt: EncodedPrompt) -> Work:
        return Work.of_prompt(prompt)

    def cost(self, work: Work) -> float:
        return work.tokens

    def fits(self, work: Work) -> bool:
        return work.tokens <= self.row_tokens


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
    """Rows of at most `row_tokens` tokens where that is possible: one response with its prompt is never cut."""
    return [build(row) for row in arrange(items if share_prompt else repeat(items), TokenGauge(row_tokens))]


def repeat(items: Sequence[Item]) -> list[Item]:
    """Each response with a prompt of its own."""
    return [item.part([n]) for item in items for n in range(len(item.responses))]


def arrange(items: Sequence[Item], gauge: Gauge) -> list[list[Item]]:
    """The items of each row, the costliest first: few rows that fit, of even cost.

    A group too large for a row is split into as few parts as fit. What fits no row alone gets one of its own.
    """
    pieces = [piece for item in items for piece in _split(item, gauge)]
    works = [work_of(piece, gauge) for piece in pieces]
    rows = [sorted(row) for row in _spread(works, gauge, Work())]
    rows.sort(key=lambda row: (-gauge.cost(_total(works, row)), row))
    return [[pieces[n] for n in row] for row in rows]


def work_of(item: Item, gauge: Gauge) -> Work:
    """Of the item's prompt and responses."""
    return sum((Work.of_response(item.prompt, len(r)) for r in item.responses), start=gauge.prompt(item.prompt))


def _split(item: Item, gauge: Gauge) -> Iterator[Item]:
    if gauge.fits(work_of(item, gauge)):
        yield item
        return
    works = [Work.of_response(item.prompt, len(response)) for response in item.responses]
    for chosen in _spread(works, gauge, gauge.prompt(item.prompt)):
        yield item.part(sorted(chosen))


def _spread(works: Sequence[Work], gauge: Gauge, base: Work) -> list[list[int]]:
    """Numbers of the works in each of few bins, which hold `base` already.

    First fit of the largest first finds how many bins there are. The largest, into the bin with the least, then makes
    them even (longest processing time first: Graham, SIAM J. Appl. Math. 17 (1969), 416-429), where that still fits.
    """
    order = sorted(range(len(works)), key=lambda n: -gauge.cost(works[n]))
    bins: list[tuple[list[int], Work]] = []
    for n in order:
        for number, (held, work) in enumerate(bins):
            if gauge.fits(work + works[n]):
                bins[number] = [*held, n], work + works[n]
                break
        else:
            bins.append(([n], base + works[n]))
    even = _even(order, works, gauge, base, len(bins))
    return [held for held, _ in even or bins]


def _even(
    order: Sequence[int], works: Sequence[Work], gauge: Gauge, base: Work, count: int
) -> list[tuple[list[int], Work]] | None:
    """`count` bins of even cost; None if something would not fit."""
    bins: list[tuple[list[int], Work]] = [([], base)] * count
    for n in order:
        for number in sorted(range(count), key=lambda number: gauge.cost(bins[number][1])):
            held, work = bins[number]
            if not held or gauge.fits(work + works[n]):
                bins[number] = [*held, n], work + works[n]
                break
        else:
            return None
    return bins


def _total(works: Sequence[Work], chosen: Sequence[int]) -> Work:
    return sum((works[n] for n in chosen), start=Work())


def _causal(tokens: int) -> int:
    return tokens * (tokens + 1) // 2


def build(items: list[Item], *, tree: bool = True) -> Row:
    """The tensors of a row. Without a tree it is one prompt with one response, and the model masks by itself."""
    assert tree or [len(item.responses) for item in items] == [1]
    ids, types, positions, predictors, targets, spans = [], [], [], [], [], []
    cursor = scored = 0
    for item in items:
        prompt = item.prompt
        ids.append(prompt.input_ids)
        types.append(prompt.token_types)
        positions.append(prompt.positions)
        cursor += len(prompt)
        last = cursor - 1
        numbers = item.numbers or range(len(item.responses))
        for offset, response in enumerate(item.responses):
            fed = len(response) - 1
            ids.append(torch.tensor(response[:fed], dtype=torch.long))
            types.append(torch.zeros(fed, dtype=torch.long))
            positions.append((torch.arange(fed) + prompt.next_position).expand(3, -1))
            predictors.append(torch.tensor([last, *range(cursor, cursor + fed)]))
            targets.append(torch.tensor(response, dtype=torch.long))
            spans.append(Span(item.name, numbers[offset], scored, scored + fed + 1))
            cursor += fed
            scored += fed + 1
    inputs: dict[str, torch.Tensor | Tree] = {
        "input_ids": torch.cat(ids)[None],
        "mm_token_type_ids": torch.cat(types)[None],
        "position_ids": torch.cat(positions, dim=1)[:, None],
        **_media(items),
    }
    if tree:
        branches = (Branch(len(item.prompt), tuple(len(r) - 1 for r in item.responses)) for item in items)
        inputs["tree"] = Tree(tuple(branches))
    return Row(inputs, torch.cat(predictors), torch.cat(targets), spans, items)


def _media(items: list[Item]) -> dict[str, torch.Tensor]:
    keys = dict.fromkeys(key for item in items for key in item.prompt.vision)
    return {key: torch.cat([i.prompt.vision[key] for i in items if key in i.prompt.vision]) for key in keys}
