"""Hooks: what is done with answers between sampling and the update. One file each; docs/hooks.md.

A file `hooks/<name>.py` has a docstring (its first line is what `vlmrl list hooks` shows) and one of

    decide(group, step, own) -> Decision         what is done with a judged group
    wrap(engine, formatter, own) -> Engine       an engine around the engine

`rollout.hooks` names the files. `own` is the section [rollout.<name>]: the file's `class Settings(Section)`, or None if
it has none. A hook that reads a text of the sample's `meta` has its name in `META`, so that `--dry-run` can say that no
row has it. All are functions of what they are given: a resumed run has nothing to restore. The files load no torch when
imported, so that a run file is validated without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from vlmrl import catalog
from vlmrl.errors import UserError
from vlmrl.rollout.group import Group
from vlmrl.sample import MARK, Sample

if TYPE_CHECKING:
    from vlmrl.config.rollout import RolloutSettings
    from vlmrl.models.formatting import Formatter
    from vlmrl.rollout import Engine

HINT_TEMPLATE = r"\{hint\}"
"""What the template of a hint must match."""

RollOut = Callable[[Sequence[Sample], Sequence[int]], list[Group]]
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


def wrap_engine(engine: Engine, formatter: Formatter, rollout: RolloutSettings) -> Engine:
    """The engine inside those of the run's hooks; the first hook is the innermost."""
    for name in rollout.hooks:
        module = catalog.load("hooks", name)
        if hasattr(module, "wrap"):
            engine = module.wrap(engine, formatter, rollout.own(name))
    return engine


def apply_hooks(groups: Sequence[Group], rollout: RolloutSettings, step: int, roll_out: RollOut) -> list[Group]:
    """The groups after the run's hooks, one for each prompt and in their order.

    The first hook that does not keep a group decides. A dropped group stays in the list and is marked. A regenerated
    group is decided upon again.
    """
    hooks = [(catalog.load("hooks", name), rollout.own(name)) for name in rollout.hooks]
    deciding = [(module.decide, own) for module, own in hooks if hasattr(module, "decide")]
    result, undecided = list(groups), range(len(groups))
    while deciding and undecided:
        requests: dict[int, Regenerate] = {}
        for place in undecided:
            decisions = (decide(result[place], step, own) for decide, own in deciding)
            decision: Decision = next((d for d in decisions if d != "keep"), "keep")
            if isinstance(decision, Regenerate):
                requests[place] = decision
            elif decision not in ("keep", "drop"):
                raise UserError(f"a hook decided {decision!r:.60}; return 'keep', 'drop' or a Regenerate")
            else:
                result[place].dropped = decision == "drop"
        samples = [request.sample for request in requests.values()]
        regenerated = roll_out(samples, [result[place].index for place in requests]) if requests else []
        for (place, request), new in zip(requests.items(), regenerated, strict=True):
            result[place] = request.replacement(result[place], new)
        undecided = list(requests)
    return result


def meta_fields(rollout: RolloutSettings) -> dict[str, str]:
    """The text in `meta` that each of the run's hooks reads, by hook, for those that do."""
    modules = {name: catalog.load("hooks", name) for name in rollout.hooks}
    return {name: module.META for name, module in modules.items() if hasattr(module, "META")}


def metrics(groups: Sequence[Group]) -> dict[str, float]:
    """Groups regenerated, groups dropped, and rollouts with forced tokens, over all groups that were sampled."""
    return {
        "hooks/regenerated": sum(len(group.earlier) > 0 for group in groups),
        "hooks/dropped": sum(group.dropped for group in groups),
        "hooks/forced": sum(rollout.trained is not None for group in groups for rollout in group.rollouts),
    }


# --- hints ------------------------------------------------------------------------------------------------


def meta_text(sample: Sample, field: str) -> str | None:
    """The text in `meta` under this name, if the sample has one that is not empty."""
    text = sample.meta.get(field)
    if text is not None and not isinstance(text, str):
        raise UserError(f"sample {sample.id!r}: meta.{field} is {text!r:.60}, not a text; correct or drop the row")
    return text or None


def with_hint(sample: Sample, template: str, hint: str) -> Sample:
    """The sample with `template`, its {hint} filled in, at the end of the last turn of the user."""
    addition = MARK.sub("", template.replace("{hint}", hint))
    turns = list(sample.messages)
    place = max(number for number, turn in enumerate(turns) if turn.role == "user")
    turns[place] = turns[place].model_copy(update={"content": turns[place].content + addition})
    # Not a copy: that would carry the content key along.
    fields = {name: getattr(sample, name) for name in Sample.model_fields}
    return Sample.model_validate(fields | {"messages": tuple(turns)})
