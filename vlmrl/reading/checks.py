"""Checks of targets and parameters that several verifiers make; each raises a ValueError that says what to give."""

from __future__ import annotations

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
