"""Group-once packing: each prompt, with its media, stands once in a row for all of its responses.

    rows = pack(items, row_tokens=4096)          share_prompt=False repeats the prompt: the reference path
    plan = arrange(items, costs)                 the items of each row, by any cost model; it builds no tensors

A row is [prompt 1, response 1.1, ..., response 1.G, prompt 2, ...] without padding. The positions of every
response continue its prompt. The last token of a response predicts nothing, so it is not in the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from operator import add
from typing import Protocol

import torch

from vlmrl.models.attention.tree import Branch, Tree
from vlmrl.models.encoded_prompt import EncodedPrompt, joined_features


@dataclass(frozen=True, slots=True)
class Item:
    """A prompt and the responses to score on it; `name` identifies the item in the spans of a row."""

    name: int
    prompt: EncodedPrompt
    responses: Sequence[Sequence[int]]
    """Token ids, each with its stop token; empty responses are not allowed."""
    numbers: Sequence[int] | None = None
    """Numbers of these responses in their group; None: from 0."""

    def part(self, chosen: Sequence[int]) -> Item:
        """The same prompt with some of the responses."""
        numbers = self.numbers or range(len(self.responses))
        return Item(self.name, self.prompt, [self.responses[i] for i in chosen], [numbers[i] for i in chosen])


@dataclass(frozen=True, slots=True)
class Work:
    """What a pass computes, in additive units."""

    tokens: int = 0
    pairs: int = 0
    """Pairs of a query and a key that it sees."""
    scored: int = 0
    patches: int = 0
    towers: float = 0.0
    """FLOPs of the towers, forward."""
    sounds: int = 0
    """Values of the features of sounds."""
    kept: int = 0
    """Tokens of prompts whose state is kept for others to run from."""

    def __add__(self, other: Work) -> Work:
        return Work(*map(add, astuple(self), astuple(other)))

    @classmethod
    def of_prompt(cls, prompt: EncodedPrompt, towers: float = 0.0) -> Work:
        return cls(
            tokens=len(prompt),
            pairs=_causal(len(prompt)),
            patches=prompt.patches,
            towers=towers,
            sounds=prompt.sound_values,
        )

    @classmethod
    def of_response(cls, prompt: EncodedPrompt, tokens: int) -> Work:
        """Work of a response with this number of tokens, without its prompt."""
        computed = tokens - 1
        return cls(tokens=computed, pairs=computed * len(prompt) + _causal(computed), scored=tokens)


class CostModel(Protocol):
    """What rows cost and what they can hold."""

    def prompt(self, prompt: EncodedPrompt) -> Work: ...

    def cost(self, work: Work) -> float:
        """What `arrange` makes equal for all rows."""
        ...

    def fits(self, work: Work) -> bool:
        """Whether a row can hold this work. If it cannot, it cannot hold more either."""
        ...


@dataclass(frozen=True)
class TokenCost:
    """Cost by tokens; a row holds at most `row_tokens`."""

    row_tokens: int

    def prompt(self, prompt: EncodedPrompt) -> Work:
        return Work.of_prompt(prompt)

    def cost(self, work: Work) -> float:
        return work.tokens

    def fits(self, work: Work) -> bool:
        return work.tokens <= self.row_tokens


@dataclass(frozen=True, slots=True)
class Span:
    """The place of one response in the L scored tokens of a row."""

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
    """Rows of at most `row_tokens` tokens, except that a single item is never cut."""
    return [build(row) for row in arrange(items if share_prompt else repeat(items), TokenCost(row_tokens))]


def repeat(items: Sequence[Item]) -> list[Item]:
    """One item for each response."""
    return [item.part([n]) for item in items for n in range(len(item.responses))]


def arrange(items: Sequence[Item], costs: CostModel) -> list[list[Item]]:
    """The items of each row, the most expensive row first: few rows, of even cost.

    An item that fits in no row gets its own.
    """
    works = [work_of(item, costs) for item in items]
    rows = [sorted(row) for row in _pack_bins(works, costs)]
    rows.sort(key=lambda row: (-costs.cost(_total(works, row)), row))
    return [[items[n] for n in row] for row in rows]


def work_of(item: Item, costs: CostModel) -> Work:
    """Work of the item's prompt and responses."""
    return sum((Work.of_response(item.prompt, len(r)) for r in item.responses), start=costs.prompt(item.prompt))


