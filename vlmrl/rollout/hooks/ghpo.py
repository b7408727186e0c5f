"""GHPO (arXiv 2507.10628): where all answers are wrong, the prompt gets the beginning of the reference solution.

All G answers of a group wrong: the whole group is sampled anew with the first 25 % of the characters of the solution
in the prompt, then with 50 %, then with 75 %, until one answer is right. The hint stays in the prompt that is trained
on, so nothing is to be corrected. The solution is `meta.solution` of the sample; a group without one is kept.

The authors' code has a fixed schedule too, whose `hint_ratio` it never reads. What the paper says of a cold start, in
which every prompt has half of its solution for the first steps, is not in that code, and not here. Their objective is
the preset "bnpo" without a KL term.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlmrl.rollout.hook import Regenerate, meta_text, with_hint

if TYPE_CHECKING:
    from vlmrl.config.rollout import GhpoSettings
    from vlmrl.rollout.group import Group
    from vlmrl.rollout.hook import Decision

META = "solution"


def decide(group: Group, step: int, settings: GhpoSettings) -> Decision:
    """More of the solution, as long as there is more to give."""
    wrong = group.own_scores and max(group.own_scores) <= settings.wrong_at
    hints = len(group.earlier)
    if not wrong or step < settings.start_step or hints == len(settings.shares):
        return "keep"
    sample = group.attempts[0].sample
    solution = meta_text(sample, META)
    if solution is None:
        return "keep"
    beginning = solution[: int(len(solution) * settings.shares[hints])]
    return Regenerate(with_hint(sample, settings.template, beginning))
