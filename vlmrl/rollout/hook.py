"""Hooks: what is done with answers between sampling and the update. One file each; docs/hooks.md.

A file `hooks/<name>.py` has a docstring (its first line is what `vlmrl list hooks` shows) and one of

    decide(group, step, settings) -> Decision         what becomes of a judged group
    wrap(engine, formatter, settings) -> Engine       an engine around the engine
    demonstration(text) -> str                        what supervised learning learns in place of it

One that reads a text of the sample's `meta` has its name in `META`, so that `--dry-run` can say that no row has it.
`rollout.hooks` names files of the first two kinds, whose settings are the section [rollout.<name>]; `sft.transforms`
names those of the third. All are functions of what they are given: a resumed run has nothing to restore. The files load
no torch when imported, so that a run file is validated without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from vlmrl import catalog
from vlmrl.errors import UserError, nearest
from vlmrl.rollout.group import Group
from vlmrl.sample import MARKS, Sample

if TYPE_CHECKING:
    from vlmrl.config.settings import RolloutSettings
    from vlmrl.models.formatting import Formatter
    from vlmrl.rollout import Engine

Answer = Callable[[Sequence[Sample], Sequence[int]], list[Group]]
"""Judged groups of these samples, given with their numbers in the training data."""


@dataclass(frozen=True, slots=True)
class Regenerate:
    """The group is replaced by answers to another prompt: `sample`, which has a hint in its messages."""

    sample: Sample
    train_on: Literal["hinted", "clean"] = "hinted"
    """The prompt that the update puts before the new answers. On the clean one they are of kind "hint": their
    behaviour logprobs are those under the hinted prompt."""

    def replacement(self, old: Group, new: Group) -> Group:
        """`new`, the answers to `sample`, as they are trained on in place of `old`."""
        if self.train_on == "hinted":
            return replace(new, earlier=old.attempts)
        rollouts = [replace(r, kind="hint") if r.kind == "policy" else r for r in new.rollouts]
        clean = old.attempts[0]
        return replace(new, sample=clean.sample, prompt=clean.prompt, rollouts=rollouts, earlier=old.attempts)


Decision = Literal["keep", "drop"] | Regenerate


def load(name: str, *kinds: str) -> ModuleType:
    """The file of that name if it has a function of one of these kinds; `UserError` names those that do."""
    modules = {n: catalog.load("hooks", n) for n in catalog.names("hooks")}
    known = [n for n, module in modules.items() if any(hasattr(module, kind) for kind in kinds)]
    if name not in known:
        raise UserError(f"{name!r} is no hook for this{nearest(name, known)}")
    return modules[name]


def wrap_engine(engine: Engine, formatter: Formatter, rollout: RolloutSettings) -> Engine:
    """The engine inside those of the run's hooks; the first hook is the innermost."""
    for name in rollout.hooks:
        module = load(name, "decide", "wrap")
        if hasattr(module, "wrap"):
            engine = module.wrap(engine, formatter, getattr(rollout, name))
    return engine


def settle(groups: Sequence[Group], rollout: RolloutSettings, step: int, answer: Answer) -> list[Group]:
    """The groups as the run's hooks leave them, one for each prompt and in their order.

    The first hook that does not keep a group decides. A dropped group stays in the list and is marked.
    """
    hooks = [(load(name, "decide", "wrap"), getattr(rollout, name)) for name in rollout.hooks]
    deciding = [(module.decide, settings) for module, settings in hooks if hasattr(module, "decide")]
    settled, open_ = list(groups), range(len(groups))
    while deciding and open_:
        wishes: dict[int, Regenerate] = {}
        for place in open_:
            decisions = (decide(settled[place], step, settings) for decide, settings in deciding)
            decision: Decision = next((d for d in decisions if d != "keep"), "keep")
            if isinstance(decision, Regenerate):
                wishes[place] = decision
            else:
                settled[place].dropped = decision == "drop"
        asked = [wish.sample for wish in wishes.values()]
        answered = answer(asked, [settled[place].index for place in wishes]) if wishes else []
        for (place, wish), new in zip(wishes.items(), answered, strict=True):
            settled[place] = wish.replacement(settled[place], new)
        open_ = list(wishes)
    return settled


def meta_fields(rollout: RolloutSettings) -> dict[str, str]:
    """The text in `meta` that each of the run's hooks reads, by hook, for those that do."""
    modules = {name: load(name, "decide", "wrap") for name in rollout.hooks}
    return {name: module.META for name, module in modules.items() if hasattr(module, "META")}


def metrics(paid: Sequence[Group]) -> dict[str, float]:
    """Groups regenerated, groups dropped, and rollouts with forced tokens, among all that were paid for."""
    return {
        "hooks/regenerated": sum(len(group.earlier) > 0 for group in paid),
        "hooks/dropped": sum(group.dropped for group in paid),
        "hooks/forced": sum(rollout.trained is not None for group in paid for rollout in group.rollouts),
    }


# --- hints ------------------------------------------------------------------------------------------------


def meta_text(sample: Sample, field: str) -> str | None:
    """The text in `meta` under this name, if the sample has one that is not empty."""
    text = sample.meta.get(field)
    if text is not None and not isinstance(text, str):
        raise UserError(f"sample {sample.id!r}: meta.{field} is {text!r:.60}, no text; mend the row or leave it out")
    return text or None


def with_hint(sample: Sample, template: str, hint: str) -> Sample:
    """The sample with `template`, its {hint} filled in, at the end of the last turn of the user."""
    addition = template.replace("{hint}", hint)
    for mark in MARKS.values():
        addition = addition.replace(mark, "")
    turns = list(sample.messages)
    place = max(number for number, turn in enumerate(turns) if turn.role == "user")
    turns[place] = turns[place].model_copy(update={"content": turns[place].content + addition})
    # Not a copy: that would carry the content key along.
    fields = {name: getattr(sample, name) for name in Sample.model_fields}
    return Sample.model_validate(fields | {"messages": tuple(turns)})
