"""HICRA (arXiv 2509.03646): planning tokens take A + alpha |A| for their advantage.

A = R - mean, alpha = 0.2: what was right is reinforced 1.2 times at planning tokens, what was wrong punished 0.8
times. Planning tokens are those of strategic n-grams ("let us try another way"), which the paper mines from right
answers: n-grams that many of them have, and each has once. They are read from the text file `planning_ngrams`, one a
line, and matched in the response without regard to case and spacing, at word boundaries.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from vlmrl.config.section import Section
from vlmrl.errors import UserError

if TYPE_CHECKING:
    import torch

    from vlmrl.config.objective import ObjectiveSettings
    from vlmrl.objectives import Tokens

PRESET: dict[str, Any] = {
    "baseline": "mean",
    "scale": "none",
    "token_weight": ["hicra"],
    "loss": "grpo",
    "clip_low": 0.2,
    "clip_high": 0.2,
    "aggregation": "token",
}


class Settings(Section):
    """[objective.hicra]: planning tokens."""

    alpha: float = Field(
        default=0.2, ge=0, description="factor alpha: the advantage of planning tokens is A + alpha |A|"
    )
    planning_ngrams: str | None = Field(default=None, description="text file of planning n-grams, one a line")

    @field_validator("planning_ngrams")
    @classmethod
    def _is_a_file(cls, value: str | None) -> str | None:
        if value is not None and not Path(value).is_file():
            raise ValueError(f"{value!r} is not a file; name a text file with one n-gram a line")
        return value


def check(settings: ObjectiveSettings, own: Settings) -> None:
    """ValueError if the stage is used without its n-grams."""
    if "hicra" in settings.token_weight and own.planning_ngrams is None:
        raise ValueError('token_weight "hicra" needs hicra.planning_ngrams, a text file with one n-gram a line')


def token_weight(tokens: Tokens, settings: ObjectiveSettings, own: Settings) -> torch.Tensor:
    """1 + alpha sign(A) at planning tokens, 1 at all others."""
    assert own.planning_ngrams is not None
    pattern = planning_pattern(own.planning_ngrams)
    texts = [[tokens.decode(i) for i in r.rollout.token_ids] for r in tokens.responses]
    planning_L = tokens.logprob_L.new_tensor([flag for pieces in texts for flag in planning(pieces, pattern)])
    return 1 + own.alpha * tokens.advantage_L.sign() * planning_L


@cache
def planning_pattern(path: str) -> re.Pattern[str]:
    """Matches any n-gram of the file; `UserError` if there is none."""
    grams = [line.split() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    if not grams:
        raise UserError(f"{path}: holds no n-gram; write one a line")
    longest_first = sorted((r"\s+".join(map(re.escape, gram)) for gram in grams), key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(longest_first)})(?!\w)", re.IGNORECASE)


def planning(pieces: Sequence[str], pattern: re.Pattern[str]) -> list[bool]:
    """Whether each token, given as its text, has a part in a planning n-gram."""
    ends = list(accumulate(map(len, pieces)))
    flags = [False] * len(pieces)
    for match in pattern.finditer("".join(pieces)):
        for number in range(bisect_right(ends, match.start()), bisect_right(ends, match.end() - 1) + 1):
            flags[number] = True
    return flags
