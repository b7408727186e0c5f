"""vlmrl bench rollout: the hf engine beside transformers' `generate`, or a whole training step beside TRL's.

    vlmrl bench rollout                                        decoding alone, tokens a second
    vlmrl bench rollout --against trl --model tiny --groups 4  rollout, reward, update and weight sync

Both sides sample at temperature 1 from the same model and stop at the same tokens. If greedy decoding of the same
prompts gives different tokens, the bench fails.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TextIO

import torch

from vlmrl.bench import trl_side
from vlmrl.bench.geometry import Geometry, samples
from vlmrl.bench.step import steps
from vlmrl.bench.table import print_table
from vlmrl.bench.timing import ratio, take_turns
from vlmrl.config.rollout import HfSettings
from vlmrl.models.encoded_prompt import EncodedPrompt
from vlmrl.models.policy import Policy
from vlmrl.rollout import Sampling
from vlmrl.rollout.engines.hf import HfEngine

Decode = Callable[[int], list[list[int]]]
"""Takes a seed; returns the token ids of every response, with its stop token."""


def bench_rollout(cells: Sequence[Geometry], against: str, rounds: int, as_json: bool, out: TextIO) -> None:
    """Prints the figures of each geometry."""
    if against == "trl":
        trl_side.require()
    print_table(cells, lambda cell: measure(cell, against, rounds), _line, as_json, out)


def measure(geometry: Geometry, against: str, rounds: int) -> dict[str, Any]:
    """Figures of one geometry. The speed-up is in tokens per second, because sampled responses differ in length."""
    if against == "trl":
        with steps(geometry, rounds) as (ours, theirs):
            table = _measure(ours, theirs, rounds)
    else:
        policy = geometry.load()
        prompts = policy.formatter.encode(samples(geometry, policy.formatter))
        _compare(policy, prompts, geometry)
        sampling = Sampling(max_new_tokens=geometry.completion)
        ours, theirs = engine(policy, prompts, geometry.group, sampling), generate(policy, prompts, geometry, True)
        table = _measure(lambda seed: _count(ours(seed)), lambda seed: _count(theirs(seed)), rounds)
    return {"geometry": geometry.describe(), "against": against, **table, "rounds": rounds}


def _measure(ours: Callable[[int], int], theirs: Callable[[int], int], rounds: int) -> dict[str, Any]:
    tokens: tuple[list[int], list[int]] = ([], [])
    runs = [
        lambda: tokens[0].append(ours(len(tokens[0]))),
        lambda: tokens[1].append(theirs(len(tokens[1]))),
    ]
    ours_s, theirs_s = take_turns(runs, rounds, warmups=1)
    ours_rate, theirs_rate = (
        [count / s for count, s in zip(counts[1:], taken, strict=True)]
        for counts, taken in zip(tokens, (ours_s, theirs_s), strict=True)
    )
    speedup = ratio(ours_rate, theirs_rate)
    return {
        "speedup": speedup.median,
        "speedup_low": speedup.low,
        "speedup_high": speedup.high,
        "ours_s": statistics.median(ours_s),
        "theirs_s": statistics.median(theirs_s),
        "ours_tokens_per_s": statistics.median(ours_rate),
        "theirs_tokens_per_s": statistics.median(theirs_rate),
    }


# --- decoding ---------------------------------------------------------------------------------------------


def engine(policy: Policy, prompts: Sequence[EncodedPrompt], group: int, sampling: Sampling) -> Decode:
    """Decoding by the hf engine."""
    hf = HfEngine(HfSettings(), policy)

    def decode(seed: int) -> list[list[int]]:
        answers = hf.generate(prompts, group, replace(sampling, seed=seed))
        return [list(rollout.token_ids) for rollouts in answers for rollout in rollouts]

    return decode


def generate(policy: Policy, prompts: Sequence[EncodedPrompt], geometry: Geometry, sample: bool) -> Decode:
    """Decoding by transformers' `generate`: left-padded prompts, G responses to each, its own attention (sdpa)."""
    from transformers import AutoModelForImageTextToText, GenerationConfig

    assert geometry.model
    model: Any = AutoModelForImageTextToText.from_pretrained(
        geometry.model, dtype=torch.float32, attn_implementation="sdpa"
    )
    model = model.to(policy.device, policy.compute).eval()
    stop = policy.formatter.stop_ids
    config = GenerationConfig(
        max_new_tokens=geometry.completion,
        do_sample=sample,
        num_return_sequences=geometry.group if sample else 1,
        top_k=0 if sample else None,
        eos_token_id=stop,
        pad_token_id=stop[0],
        suppress_tokens=policy.formatter.placeholder_ids,
    )
    inputs = _padded(prompts, stop[0], policy.device, policy.compute)

    def decode(seed: int) -> list[list[int]]:
        torch.manual_seed(seed)
        with torch.inference_mode():
            ids = model.generate(**inputs, generation_config=config)
        return [_until_stop(row, stop) for row in ids[:, inputs["input_ids"].shape[1] :].tolist()]

    return decode


def _padded(
    prompts: Sequence[EncodedPrompt], pad: int, device: torch.device, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    width = max(map(len, prompts))
    columns = {"input_ids": pad, "mm_token_type_ids": 0, "attention_mask": 0}
    inputs = {name: torch.full((len(prompts), width), fill) for name, fill in columns.items()}
    for row, prompt in enumerate(prompts):
        for name, values in (("input_ids", prompt.input_ids), ("mm_token_type_ids", prompt.token_types)):
            inputs[name][row, width - len(prompt) :] = values
        inputs["attention_mask"][row, width - len(prompt) :] = 1
    for key in prompts[0].features:
        inputs[key] = torch.cat([prompt.features[key] for prompt in prompts])
    return {k: v.to(device, dtype if v.is_floating_point() else v.dtype) for k, v in inputs.items()}


def _until_stop(ids: list[int], stop: Sequence[int]) -> list[int]:
    ends = [n for n, token in enumerate(ids) if token in stop]
    return ids[: ends[0] + 1] if ends else ids


def _count(responses: Sequence[Sequence[int]]) -> int:
    return sum(map(len, responses))


def _compare(policy: Policy, prompts: Sequence[EncodedPrompt], geometry: Geometry) -> None:
    """`RuntimeError` if greedy decoding differs in float32; in bfloat16, rounding may change the order of near-ties."""
    greedy = Sampling(temperature=0.0, max_new_tokens=geometry.completion)
    ours, theirs = engine(policy, prompts, 1, greedy)(0), generate(policy, prompts, geometry, False)(0)
    if policy.compute == torch.float32 and ours != theirs:
        raise RuntimeError(f"not the same text: {ours[0]} here and {theirs[0]} there")


def _line(figures: dict[str, Any]) -> str:
    g = figures["geometry"]
    return (
        f"text {g['prompt_tokens']} image {g['image']} R {g['completion']} G {g['group']} x {g['groups']}: "
        f"{figures['speedup']:.2f}x ({figures['speedup_low']:.2f}-{figures['speedup_high']:.2f}) of "
        f"{figures['against']}, {figures['ours_tokens_per_s']:,.0f} / {figures['theirs_tokens_per_s']:,.0f} tokens/s, "
        f"{figures['ours_s']:.3f} s / {figures['theirs_s']:.3f} s"
    )
