"""Guide-GRPO (arXiv 2506.13923): rollouts that saw a hint teach the policy that does not see it.

A hinted rollout was sampled with the hint in its prompt and is trained on the prompt without it:
r = pi(o | q) / pi_old(o | q, hint). Its tokens have the loss -A r / (r + gamma), unclipped; gamma is the 0.9-quantile
of r. All other rollouts have GRPO's loss with clip 0.2. No KL.

The authors take the quantile over a micro-batch and its padding (where r is 1); here it is over the hinted tokens
that are trained on in the whole update. A hinted rollout is a `Rollout` of kind "hint", whose logprobs are those under
the hinted prompt; the group holds the prompt without it. Which prompts get hints is not the objective's matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from vlmrl.config.section import Section
from vlmrl.objectives import TokenLoss

if TYPE_CHECKING:
    from vlmrl.objectives import Tokens

PRESET: dict[str, Any] = {
    "baseline": "mean",
    "scale": "std",
    "loss": "grpo",
    "clip_low": 0.2,
    "clip_high": 0.2,
    "aggregation": "token",
}


class Settings(Section):
    """[objective.guide]: the loss of rollouts that saw a hint."""

    quantile: float = Field(
        default=0.9, ge=0, le=1, description="quantile of the hinted ratios that is gamma in r / (r + gamma)"
    )


def hint_gamma(tokens: Tokens, own: Settings) -> float:
    """The quantile of the hinted tokens' ratios, at least 1e-4."""
    ratio_L = tokens.ratio_L.detach()[tokens.is_kind("hint") & tokens.trained_L].cpu().numpy()
    # torch.quantile takes 16 million values at most.
    return max(float(np.quantile(ratio_L, own.quantile)), 1e-4) if len(ratio_L) else 1.0


def hint_loss(tokens: Tokens) -> TokenLoss:
    """-A r / (r + gamma); the gradient flows through both r."""
    ratio_L = tokens.ratio_L
    shaped_L = ratio_L / (ratio_L + tokens.spread([r.hint_gamma for r in tokens.responses]))
    return TokenLoss(-shaped_L * tokens.advantage_L, tokens.trained_L & False)
