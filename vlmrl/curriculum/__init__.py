"""Samplers: which prompts come next. One file each, made by its `create(dataset, seed)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from vlmrl.group import Group
from vlmrl.sample import Sample


class Sampler(Protocol):
    """The protocol of every sampler. Its state is part of the checkpoint."""

    def next(self, n: int) -> list[Sample]: ...

    def observe(self, groups: Sequence[Group]) -> None:
        """Learns how the last prompts went."""
        ...

    def metrics(self) -> dict[str, float]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...
