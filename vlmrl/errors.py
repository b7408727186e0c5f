"""The one exception that means "the user's input is wrong": the command prints it as a line and exits with 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """What is wrong and how to mend it, in one line: which file, row, field, value."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that ends an "unknown name" message: `; did you mean 'x'?`, or the list of known names."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""
