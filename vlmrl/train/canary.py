"""Canary: before the first step, does the engine see the places that the learner sees?

    check_positions(config, rollouter, data)       `UserError` if it does not

An engine that reads the three-dimensional positions of an image (M-RoPE) as those of plain text still reads well and
writes well; only its boxes are displaced. So one prompt with a target that has a place is answered, and the learner
must give the answer the same logprobs. Where they differ, the learner is asked again with plain positions, so that the
message can say whether these are the cause. The agreement gate judges every later step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch

from vlmrl.config.run_file import RunConfig
from vlmrl.errors import UserError
from vlmrl.models.encoded_prompt import EncodedPrompt
from vlmrl.models.logprobs import score_item
from vlmrl.models.packing import Item
from vlmrl.models.policy import Policy
from vlmrl.rewards.frames import has_frame
from vlmrl.rollout import Rollout, Sampling
from vlmrl.rollout.rollouter import Rollouter
from vlmrl.sample import MediaSet, Sample
from vlmrl.train.agreement import THRESHOLDS

TOKENS = 16
"""Tokens of the canary's answer."""
SEARCHED = 1000
"""Samples among which one with a place is looked for."""


def check_positions(config: RunConfig, rollouter: Rollouter, samples: Iterable[Sample]) -> None:
    """`UserError` if engine and learner differ on a prompt with a place; nothing happens where data have none.

    Not for `replay`, whose logprobs are the learner's own, nor with `top_p` below 1, where the distributions differ.
    """
    if config.rollout.engine == "replay" or config.rollout.top_p < 1:
        return
    sample = next((s for _, s in zip(range(SEARCHED), samples, strict=False) if _has_place(s)), None)
    if sample is None:
        return
    (prompt,) = rollouter.policy.formatter.encode([sample])
    sampling = Sampling(config.rollout.temperature, 1.0, min(TOKENS, config.rollout.max_new_tokens), config.run.seed)
    ((rollout,),) = rollouter.engine.generate([prompt], 1, sampling)
    limit = config.agreement.tolerance * THRESHOLDS[rollouter.policy.compute]["stop"]
    found = difference(rollouter.policy, prompt, rollout, sampling.temperature)
    if found <= limit:
        return
    plain = difference(rollouter.policy, with_plain_positions(prompt), rollout, sampling.temperature)
    cause = (
        f"with the positions of plain text the difference is {plain:.2g}: the engine does not apply the "
        "three-dimensional positions of images (M-RoPE), so boxes would be displaced; use another version of the engine"
        if plain <= limit
        else "see docs/agreement.md for what to look at"
    )
    raise UserError(
        f"rollout.engine {config.rollout.engine!r}: engine and learner differ on sample {sample.id!r}, whose target is "
        f"a place: mean |logprob difference| {found:.2g} is above {limit:.2g}; {cause}"
    )


def difference(policy: Policy, prompt: EncodedPrompt, rollout: Rollout, temperature: float) -> float:
    """Mean |learner's logprob - engine's logprob| over the tokens that the policy sampled, in nats."""
    (logprob_T,) = score_item(policy, Item(0, prompt, [rollout.token_ids]), temperature)
    diff_T = (logprob_T.cpu().double() - torch.tensor(rollout.logprobs, dtype=torch.float64)).abs()
    sampled_T = torch.tensor(rollout.trained or [True] * len(diff_T))
    return float(diff_T[sampled_T].mean())


def with_plain_positions(prompt: EncodedPrompt) -> EncodedPrompt:
    """The prompt with one position a token, as text has them."""
    positions = torch.arange(len(prompt)).expand(3, -1).contiguous()
    return replace(prompt, positions=positions, next_position=len(prompt))


def _has_place(sample: Sample) -> bool:
    return sample.media != MediaSet() and any(map(has_frame, sample.reward))
