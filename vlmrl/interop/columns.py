"""Columns: a reward for answers of which somebody's data hold the targets, as `vlmrl.interop` needs it.

    reward = ColumnReward([{"verifier": "choice", "columns": {"choices": "options"}}], column="answer")
    reward.alone([Answer({"answer": "B", "options": ["red", "blue"]}, Member("It is blue."))])

A spec is one of a sample's `reward`, and `columns` in it names the column that fills its `target` or a parameter.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any, NamedTuple

from pydantic import Field, ValidationError, model_validator

from vlmrl import catalog
from vlmrl.errors import UserError, nearest, one_line
from vlmrl.interop.places import Writer, image_sizes
from vlmrl.rewards.calls import CallRunner, check_param_names, check_params, is_group_level
from vlmrl.rewards.composite import Answered, check_spec, score_groups
from vlmrl.rewards.frames import decided, has_frame
from vlmrl.rewards.workers import Workers
from vlmrl.sample import RewardSpec, Sample
from vlmrl.verdict import Member, Verdict

Specs = str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]
"""A verifier's name, a spec, a list of them, or one of these by data source."""
Row = Mapping[str, Any]
"""The columns of the data that belong to an answer."""


class Answer(NamedTuple):
    """A response, with what the toolkit knows beside it."""

    row: Row
    member: Member
    prompt: Any = None


class ColumnReward:
    """A composite reward. `specs`: see `Specs`; None: the column `reward` holds the specs of each row.

    `column` is that of the target, where a spec says nothing of it. `run` defaults to the `Workers` that the
    process shares. `processor`, of the model that answers, says in which coordinates it writes places in the images
    of a row. `UserError` for what is wrong with the specs.
    """

    def __init__(self, specs: Specs | None, column: str, run: CallRunner | None = None, processor: Any = None) -> None:
        named: Mapping[str | None, Any] = {} if specs is None else {None: specs}
        if isinstance(specs, Mapping) and "verifier" not in specs:
            named = {str(source): one for source, one in specs.items()}
        self.sources = {source: _templates(one) for source, one in named.items()}
        self.templates = [template for templates in self.sources.values() for template in templates]
        self.column = column
        self.run = run
        self.writer = None if processor is None else Writer.of(processor)
        self.verifiers = tuple(dict.fromkeys(template.verifier for template in self.sources.get(None, ())))
        self.name = "+".join(self.verifiers) or "vlmrl"
        for template in self.templates:
            _check(template)

    def alone(self, answers: Sequence[Answer]) -> list[Verdict]:
        """Each answer by itself; `UserError` for a group-level verifier."""
        specs = [self._specs(answer.row) for answer in answers]
        self.refuse_group_level(spec for one in specs for spec in one)
        groups = [self._answered(one, answer) for one, answer in zip(specs, answers, strict=True)]
        return [verdict for (verdict,) in score_groups(groups, self.run or _shared())]

    def group(self, answers: Sequence[Answer]) -> list[Verdict]:
        """The answers to one prompt, one or more."""
        group = self._answered(self._specs(answers[0].row), *answers)
        return score_groups([group], self.run or _shared())[0]

    def groups(self, answers: Sequence[Answer], value: Callable[[list[Verdict]], list[Any]]) -> list[Any]:
        """`value` of the verdicts of each group, for the answers of this process.

        A group is a run of answers to one prompt. It may go on in the next training process: all of them call this
        together, and each judges the groups that begin in it.
        """
        entries, begin = _gathered([self._entry(answer) for answer in answers])
        end = begin + len(answers)
        mine: list[Answered] = []
        place = 0
        for _, run in groupby(entries, key=lambda entry: entry.key):
            group = list(run)
            if begin <= place < end:
                members = [entry.member for entry in group]
                mine.append(_unframed(group[0].specs, members)._replace(decided=group[0].frames))
            place += len(group)
        judged = score_groups(mine, self.run or _shared())
        return _gathered([one for verdicts in judged for one in value(verdicts)])[0][begin:end]

    def may_need_groups(self) -> bool:
        """Whether a verifier is group-level; the rows' own may be."""
        return not self.templates or any(is_group_level(template.verifier) for template in self.templates)

    def refuse_group_level(self, specs: Iterable[RewardSpec]) -> None:
        """`UserError` if one of them needs the group."""
        for verifier in {spec.verifier for spec in specs}:
            if is_group_level(verifier):
                raise UserError(f"{verifier}: needs the other answers to the prompt, and each comes alone here")

    def _entry(self, answer: Answer) -> _Entry:
        specs = self._specs(answer.row)
        media = [answer.row.get(name) for name in ("image", "images", "videos", "audios")]
        seen = json.dumps([answer.prompt, media, [spec.model_dump() for spec in specs]], default=_digest)
        return _Entry(hashlib.sha256(seen.encode()).hexdigest(), specs, self._frames(specs, answer.row), answer.member)

    def _answered(self, specs: tuple[RewardSpec, ...], *answers: Answer) -> Answered:
        members = [answer.member for answer in answers]
        return _unframed(specs, members)._replace(decided=self._frames(specs, answers[0].row))

    def _frames(self, specs: Sequence[RewardSpec], row: Row) -> list[dict[str, Any]]:
        """For each spec the frame of its target and of the answer; `UserError` where nobody says which that is."""
        framed = [spec for spec in specs if has_frame(spec)]
        if not framed:
            return [{} for _ in specs]
        if self.writer:
            sizes = image_sizes(row)
            if not sizes:
                raise UserError(f"{framed[0].verifier}: no images in the row; pass the column image or images")
            return decided(specs, sizes, self.writer.coords, [self.writer.shown(size) for size in sizes])
        for spec in framed:
            if "answer_coords" not in spec.params:
                raise UserError(
                    f"{spec.verifier}: nothing says in which coordinates the model answers; give processor=, where the "
                    "rows hold their images, or answer_coords (and answer_size, for pixels) in params or columns"
                )
        return decided(specs, [])

    def _specs(self, row: Row) -> tuple[RewardSpec, ...]:
        if not self.templates:
            own = row.get("reward", row.get(self.column))
            if own is None:
                raise UserError("reward: no such column in the data; name a verifier, or give each row its specs")
            return tuple(_filled(template, row, None) for template in _templates(own))
        source = None if None in self.sources else row.get("data_source") or row.get("source")
        if source not in self.sources:
            raise UserError(f"data source {source!r}: has no reward{nearest(str(source), map(str, self.sources))}")
        return tuple(_filled(template, row, self.column) for template in self.sources[source])


