"""Objectives: one file for each published method, and what its stages are given.

A file `objectives/<name>.py` has a docstring (its first line is what `vlmrl list objectives` shows), `PRESET`, the
[objective] settings of the paper, and those stages that the method introduces, under the name of their setting:

    group_weight(pass_rate, progress, settings, own) -> float
                                                    factor of a group's advantages; `progress`: share of the run
    token_weight(tokens, settings, own) -> weight_L factor of a token's advantage
    token_mask(tokens, settings, own) -> (kept_L, counted_L)
                                                    which tokens have a policy loss, and which are in its denominator;
                                                    `tokens` is the whole update
    loss(tokens, settings, own) -> TokenLoss        of tokens that the policy wrote

`settings` is [objective]. `own` is the subsection [objective.<name>]: the file's `class Settings(Section)`, or None if
it has none. A file with settings may have `check(settings, own)`, which raises ValueError if they do not go together.

`objective.loss = "gspo"` is the `loss` of `gspo.py`; `objective.preset = "gspo"` is its `PRESET`. Methods that only set
numbers are tables in `presets.toml`. The files use tensors by their methods and import no torch, so a run file is
validated without it. `vlmrl/train/objective.py` composes them, and calls by name what only one method has: the credit
of MA-RLHF, the losses of hints (Guide) and demonstrations (RL-PLUS), the correction of TIS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch

    from vlmrl.rollout import Rollout


MAX_LOG_RATIO = 20.0
"""Logs of ratios are cut here, as in verl: a float32 overflows at e^88, and infinity times a zero gradient is NaN."""


@dataclass(slots=True)
class Response:
    """One rollout in the update of one optimizer step. T tokens; tensors on the CPU."""

    rollout: Rollout
    group: int
    """Number of its group in the update."""
    index: int
    """Its number in the group."""
    advantage: float
    """(score - baseline) / scale."""
    pass_rate: float
    """Share of correct rollouts in its group."""
    correct: bool
    trained_T: torch.Tensor = field(init=False)
    """bool: the tokens that may be trained on."""
    kept_T: torch.Tensor = field(init=False)
    """bool: those of them with a policy loss."""
    counted_T: torch.Tensor = field(init=False)
    """bool: those in the denominator of the policy loss."""
    behaviour_T: torch.Tensor | None = None
    """Logprobs under the policy that sampled; None: a demonstrator wrote it."""
    old_T: torch.Tensor | None = None
    """Logprobs under the policy of the importance ratio; None: the learner's own, and it has not moved yet."""
    relative_duration: float = 1.0
    """Its tokens over the mean of the update."""
    policy_weight: float = 0.0
    """Weight of a kept token in the policy loss: one over its denominator."""
    penalty_weight: float = 0.0
    """Weight of a trained token in the KL and entropy terms."""
    hint_gamma: float = 0.0

    def __len__(self) -> int:
        return len(self.rollout.token_ids)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The L tokens of a row's responses (or of a whole update), all tensors [L]."""

    responses: Sequence[Response]
    """In the order of their tokens."""
    response_L: torch.Tensor
    """Which of `responses` each token belongs to."""
    logprob_L: torch.Tensor
    """Under the policy; gradients flow through it, and through the entropy if the objective asks for one."""
    entropy_L: torch.Tensor
    """In nats."""
    old_L: torch.Tensor
    behaviour_L: torch.Tensor
    trained_L: torch.Tensor
    advantage_L: torch.Tensor
    weight_L: torch.Tensor
    """Group weight times token weights, once the loss sees it; `advantage_L` holds them too then."""
    decode: Callable[[int], str]
    """The text of one token id."""

    @property
    def ratio_L(self) -> torch.Tensor:
        """Importance ratio policy / old policy."""
        return (self.logprob_L - self.old_L).clamp(max=MAX_LOG_RATIO).exp()

    def spread(self, values: Sequence[float]) -> torch.Tensor:
        """A value of each response, at each of its tokens."""
        return self.logprob_L.new_tensor(values)[self.response_L]

    def is_kind(self, kind: str) -> torch.Tensor:
        """bool: tokens of that `Rollout.kind`."""
        return self.spread([r.rollout.kind == kind for r in self.responses]).bool()

    def response_sum(self, value_L: torch.Tensor) -> torch.Tensor:
        """Sum over the trained tokens of its response, at each token."""
        sums = value_L.new_zeros(len(self.responses)).index_add(0, self.response_L, value_L * self.trained_L)
        return sums[self.response_L]

    def response_mean(self, value_L: torch.Tensor) -> torch.Tensor:
        """Mean over the trained tokens of its response, at each token."""
        return self.response_sum(value_L) / self.response_sum(value_L.new_ones(len(value_L))).clamp(min=1)

    def split(self, value_L: torch.Tensor) -> Sequence[torch.Tensor]:
        """The part of each response."""
        return value_L.split([len(r) for r in self.responses])


class TokenLoss(NamedTuple):
    """The loss of each token, not yet masked and aggregated. Shapes [L]."""

    loss_L: torch.Tensor
    clipped_L: torch.Tensor
    """Whether the importance ratio was clipped."""
