"""GHPO (arXiv 2507.10628): where all answers are wrong, the prompt gets the beginning of the reference solution.

All G answers of a group wrong: the whole group is sampled anew with the first 25 % of the characters of the solution
in the prompt, then with 50 %, then with 75 %, until one answer is right. The hint stays in the prompt that is trained
on, so nothing is to be corrected. The solution is `meta.solution` of the sample; a group without one is kept.

The authors' code has a fixed schedule too, whose `hint_ratio` it never reads. What the paper says of a cold start, in
which every prompt has half of its solution for the first steps, is not in that code, and not here. Their objective is
the preset "bnpo" without a KL term.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from vlmrl.config.section import Section
from vlmrl.rollout.hook import HINT_TEMPLATE, Regenerate, meta_text, with_hint

if TYPE_CHECKING:
    from vlmrl.rollout.group import Group
    from vlmrl.rollout.hook import Decision

META = "solution"


class Settings(Section):
    """[rollout.ghpo]: parts of `meta.solution` for prompts that are never answered right."""

    shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        default=(0.25, 0.5, 0.75),
        min_length=1,
        description="shares of the solution's characters to give as a hint, tried in this order",
    )
    start_step: int = Field(default=0, ge=0, description="first step at which hints are given")
    wrong_at: float = Field(default=0.0, ge=0, lt=1, description="score up to which an answer is wrong")
    template: str = Field(
        default="\n\nThe solution begins as follows. Go on from there:\n{hint}",
        pattern=HINT_TEMPLATE,
        description="text with the hint that is added to the user's last turn",
    )


def decide(group: Group, step: int, own: Settings) -> Decision:
    """More of the solution, as long as there is more to give."""
    wrong = group.own_scores and max(group.own_scores) <= own.wrong_at
    hints = len(group.earlier)
    if not wrong or step < own.start_step or hints == len(own.shares):
        return "keep"
    sample = group.attempts[0].sample
    solution = meta_text(sample, META)
    if solution is None:
        return "keep"
    beginning = solution[: int(len(solution) * own.shares[hints])]
    return Regenerate(with_hint(sample, own.template, beginning))