def _pack_bins(works: Sequence[Work], costs: CostModel) -> list[list[int]]:
    """Numbers of the works in each bin."""
    # 1. The number of bins: first fit in decreasing order.
    order = sorted(range(len(works)), key=lambda n: -costs.cost(works[n]))
    bins: list[tuple[list[int], Work]] = []
    for n in order:
        for number, (chosen, work) in enumerate(bins):
            if costs.fits(work + works[n]):
                bins[number] = [*chosen, n], work + works[n]
                break
        else:
            bins.append(([n], works[n]))
    # 2. The same number of bins with even costs, where that still fits.
    balanced = _balance(order, works, costs, len(bins))
    return [chosen for chosen, _ in balanced or bins]


def _balance(
    order: Sequence[int], works: Sequence[Work], costs: CostModel, count: int
) -> list[tuple[list[int], Work]] | None:
    """`count` bins of even cost; None if a work does not fit.

    The most expensive work goes into the cheapest bin (longest processing time first: Graham, SIAM J. Appl. Math. 17
    (1969), 416-429).
    """
    bins: list[tuple[list[int], Work]] = [([], Work())] * count
    for n in order:
        for number in sorted(range(count), key=lambda number: costs.cost(bins[number][1])):
            chosen, work = bins[number]
            if not chosen or costs.fits(work + works[n]):
                bins[number] = [*chosen, n], work + works[n]
                break
        else:
            return None
    return bins


def _total(works: Sequence[Work], chosen: Sequence[int]) -> Work:
    return sum((works[n] for n in chosen), start=Work())


def _causal(tokens: int) -> int:
    return tokens * (tokens + 1) // 2


def build(items: list[Item], *, tree: bool = True) -> Row:
    """The tensors of a row. `tree=False`, for one prompt with one response, uses the model's own causal mask."""
    assert tree or [len(item.responses) for item in items] == [1]
    ids, types, positions, predictors, targets, spans = [], [], [], [], [], []
    cursor = scored = 0
    for item in items:
        # 1. The prompt, once for all of its responses.
        prompt = item.prompt
        ids.append(prompt.input_ids)
        types.append(prompt.token_types)
        positions.append(prompt.positions)
        cursor += len(prompt)
        last = cursor - 1
        # 2. Its responses. All start at the position after the prompt, as if each were alone. All of their tokens are
        # scored, but the last one is not computed, because it predicts nothing.
        numbers = item.numbers or range(len(item.responses))
        for offset, response in enumerate(item.responses):
            computed = len(response) - 1
            ids.append(torch.tensor(response[:computed], dtype=torch.long))
            types.append(torch.zeros(computed, dtype=torch.long))
            positions.append((torch.arange(computed) + prompt.next_position).expand(3, -1))
            # The first token is predicted by the last one of the prompt, each other one by the token before it.
            predictors.append(torch.tensor([last, *range(cursor, cursor + computed)]))
            targets.append(torch.tensor(response, dtype=torch.long))
            spans.append(Span(item.name, numbers[offset], scored, scored + computed + 1))
            cursor += computed
            scored += computed + 1
    # 3. The model's arguments: a batch of one row, and the media of each prompt once.
    inputs: dict[str, torch.Tensor | Tree] = {
        "input_ids": torch.cat(ids)[None],
        "mm_token_type_ids": torch.cat(types)[None],
        "position_ids": torch.cat(positions, dim=1)[:, None],
        **joined_features([item.prompt for item in items]),
    }
    # 4. Which tokens see which: the tree takes the place of a mask.
    if tree:
        branches = (Branch(len(item.prompt), tuple(len(r) - 1 for r in item.responses)) for item in items)
        inputs["tree"] = Tree(tuple(branches))
    return Row(inputs, torch.cat(predictors), torch.cat(targets), spans, items)


def prompt_inputs(prompts: Sequence[EncodedPrompt]) -> dict[str, torch.Tensor]:
    """The model's arguments for a row of prompts without responses."""
    return {
        "input_ids": torch.cat([prompt.input_ids for prompt in prompts])[None],
        "mm_token_type_ids": torch.cat([prompt.token_types for prompt in prompts])[None],
        "position_ids": torch.cat([prompt.positions for prompt in prompts], dim=1)[:, None],
        **joined_features(prompts),
    }
