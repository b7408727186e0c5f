"""Task and Answer: what a row of another toolkit asks, and its true answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from vlmrl.data.foreign.prompts import MediaLists, Turns
from vlmrl.data.foreign.row import Row


class Answer(NamedTuple):
    """The true answer of a row, and what its schema says of it."""

    value: Any
    verifier: str | None = None
    params: Mapping[str, Any] = {}
    coords: str | None = None
    """The coordinates of boxes; None if the schema leaves them open."""
    states_coords: bool = False
    """Whether rows of the schema have to say their coordinates: pixels are then no good default."""
    boxes: tuple[dict[str, Any], ...] = ()
    """Boxes that the text speaks of, as a sample has them, in the order of their places there."""
    weight: float = 1.0
    others: tuple[dict[str, Any], ...] = ()
    """Further specs of the reward."""


class Task(NamedTuple):
    """What an answer is the answer to."""

    row: Row
    turns: Turns
    media: MediaLists
    options: list[str] | None
    first_option: int = 0
    """The number that the row gives its first option."""
    ability: str = ""
    coords: str | None = None
    """As the user states it: coordinates, and perhaps the form of boxes: `relative_1,xywh`."""

    @property
    def question(self) -> str:
        return "\n".join(turn["content"] for turn in self.turns if turn["role"] == "user")

    @property
    def prompt(self) -> str:
        """The turns of the system and the user."""
        return "\n".join(turn["content"] for turn in self.turns if turn["role"] in ("system", "user"))
