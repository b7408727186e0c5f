"""Section: what every section of a run file has in common, and how plug-ins add theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, field_validator

from vlmrl import catalog
from vlmrl.errors import UserError

S = TypeVar("S", bound="Section")
LIMIT = 2**31
"""Every number of a setting is nearer to 0; so none is infinite."""


class Section(BaseModel):
    """What all sections share: an unknown key is refused, a value never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _is_usable(cls, value: Any) -> Any:
        """Refuses what passes for a number or a text and no code behind it can take."""
        for one in _values(value):
            if isinstance(one, float | int) and not abs(one) < LIMIT:
                raise ValueError(f"expected a number below {LIMIT}, got {one!r:.40}")
            if isinstance(one, str) and "\0" in one:
                raise ValueError(f"{one!r:.80} holds a NUL character; leave it out")
        return value

    def own(self, plugin: str) -> Any:
        """The `Settings` of a plug-in in this section; None if its file has none."""
        return getattr(self, plugin, None)


def _values(value: Any) -> Iterator[Any]:
    """The numbers and texts of a setting, which may be a list or a table."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        for one in value:
            yield from _values(one)
    else:
        yield value


def with_plugins(kind: str) -> Callable[[type[S]], type[S]]:
    """Class decorator: the section gets a subsection for each file of that kind that has `Settings`, by its name.

    `UserError` if a file has the name of a setting of the section, or a setting without a default.
    """

    def extended(section: type[S]) -> type[S]:
        fields: dict[str, Any] = {}
        for name in catalog.names(kind):
            own = getattr(catalog.load(kind, name), "Settings", None)
            if own is not None and name in section.model_fields:
                raise UserError(
                    f"{catalog.folder(kind) / name}.py: its section has a setting {name!r}; rename the file"
                )
            if own is not None:
                fields[name] = (own, Field(default=_defaults(own, catalog.folder(kind) / f"{name}.py")))
        return create_model(
            section.__name__, __base__=section, __module__=section.__module__, __doc__=section.__doc__, **fields
        )

    return extended


def _defaults(own: type[Section], file: Path) -> Section:
    try:
        return own()
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        raise UserError(f"{file}: Settings.{field} has no valid default; give it one") from None
