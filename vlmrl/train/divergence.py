"""Divergence: KL(policy || other), estimated on tokens of the policy (J. Schulman, "Approximating KL Divergence").

kl_L = ESTIMATES["k3"](logprob_L, reference_logprob_L)
"""

from __future__ import annotations

import torch

from vlmrl.objectives import MAX_LOG_RATIO


def k1(logprob: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """log policy - log other: unbiased, of either sign. As a loss its expected gradient is 0; it is for rewards."""
    return logprob - other


def k2(logprob: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Half of its square: biased. As a loss its expected gradient is that of the KL."""
    return (logprob - other) ** 2 / 2


def k3(logprob: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """e^d - d - 1 >= 0 with d = other - policy: unbiased."""
    d = (other - logprob).clamp(max=MAX_LOG_RATIO)
    return torch.exp(d) - d - 1


ESTIMATES = {"k1": k1, "k2": k2, "k3": k3}
