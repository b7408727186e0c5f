"""Dr.GRPO (arXiv 2503.20783): neither the std nor the response's length divides.

A_i = R_i - mean; the clipped token losses of a rollout are summed and divided by a constant, the longest
response that may be generated (3000 tokens in the paper), then averaged over rollouts. No KL. Set `length_divisor`
to your `rollout.max_new_tokens`: it only scales the gradient, which Adam undoes but for the clipping of its norm.
"""

from __future__ import annotations

from typing import Any

PRESET: dict[str, Any] = {
    "baseline": "mean",
    "scale": "none",
    "loss": "grpo",
    "clip_low": 0.2,
    "clip_high": 0.2,
    "aggregation": "sequence_sum",
    "length_divisor": 3000.0,
}
