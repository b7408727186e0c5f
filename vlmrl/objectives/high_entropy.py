"""Beyond the 80/20 rule (arXiv 2506.01939): only the fifth of tokens with the highest entropy has a policy loss.

k = ceil(0.2 N) of N tokens, by the entropy of the policy at the update. DAPO's loss with dual clip 10 and no
overlong filter; the KL and entropy terms are not masked.

The authors take the share over a micro-batch of one device. Here it is over the update, so that it does not depend on
the hardware, or over each group (`scope`). They divide by the tokens that are kept (`denominator = "kept"`); TRL
divides by all (`"trained"`), which makes the gradient a fifth as large.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from vlmrl.config.section import Section

if TYPE_CHECKING:
    import torch

    from vlmrl.config.objective import ObjectiveSettings
    from vlmrl.objectives import Tokens

PRESET: dict[str, Any] = {
    "baseline": "mean",
    "scale": "std",
    "token_mask": "high_entropy",
    "loss": "grpo",
    "clip_low": 0.2,
    "clip_high": 0.28,
    "dual_clip": 10.0,
    "aggregation": "token",
}


class Settings(Section):
    """[objective.high_entropy]: which tokens have a policy loss."""

    share: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="share of the tokens, those with the highest entropy, that have a policy loss",
    )
    scope: Literal["update", "group"] = Field(default="update", description="tokens among which the share is taken")
    denominator: Literal["kept", "trained"] = Field(
        default="kept", description="tokens over which the loss is a mean: those kept, or also the masked ones"
    )


def token_mask(tokens: Tokens, settings: ObjectiveSettings, own: Settings) -> tuple[torch.Tensor, torch.Tensor]:
    """bool [L] over an update: tokens with a policy loss, and those in its denominator."""
    scope_L = tokens.spread([r.group * (own.scope == "group") for r in tokens.responses])
    kept_L = tokens.trained_L & False
    for scope in scope_L.unique():
        place = ((scope_L == scope) & tokens.trained_L).nonzero()[:, 0]
        count = math.ceil(own.share * len(place))
        kept_L[place[tokens.entropy_L[place].topk(count).indices]] = True
    return kept_L, kept_L if own.denominator == "kept" else tokens.trained_L
