"""UserError, the exception for wrong input: the command prints it as one line and exits with 2.

Names, ids and paths come from data of others. `escaped` shows them so that they cannot forge a line, move the cursor
or reverse what stands beside them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError


MOST_CHARACTERS = 1200
"""Characters of a message; in a longer one, the middle is left out: it begins with the place and ends with the fix."""
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line separators, marks of writing direction, and halves of characters."""


_LOGIN = re.compile(r"(?<=://)[^/?#\s\"'<>]*@")
NO_LOGIN = "***@"
"""What stands in a URL in place of its user and password."""


def without_logins(text: str) -> str:
    """The text with the user and password of each URL removed."""
    return _LOGIN.sub(NO_LOGIN, text)


def escaped(text: str, keep: str = "") -> str:
    """The text with control characters written as in Python's source, but for those in `keep`."""
    return _CONTROLS.sub(lambda m: m[0] if m[0] in keep else m[0].encode("unicode_escape").decode(), text)


class UserError(ValueError):
    """One line that says what is wrong (file, row, field, value) and how to fix it.

    Control characters of the message are escaped, and it is cut to `MOST_CHARACTERS`.
    """

    def __init__(self, message: str) -> None:
        line = escaped(message)
        if len(line) > MOST_CHARACTERS:
            line = f"{line[: MOST_CHARACTERS // 2]} ... {line[5 - MOST_CHARACTERS // 2 :]}"
        super().__init__(line)

    def at(self, where: str) -> UserError:
        """The same error with the place (row, field) before its line."""
        return UserError(f"{where}: {self}")


class UnreadableError(UserError):
    """A medium that cannot be read: its `file`, `why`, and what to do about it."""

    def __init__(self, file: str, why: str, advice: str = "replace the file or drop the row", where: str = "") -> None:
        super().__init__(f"{where}{file}: {why}; {advice}")
        self.file, self.why, self.advice, self.where = file, why, advice, where

    def at(self, where: str) -> UnreadableError:
        return UnreadableError(self.file, self.why, self.advice, f"{where}: {self.where}")


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an "unknown name" message: `; did you mean 'x'?`, or the list of known names."""
    known, name = sorted(known), name[:100]  # the time grows with the length, and so does the line
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""


def one_line(error: ValidationError, model: type[BaseModel]) -> str:
    """The first error of pydantic: field, what is wrong, value; for an unknown field the nearest name."""
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
    """The model at the path `loc` inside `model`."""
    for part in loc:
        if isinstance(part, int) or part not in model.model_fields:
            continue
        inner = list(_models(model.model_fields[part].annotation))
        if inner:
            model = inner[0]
    return model


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models(inner)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
