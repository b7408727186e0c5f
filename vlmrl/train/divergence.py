"""Divergence: KL(policy || other), estimated on tokens of the policy (J. Schulman, "Approximating KL Divergence").

kl = coefficient(settings, progress) * ESTIMATES["k3"](logprob_L, reference_logprob_L)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from vlmrl.objectives import MAX_LOG_RATIO

if TYPE_CHECKING:
    from vlmrl.config.objective import ObjectiveSettings


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


def coefficient(settings: ObjectiveSettings, progress: float) -> float:
    """kl_coef, or with the cosine beta / 2 (1 + cos(pi e)) at the share e of the run (Visionary-R1, 2505.14677)."""
    if settings.kl_schedule == "cosine":
        return settings.kl_coef / 2 * (1 + math.cos(math.pi * progress))
    return settings.kl_coef
