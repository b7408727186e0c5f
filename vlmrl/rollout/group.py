"""Group: a sample, its encoded prompt, its G rollouts, their verdicts, and what the learner measured on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from vlmrl.sample import Sample
from vlmrl.verdict import Verdict

if TYPE_CHECKING:
    from vlmrl.models.encoded_prompt import EncodedPrompt
    from vlmrl.rollout import Rollout


class TokenStats(NamedTuple):
    """What the learner's first pass over one rollout measured; means over its tokens."""

    entropy: float
    """Of the policy, in nats."""
    clip_fraction: float
    """Share of tokens whose importance ratio the objective clipped."""
    behaviour_kl: float
    """k3 estimate of KL(behaviour || policy), in nats."""
    diff_mean: float | None
    """|policy logprob - behaviour logprob|: rollout/learner agreement. None where the policy had already moved
    since it sampled, that is in the second and later updates of a step."""
    diff_max: float | None


@dataclass(slots=True)
class Group:
    """One prompt's worth of a training step."""

    sample: Sample
    prompt: EncodedPrompt
    rollouts: list[Rollout]
    verdicts: list[Verdict]
    stats: list[TokenStats | None] = field(default_factory=list)
    """One for each rollout, None for one that took no part (unscored); empty if the update left the group out."""
    index: int = -1
    """Number of the sample in the training data; -1 if it is from elsewhere."""
    earlier: list[Group] = field(default_factory=list)
    """Groups of the same sample that this one replaces, the first without a hint."""
    dropped: bool = False
    """Whether a hook keeps it out of the update."""

    @property
    def scores(self) -> list[float]:
        """The scores of the rollouts that could be judged."""
        return [v.score for v in self.verdicts if v.score is not None]

    @property
    def own(self) -> list[tuple[Rollout, Verdict]]:
        """What the policy wrote: a demonstration says nothing about what it can do."""
        return [(r, v) for r, v in zip(self.rollouts, self.verdicts, strict=True) if r.kind != "demo"]

    @property
    def own_scores(self) -> list[float]:
        """The scores of what the policy wrote."""
        return [v.score for _, v in self.own if v.score is not None]

    @property
    def has_spread(self) -> bool:
        """Whether there is anything to learn from: at least two different scores."""
        return not self.dropped and len(set(self.scores)) > 1

    @property
    def attempts(self) -> list[Group]:
        """All that was paid for this prompt, in its order."""
        return [*self.earlier, self]

    @property
    def tokens(self) -> int:
        """Tokens computed when the prompt is computed once: prompt + all responses."""
        return len(self.prompt) + sum(len(r.token_ids) for r in self.rollouts)


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """What one step's update did, over all its groups."""

    loss: float
    grad_norm: float
    """Before clipping; mean over the optimizer steps."""
    learning_rate: float
    groups: int
    """Groups that took part."""
    optimizer_steps: int
    """Those that were done."""
    skipped_steps: int = 0
    """Those left out because the gradient was not finite."""
