"""Group: a sample, its encoded prompt, its G rollouts, their verdicts, and the learner's statistics of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from vlmrl.sample import RewardSpec, Sample
from vlmrl.verdict import Verdict

if TYPE_CHECKING:
    from vlmrl.models.encoded_prompt import EncodedPrompt
    from vlmrl.rollout import Rollout


class TokenStats(NamedTuple):
    """Statistics of one rollout from the learner's first pass over it; means over its tokens."""

    entropy: float
    """Entropy of the policy, in nats."""
    clip_fraction: float
    """Share of tokens whose importance ratio the objective clipped."""
    behaviour_kl: float
    """k3 estimate of KL(behaviour || policy), in nats."""
    diff_mean: float | None
    """|policy logprob - behaviour logprob|: agreement of engine and learner. None if the policy has changed since it
    sampled, as in the second and later updates of a step."""
    diff_max: float | None
    advantage: float | None = None
    """Its advantage in the group, before weights and credit of tokens."""


@dataclass(slots=True)
class Group:
    """One prompt of a training step, with its rollouts."""

    sample: Sample
    prompt: EncodedPrompt
    rollouts: list[Rollout]
    verdicts: list[Verdict]
    stats: list[TokenStats | None] = field(default_factory=list)
    """One entry for each rollout, None for an unscored one; empty if the group was not in the update."""
    index: int = -1
    """Index of the sample in the training data; -1 if it is not from there."""
    earlier: list[Group] = field(default_factory=list)
    """Groups of the same sample that this one replaces; the first has no hint."""
    dropped: bool = False
    """Whether a hook excludes it from the update."""
    reward: tuple[RewardSpec, ...] = ()
    """The sample's specs as judged: with the parameters that the run decided."""

    @property
    def scores(self) -> list[float]:
        """The scores of the rollouts that are scored."""
        return [v.score for v in self.verdicts if v.score is not None]

    @property
    def own(self) -> list[tuple[Rollout, Verdict]]:
        """Rollouts of the policy with their verdicts, without demonstrations."""
        return [(r, v) for r, v in zip(self.rollouts, self.verdicts, strict=True) if r.kind != "demo"]

    @property
    def own_scores(self) -> list[float]:
        """The scores of the policy's own rollouts."""
        return [v.score for _, v in self.own if v.score is not None]

    @property
    def has_spread(self) -> bool:
        """Whether there is something to learn from: it is not dropped and has at least two different scores."""
        return not self.dropped and len(set(self.scores)) > 1

    @property
    def attempts(self) -> list[Group]:
        """All groups that were generated for this prompt, in their order."""
        return [*self.earlier, self]

    @property
    def tokens(self) -> int:
        """Tokens of the prompt, once, and of all responses."""
        return len(self.prompt) + sum(len(r.token_ids) for r in self.rollouts)


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """Result of one step's update over all of its groups."""

    loss: float
    grad_norm: float
    """Norm before clipping, as a mean over the optimizer steps."""
    learning_rate: float
    groups: int
    """Number of groups in the update."""
    optimizer_steps: int
    """Number of completed steps."""
    skipped_steps: int = 0
    """Number of steps skipped because the gradient was not finite."""
