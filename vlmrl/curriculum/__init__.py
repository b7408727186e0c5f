"""Samplers: which prompts to pay for next, and which groups to train on. One file each; docs/curriculum.md.

    sampler = create_sampler(settings, memory, seed)
    sampler.begin(step, progress)
    while missing := sampler.missing(n):                        # an update of n groups
        groups = roll_out(sampler.next(missing))
        memory.observe(groups)
        sampler.observe(groups)
    train_on(sampler.batch(n))

A sampler is made by its file's `create(memory, settings, own, seed)`. `settings` is [sampler] or a stage of it, `own`
the subsection [sampler.<name>]: the file's `class Settings(Section)`, or None if it has none. A sampler sees prompts by
their number in the data set, and what the run knows of them in the `PromptMemory`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vlmrl import catalog
from vlmrl.curriculum.memory import PromptMemory
from vlmrl.rollout import Rollout
from vlmrl.rollout.group import Group
from vlmrl.sample import Sample
from vlmrl.verdict import Verdict

if TYPE_CHECKING:  # config.sampler loads the files of samplers/
    from vlmrl.config.sampler import SamplerSections, SamplerSettings

Seed = tuple[int, ...]


class Sampler(Protocol):
    """The protocol of every sampler. Its state is part of the checkpoint, and its draws depend on that, on the
    memory and on the seed alone."""

    @property
    def pending(self) -> list[Group]:
        """Groups waiting to be trained on."""
        ...

    def begin(self, step: int, progress: float) -> None:
        """A step starts: its number, from 1, and its share of the run's steps."""
        ...

    def missing(self, n: int) -> int:
        """How many groups are still to be rolled out for an update of n; 0 ends the rollouts of the step."""
        ...

    def next(self, n: int) -> np.ndarray:
        """Numbers of the prompts to roll out for n more groups; a sampler may choose more than n."""
        ...

    def observe(self, groups: Sequence[Group]) -> None:
        """Learns how these prompts went. The memory has seen the groups already."""
        ...

    def batch(self, n: int) -> list[Group]:
        """The groups to train on."""
        ...

    def metrics(self) -> dict[str, float]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a state. The pending groups in it have no encoded prompts: whoever loads encodes them again."""
        ...


def create_sampler(settings: SamplerSettings, memory: PromptMemory, seed: int) -> Sampler:
    """The sampler that [sampler] describes, or a schedule of several."""
    if not settings.stages:
        return create_one(settings, memory, (seed,))
    from vlmrl.curriculum.stages import Stages

    return Stages(settings, memory, seed)


def create_one(settings: SamplerSections, memory: PromptMemory, seed: Seed, name: str | None = None) -> Sampler:
    """The sampler `settings.name`, or the one of another name with the same settings."""
    name = name or settings.name
    return catalog.load("samplers", name).create(memory, settings, settings.own(name), seed)


def pack_groups(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Groups for a checkpoint, as plain values: without their encoded prompts, whose pixels would swell it."""
    return [
        {
            "sample": group.sample.model_dump(),
            "rollouts": [asdict(rollout) for rollout in group.rollouts],
            "verdicts": [asdict(verdict) for verdict in group.verdicts],
            "index": group.index,
        }
        for group in groups
    ]


def unpack_groups(packed: Sequence[dict[str, Any]]) -> list[Group]:
    """Groups of a checkpoint, their prompts yet to be encoded."""
    return [
        Group(
            Sample.model_validate(group["sample"]),
            None,  # pyright: ignore[reportArgumentType]
            [_rollout(fields) for fields in group["rollouts"]],
            [Verdict(**fields) for fields in group["verdicts"]],
            index=group["index"],
        )
        for group in packed
    ]


def _rollout(fields: dict[str, Any]) -> Rollout:
    """The rollout of its fields, whose sequences may be lists."""
    plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
    return Rollout(**plain)
