"""NFT (arXiv 2505.18116): maximum likelihood of right answers, and of an implicit policy of the wrong ones.

With p the group's pass rate (kept in 0.02 to 0.98; only mixed groups count) and R_t = pi / pi_old:

    right: - w log R_t            wrong: - w log max((1 - p R_t) / (1 - p), 1)

The maximum bounds the value and lets the gradient through. The prompt weight w is 1, 1 - p (the paper's default) or
sqrt((1 - p) / p): on policy the latter two have the gradient of Dr.GRPO and of GRPO with the biased std. Summed over
tokens / 1000 and over the batch, as in the authors' code: the gradient grows with the batch. It looks at what is
correct, not at advantages: `baseline` and `scale` do not matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from vlmrl.config.section import Section
from vlmrl.objectives import TokenLoss

if TYPE_CHECKING:
    from vlmrl.config.objective import ObjectiveSettings
    from vlmrl.objectives import Tokens

PRESET: dict[str, Any] = {
    "group_weight": "nft",
    "loss": "nft",
    "aggregation": "sum",
    "length_divisor": 1000.0,
}

MAX_LOG_RATIO = 10.0


class Settings(Section):
    """[objective.nft]: weights of prompts and of wrong rollouts."""

    weight: Literal["one", "fail_rate", "odds"] = Field(
        default="fail_rate", description="weight of a prompt with pass rate p: 1, 1 - p or sqrt((1 - p) / p)"
    )
    negative: float = Field(default=1.0, ge=0, description="weight of the loss of wrong rollouts")


def group_weight(pass_rate: float, progress: float, settings: ObjectiveSettings, own: Settings) -> float:
    """w of a prompt; 0 where all of its answers are right, or none."""
    p = min(max(pass_rate, 0.02), 0.98)
    weight = {"one": 1.0, "fail_rate": 1 - p, "odds": ((1 - p) / p) ** 0.5}[own.weight]
    return weight if 0 < pass_rate < 1 else 0.0


def loss(tokens: Tokens, settings: ObjectiveSettings, own: Settings) -> TokenLoss:
    """The loss of right and of wrong rollouts, each token."""
    log_ratio_L = (tokens.logprob_L - tokens.old_L).clamp(max=MAX_LOG_RATIO)
    p_L = tokens.spread([r.pass_rate for r in tokens.responses]).clamp(0.02, 0.98)
    implicit_L = (1 - p_L * log_ratio_L.exp()) / (1 - p_L)
    below_L = implicit_L < 1
    straight_L = implicit_L + (implicit_L.clamp(min=1.0) - implicit_L).detach()
    correct_L = tokens.spread([r.correct for r in tokens.responses]).bool()
    loss_L = (-log_ratio_L).where(correct_L, -own.negative * straight_L.log())
    return TokenLoss(tokens.weight_L * loss_L, (below_L & ~correct_L).detach())
