"""The list of all settings, with type, default and meaning: `vlmrl settings [SECTION]`, and docs/settings.md.

for row in settings("sampler.rlcs"): print(row.name, row.default)
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from vlmrl.config.run_file import RunConfig
from vlmrl.config.section import Section
from vlmrl.errors import UserError, nearest

WORDS = {int: "integer", float: "number", bool: "true or false", str: "text"}
BOUNDS = {
    annotated_types.Gt: ("gt", ">"),
    annotated_types.Ge: ("ge", ">="),
    annotated_types.Lt: ("lt", "<"),
    annotated_types.Le: ("le", "<="),
}
HEAD = """\
# Settings

Every setting of a run file, as `vlmrl settings` prints it. In a run file `learner.row_tokens` is `row_tokens` below
`[learner]`; as a flag it is `--learner.row_tokens`. A sampler, hook or objective defines its own settings in its file;
they form the section with its name.
"""


@dataclass(frozen=True)
class Row:
    """One setting."""

    name: str
    type: str
    default: str
    """As TOML; or `required`, or `unset`."""
    description: str
    plugin: bool
    """Whether the file of a sampler, a hook or an objective has it."""


def settings(section: str | None = None) -> list[Row]:
    """All settings, or those of a section such as `learner` or `sampler.rlcs`; `UserError` if there is none."""
    rows = list(_rows(RunConfig, "", set()))
    if section is None:
        return rows
    chosen = [row for row in rows if row.name == section or row.name.startswith(f"{section}.")]
    if not chosen:
        sections = {row.name.rpartition(".")[0] for row in rows}
        raise UserError(f"{section!r}: no such section{nearest(section, sections | {r.name for r in rows})}")
    return chosen


def markdown() -> str:
    """docs/settings.md."""
    lines, heading = [HEAD], ""
    for row in settings():
        if heading != (heading := row.name.partition(".")[0]):
            lines.append(f"\n## [{heading}]\n\n| setting | type | default | |\n|---|---|---|---|\n")
        cells = (f"`{row.name}`", row.type, f"`{row.default}`", row.description)
        escaped = [cell.replace("|", "\\|") for cell in cells]
        lines.append(f"| {' | '.join(escaped)} |\n")
    return "".join(lines)


def _rows(section: type[Section], prefix: str, seen: set[type]) -> Iterator[Row]:
    """The settings of a section and below; what another section lists already is not repeated."""
    inherited = {name for base in section.__mro__[1:] if base in seen for name in getattr(base, "model_fields", ())}
    if section in seen:
        return
    seen.update(base for base in section.__mro__ if base not in (Section, object))
    for name, field in section.model_fields.items():
        if name in inherited:
            continue
        inner = list(_sections(field.annotation))
        if not inner or get_origin(field.annotation) is dict:
            plugin = not section.__module__.startswith("vlmrl.config.")
            yield Row(f"{prefix}{name}", _type(field), _default(field), field.description or "", plugin)
        for below in inner:
            yield from _rows(below, f"{prefix}{name}.", seen)


def _sections(annotation: Any) -> Iterator[type[Section]]:
    """The sections that a type holds."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections(inner)


def _type(field: FieldInfo) -> str:
    if any(_sections(field.annotation)):
        return "table"
    return _word(field.annotation) + _bounds(field.metadata)


def _word(annotation: Any) -> str:
    """A type in plain English; unions without their None."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in WORDS:
        return WORDS[annotation]
    if origin is Annotated:
        return _word(arguments[0]) + _bounds(arguments[1:])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_word(argument) for argument in arguments if argument is not type(None))
    if origin is dict:
        return f"table of {_word(arguments[1])}"
    if arguments[-1] is Ellipsis:
        return f"list of {_word(arguments[0])}"
    return f"list of {len(arguments)}: {_word(arguments[0])}"


def _bounds(metadata: Any) -> str:
    """Such as ` > 0, <= 1`."""
    bounds = [
        f"{sign} {getattr(bound, attribute)}"
        for bound in metadata
        for kind, (attribute, sign) in BOUNDS.items()
        if isinstance(bound, kind)
    ]
    nested = [b for inner in metadata if isinstance(inner, FieldInfo) for b in [_bounds(inner.metadata)]]
    return (f" {', '.join(bounds)}" if bounds else "") + "".join(nested)


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    if field.default is None:
        return "unset"
    return json.dumps(field.default)  # which is TOML too, of values that are not tables
