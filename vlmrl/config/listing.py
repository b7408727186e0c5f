"""The list of all settings, from the sections themselves: what `vlmrl settings` prints."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic_core import PydanticUndefined

from vlmrl.config.run_file import RunConfig
from vlmrl.config.section import Section
from vlmrl.errors import UserError, nearest

NAMES = {bool: "true | false", int: "int", float: "float", str: "text", types.NoneType: "unset"}
BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


class Row(NamedTuple):
    """One setting, as people read it. Entries of a list of tables are named with []: `data.train[].path`."""

    name: str
    type: str
    default: str
    description: str


def settings(section: str | None = None) -> list[Row]:
    """The settings of a section, as "learner" or "rollout.vllm"; all of them without one.

    `UserError` names the nearest section.
    """
    every = list(_rows(RunConfig, "", frozenset()))
    chosen = [row for row in every if section is None or f"{row.name}.".startswith(f"{section}.")]
    if not chosen:
        paths = {row.name.rpartition(".")[0] for row in every} | {row.name for row in every}
        raise UserError(f"no section {section!r}{nearest(str(section), paths)}")
    return chosen


def _rows(model: type[Section], prefix: str, inherited: frozenset[str]) -> Iterator[Row]:
    """The fields of a section but for those `inherited` ones that it shares with the section around it."""
    for field_name, field in model.model_fields.items():
        if field_name in inherited:
            continue
        name = f"{prefix}{field_name}"
        inner, is_list = _section(field.annotation)
        if inner is None or is_list:
            default = _default(field.get_default(call_default_factory=True))
            bounds = [b for meta in field.metadata for key, sign in BOUNDS.items() if (b := _bound(meta, key, sign))]
            kind = f"{_type(field.annotation)} {', '.join(bounds)}".rstrip()
            yield Row(name, kind, default, field.description or "")
        if inner is not None:
            yield from _rows(inner, f"{name}[]." if is_list else f"{name}.", frozenset(model.model_fields))


def _section(annotation: Any) -> tuple[type[Section] | None, bool]:
    """The section that a field holds, if any, and whether it is a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation, False
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType, tuple):
        found = [_section(inner)[0] for inner in get_args(annotation)]
        return next((section for section in found if section), None), origin is tuple
    return None, False


def _type(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation in NAMES:
        return NAMES[annotation]
    if origin is Annotated:
        return _type(inner[0])
    if origin is Literal:
        return " | ".join(map(str, inner))
    if origin in (Union, types.UnionType):
        return " | ".join(_type(part) for part in inner if part is not types.NoneType)
    if origin in (tuple, list):
        if origin is tuple and inner[-1] is not Ellipsis:
            return f"[{', '.join(map(_type, inner))}]"
        return f"list of {_type(inner[0])}"
    return f"table of {_type(inner[1])}" if origin is dict else "table"


def _bound(meta: Any, key: str, sign: str) -> str:
    value = getattr(meta, key, None)
    return "" if value is None else f"{sign} {value:g}"


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    return "unset" if value is None else json.dumps(value, ensure_ascii=False)
