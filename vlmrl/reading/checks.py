"""Checks of targets and parameters that several verifiers make; each raises a ValueError that says what to give."""

from __future__ import annotations

import ast
import json
from collections.abc import Collection
from typing import Any


def one_of(name: str, value: Any, known: Collection[str]) -> None:
    """The parameter has one of the known values."""
    if value not in known:
        raise ValueError(f"{name} {value!r} is unknown; use one of {', '.join(known)}")


def no_target(target: Any, verifier: str) -> None:
    """There is no target: the verifier judges the response alone."""
    if target is not None:
        raise ValueError(f"target {str(target)[:60]!r}: {verifier} needs none; leave it out")


def literal(target: Any) -> Any:
    """The list or object that a text holds as JSON or as a Python literal; other targets, and other texts, as they are.

    Data sets of several toolkits store their targets so: `"[32, 48, 128, 144]"`, `"{'bbox_2d': [1, 2, 3, 4]}"`.
    """
    if not isinstance(target, str) or not target.strip().startswith(("[", "{", "(")):
        return target
    try:
        return json.loads(target)
    except (ValueError, RecursionError):
        pass
    try:
        # Through JSON, so that tuples are lists.
        return json.loads(json.dumps(ast.literal_eval(target.strip())))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return target
