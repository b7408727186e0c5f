"""Complaints: the first thing that pydantic finds wrong in a row or a file of settings, in one line for its writer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from vlmrl.errors import nearest


def one_line(error: ValidationError, model: type[BaseModel]) -> str:
    """The first complaint of pydantic: field, what is wrong, value; for an unknown field the nearest name."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "row"
    if first["type"] == "extra_forbidden":
        owner = _owner(model, first["loc"][:-1])
        return f"{field}: unknown field{nearest(str(first['loc'][-1]), owner.model_fields)}"
    if first["type"] == "missing":
        return f"{field}: missing; add it"
    if first["type"] == "tuple_type":
        return f"{field}: expected a list, got {_short(first['input'])}"
    message = first["msg"].removeprefix("Value error, ").replace("\n", " ")
    if first["type"] == "value_error":
        return message if field == "row" else f"{field}: {message}"
    return f"{field}: {message[0].lower() + message[1:]}, got {_short(first['input'])}"


def _owner(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """The model that the path `loc` inside `model` leads to."""
    for part in loc:
        if isinstance(part, int) or part not in model.model_fields:
            continue
        found = list(_models(model.model_fields[part].annotation))
        if found:
            model = found[0]
    return model


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models(inner)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
