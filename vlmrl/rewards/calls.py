"""Calls: one question to one verifier, and how it is answered in this process.

    run_call(Call("counting", (Member("3 dogs"),), 3, {}))     -> [Verdict(1.0, ...)]

A call holds one response; of a group-level verifier, the responses of a group. A `CallRunner` answers many:
`run_calls` in this process, `workers.Workers` in processes that can be killed, `serve.client.Remote` on servers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

from vlmrl import catalog
from vlmrl.errors import UserError, nearest
from vlmrl.rewards.redaction import redact, redacted
from vlmrl.verdict import Member, Verdict


class Call(NamedTuple):
    """One question to a verifier."""

    verifier: str
    members: tuple[Member, ...]
    """One response; all responses of the group where the verifier is a group-level one."""
    target: Any
    params: Mapping[str, Any]
    id: str = ""
    """The id of the sample or row."""


CallRunner = Callable[[Sequence[Call]], list[list[Verdict]]]
"""Runs calls; gives, in their order, a verdict for each of their members. Never raises for what a call holds."""


def run_call(call: Call) -> list[Verdict]:
    """The verdicts of one call, in this process; an exception inside the verifier becomes the status `error`."""
    module = catalog.load("verifiers", call.verifier)
    try:
        if is_group_level(call.verifier):
            verdicts = module.verify_group(call.members, call.target, **call.params)
        else:
            verdicts = [module.verify(call.members[0].response, call.target, **call.params)]
        if len(verdicts) != len(call.members) or not all(isinstance(v, Verdict) for v in verdicts):
            raise TypeError(f"returned {verdicts!r:.80}, not a Verdict for each response")
        return verdicts if catalog.is_bounded(call.verifier) else [redacted(verdict) for verdict in verdicts]
    except Exception as error:
        return [failure(call.verifier, error)] * len(call.members)


def failure(what: str, error: Exception) -> Verdict:
    """The verdict of a response that could not be judged: what failed, and the exception."""
    reason = " ".join(redact(f"{type(error).__name__}: {error}").split())
    return Verdict(None, "error", why=f"{what} failed: {reason[:200]}")


def run_calls(calls: Sequence[Call]) -> list[list[Verdict]]:
    """The `CallRunner` without isolation: an answer that hangs a verifier hangs the caller."""
    return [run_call(call) for call in calls]


def is_group_level(verifier: str) -> bool:
    """Whether the verifier judges a response beside the others of its group."""
    return hasattr(catalog.load("verifiers", verifier), "verify_group")


def check_param_names(verifier: str, names: Iterable[str]) -> None:
    """`UserError` for a parameter that the verifier does not have, or for an unknown verifier."""
    known = catalog.parameters(verifier)
    for name in names:
        if name not in known and not catalog.takes_any(verifier):
            raise UserError(f"params.{name[:100]}: unknown parameter of {verifier}{nearest(name, known)}")


def check_params(verifier: str, params: Mapping[str, Any]) -> None:
    """`UserError` as in `check_param_names`, and for a value that is not of the type in the verifier's signature."""
    check_param_names(verifier, params)
    types = catalog.parameter_types(verifier)
    for name, value in params.items():
        kinds = types.get(name, ())
        if kinds and not any(kind not in _IS or _IS[kind](value) for kind in kinds):
            expected = " or ".join(_WORDS[kind] for kind in kinds)
            raise UserError(f"params.{name}: expected {expected}, got {value!r:.80}")


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, int | float | Real) and not isinstance(value, bool)
    return is_real and abs(value) <= _LARGEST  # pyright: ignore[reportOperatorIssue]


_LARGEST = 1e15
"""Numbers up to here are exact to the unit as floats."""
_IS: dict[str, Callable[[Any], bool]] = {
    "float": _is_number,
    "int": lambda value: _is_number(value) and isinstance(value, Integral),
    "bool": lambda value: isinstance(value, bool),
    "str": lambda value: isinstance(value, str),
    "None": lambda value: value is None,
}
_WORDS = {
    "float": "a finite number",
    "int": "a whole number",
    "bool": "true or false",
    "str": "text",
    "None": "null",
}
