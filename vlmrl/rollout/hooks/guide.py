"""Guide-GRPO (arXiv 2506.13923): where all answers are wrong, a hint helps to write those that the update learns from.

A group whose mean score is at most 0.001 is sampled anew with a hint in the prompt. Groups without a hint are kept;
one with a hint is kept if its mean is in (0.001, 0.999), and dropped otherwise. What is kept trains the prompt without
the hint: the rollouts are of kind "hint", and `objectives/guide.py` has their loss. The hint is `meta.hint` of the
sample; a group without one is kept.

The paper refills what was dropped: that is the sampler `refill`.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from pydantic import Field

from vlmrl.config.section import Section
from vlmrl.rollout.hook import HINT_TEMPLATE, Regenerate, meta_text, with_hint

if TYPE_CHECKING:
    from vlmrl.rollout.group import Group
    from vlmrl.rollout.hook import Decision

META = "hint"


class Settings(Section):
    """[rollout.guide]: `meta.hint` for prompts that are never answered right."""

    low: float = Field(
        default=0.001, ge=0, lt=1, description="mean score up to which a group is sampled again with the hint"
    )
    high: float = Field(default=0.999, gt=0, le=1, description="mean score from which a hinted group is dropped")
    template: str = Field(
        default="\n\nHint: {hint}",
        pattern=HINT_TEMPLATE,
        description="text with the hint that is added to the user's last turn",
    )


def decide(group: Group, step: int, own: Settings) -> Decision:
    """One try with the hint, which must tell answers apart."""
    accuracy = fmean(group.own_scores) if group.own_scores else None
    if group.earlier:
        return "keep" if accuracy is not None and own.low < accuracy < own.high else "drop"
    hint = meta_text(group.sample, META)
    if hint is None or accuracy is None or accuracy > own.low:
        return "keep"
    return Regenerate(with_hint(group.sample, own.template, hint), train_on="clean")
