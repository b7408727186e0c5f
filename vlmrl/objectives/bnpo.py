"""BNPO (`loss_type = "bnpo"` of TRL, also GHPO's arXiv 2507.10628): GRPO, mean over the tokens of a local batch.

The local batch of TRL is what one device holds at a time, so its result depends on the hardware. Here it is a group,
which is what TRL has where the device's batch is G: mean over groups of the mean over the group's tokens. With
`denominator_scope = "update"` it would be DAPO's token mean. Not the Beta normalisation of arXiv 2506.02864.
"""

from __future__ import annotations

from typing import Any

PRESET: dict[str, Any] = {
    "baseline": "mean",
    "scale": "std",
    "loss": "grpo",
    "clip_low": 0.2,
    "clip_high": 0.2,
    "aggregation": "token",
    "denominator_scope": "group",
}
