"""MA-RLHF (arXiv 2410.02743): credit is assigned to macro actions, spans of tokens, instead of tokens.

Generalised advantage estimation runs over macro actions (gamma 1, lambda 0.95), the reward of one is the mean of its
tokens' rewards, and its advantage is that of all of its tokens; ratio and clip stay with tokens. The last token is a
macro action of its own, so that the reward of the answer is not averaged. With macro actions of one token it is PPO.

The paper has a critic; here the group's baseline stands in for it (the value is 0 everywhere), which leaves
A lambda^(macro actions that follow). Boundaries: `macro = "ngram"`, every `length` tokens; "random", lengths drawn
from 1, 2, 3, 5, 10; "perplexity", where a token would raise the perplexity of its macro action. The paper's fourth
kind needs a parser.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from vlmrl.config.section import Section

PRESET: dict[str, Any] = {
    "baseline": "mean",
    "scale": "std",
    "ma_rlhf": {"macro": "ngram", "gae_lambda": 0.95},
    "loss": "grpo",
    "clip_low": 0.2,
    "clip_high": 0.2,
    "aggregation": "token",
    "kl_coef": 0.05,
    "kl": "k1",
    "kl_in": "reward",
}

RANDOM_LENGTHS = (1, 2, 3, 5, 10)


class Settings(Section):
    """[objective.ma_rlhf]: the credit of a token by the actions that follow it; off with gae_lambda = 1."""

    macro: Literal["none", "ngram", "random", "perplexity"] = Field(
        default="none", description="kind of macro actions, over which gae_lambda discounts; none: single tokens"
    )
    length: int = Field(default=5, gt=0, description="tokens of an n-gram macro action")
    gae_lambda: float = Field(default=1.0, ge=0, le=1, description="factor of the advantage for each later action")


def macro_lengths(token_ids: Sequence[int], logprobs: Sequence[float], own: Settings) -> list[int]:
    """Tokens of each macro action of a response; the last one has one. Random ones depend on the response alone."""
    count, lengths = len(token_ids) - 1, []
    if own.macro == "perplexity":
        lengths = _falling_perplexity(logprobs[:-1])
    draw = random.Random(zlib.crc32(repr(tuple(token_ids)).encode()))
    while (left := count - sum(lengths)) > 0:
        length = {"none": 1, "ngram": own.length}.get(own.macro) or draw.choice(RANDOM_LENGTHS)
        lengths.append(min(length, left))
    return [*lengths, 1]


def _falling_perplexity(logprobs: Sequence[float]) -> list[int]:
    lengths: list[int] = []
    total = 0.0
    for logprob in logprobs:
        if lengths and -logprob <= total / lengths[-1]:
            lengths[-1] += 1
            total -= logprob
        else:
            lengths.append(1)
            total = -logprob
    return lengths


def credit(rewards: Sequence[float], lengths: Sequence[int], gae_lambda: float) -> list[float]:
    """The advantage of each token, from each token's reward and the lengths of the macro actions."""
    advantages: list[float] = []
    stop, following = len(rewards), 0.0
    for length in reversed(lengths):
        following = sum(rewards[stop - length : stop]) / length + gae_lambda * following
        advantages += [following] * length
        stop -= length
    return advantages[::-1]
