"""DAPO (arXiv 2503.14476): clip-higher, mean over tokens, no loss for truncated rollouts, no KL.

Eq. 8: loss = - 1 / sum_i |o_i| * sum_i sum_t min(r_t A_i, clip(r_t, 1 - 0.2, 1 + 0.28) A_i), with GRPO's
standardised advantages; section 3.4: overlong filtering. The other two parts of the paper are no objective: dynamic
sampling (0 < correct < G) is a sampler, the soft overlong punishment is the verifier `length`.
"""

from __future__ import annotations

from typing import Any

PRESET: dict[str, Any] = {
    "baseline": "mean",
    "scale": "std",
    "loss": "grpo",
    "clip_low": 0.2,
    "clip_high": 0.28,
    "aggregation": "token",
    "overlong_filter": True,
}
