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

from vlmrl.rollout.hook import Regenerate, meta_text, with_hint

if TYPE_CHECKING:
    from vlmrl.config.rollout import GuideSettings
    from vlmrl.rollout.group import Group
    from vlmrl.rollout.hook import Decision

META = "hint"


def decide(group: Group, step: int, settings: GuideSettings) -> Decision:
    """One try with the hint, which must tell answers apart."""
    accuracy = fmean(group.own_scores) if group.own_scores else None
    if group.earlier:
        return "keep" if accuracy is not None and settings.low < accuracy < settings.high else "drop"
    hint = meta_text(group.sample, META)
    if hint is None or accuracy is None or accuracy > settings.low:
        return "keep"
    return Regenerate(with_hint(group.sample, settings.template, hint), train_on="clean")