class _Entry(NamedTuple):
    """An answer with what it is judged by; those of a group have the same key."""

    key: str
    specs: tuple[RewardSpec, ...]
    frames: list[dict[str, Any]]
    member: Member


def _unframed(specs: tuple[RewardSpec, ...], members: Sequence[Member]) -> Answered:
    return Answered(Sample.model_construct(id="", reward=specs), members)


def _digest(value: Any) -> str:
    """A hash of an image, an array or bytes; of anything else the name of its type."""
    content = value if isinstance(value, bytes) else value.tobytes() if hasattr(value, "tobytes") else None
    return type(value).__name__ if content is None else hashlib.sha256(content).hexdigest()


# --- specs ------------------------------------------------------------------------------------------------


class _Template(RewardSpec):
    """A spec that is filled row by row."""

    columns: dict[str, str] = Field(default={})

    @model_validator(mode="after")
    def _has_target(self) -> _Template:
        return self


def _templates(value: Any) -> tuple[_Template, ...]:
    """The specs in `value`; in a row they may be JSON text, and what a row lacks may be None, as Arrow has it."""
    try:
        if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
            value = json.loads(value)
        value = _plain(value)
        return tuple(_template(spec) for spec in ([value] if isinstance(value, str | dict) else value))
    except ValidationError as error:
        raise UserError(f"reward: {one_line(error, _Template)}") from None
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise UserError(
            f"reward: expected specs like {{'verifier': 'math'}}, got {str(value)[:80]} ({error})"
        ) from None


def _template(spec: Any) -> _Template:
    fields = {"verifier": spec} if isinstance(spec, str) else {k: v for k, v in spec.items() if v is not None}
    params = fields.get("params", {})
    if isinstance(params, str):  # in parquet written by vlmrl, targets and parameters of any type are JSON
        params = json.loads(params)
        fields["target"] = json.loads(fields["target"])
    return _Template.model_validate(fields | {"params": {k: v for k, v in params.items() if v is not None}})


def _check(template: _Template) -> None:
    """`UserError` for what no row could correct."""
    check_param_names(template.verifier, (name for name in template.columns if name != "target"))
    check_params(template.verifier, template.params)
    if template.target is not None and not template.columns:
        check_spec(template)


def _filled(template: _Template, row: Row, column: str | None) -> RewardSpec:
    """The spec for a row. `column`: of the target, where the template says nothing of it."""
    columns = dict(template.columns)
    if column and template.target is None and catalog.needs_target(template.verifier):
        columns.setdefault("target", column)
    values: dict[str, Any] = {}
    for name, source in columns.items():
        if source not in row:
            raise UserError(f"{template.verifier}: no column {source!r} in the data{nearest(source, row)}")
        values[name] = _plain(row[source])
    target = values.pop("target", template.target)
    given = {name: value for name, value in values.items() if value is not None}
    return _judgeable(template.model_copy(update={"target": target, "params": template.params | given}))


def _judgeable(spec: RewardSpec) -> RewardSpec:
    """Most toolkits carry targets as text: one that the verifier cannot judge against is read as JSON."""
    if not isinstance(spec.target, str) or spec.target.lstrip()[:1] not in ("[", "{"):
        return spec
    try:
        catalog.load("verifiers", spec.verifier).check_target(spec.target, **spec.params)
        return spec
    except ValueError:
        try:
            return spec.model_copy(update={"target": json.loads(spec.target)})
        except ValueError:
            return spec


def _plain(value: Any) -> Any:
    """Lists and numbers in place of numpy's, which pandas makes of parquet."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


# --- processes --------------------------------------------------------------------------------------------


def _gathered(items: list[Any]) -> tuple[list[Any], int]:
    """The items of all training processes by rank, and where those of this one begin."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return items, 0
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, items)
    return [item for part in parts for item in part], sum(map(len, parts[: torch.distributed.get_rank()]))


_starting = threading.Lock()


def _shared() -> Workers:
    """The workers of this process, started now if they are not."""
    with _starting:
        return _workers(os.getpid(), catalog.added_verifiers())


@cache
def _workers(process: int, added: tuple[str, ...]) -> Workers:
    """A fork needs its own pool, and so do verifiers that became known later."""
    neighbours = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # training processes on this machine, by torchrun
    workers = Workers(max(1, (os.cpu_count() or 1) // neighbours - 1))
    atexit.register(workers.close)
    return workers
