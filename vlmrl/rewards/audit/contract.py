"""Contract: what every verifier file owes (`vlmrl.verdict` says it), as complaints of one line each.

form("counting")        what can be seen without running it
behaviour("counting")   what its EXAMPLES and strange targets show; runs its code, so not where it may hang
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from vlmrl import catalog
from vlmrl.verdict import Example, Verdict

STRANGE = (None, True, {}, {"a": 1}, [None], [[]], "", "\0", "1" * 5000, 10**400, float("nan"))
"""Targets that a row may hold by mistake."""


def shown(value: object) -> str:
    """A value in at most a line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}... ({len(str(value))} characters)"


def form(name: str) -> Iterator[str]:
    """What can be seen without running it."""
    module = catalog.load("verifiers", name)
    if not (module.__doc__ or "").strip():
        yield "has no docstring; its first line is what `vlmrl list` shows"
    for function in ("verify", "gold", "check_target"):
        if not callable(getattr(module, function)):
            yield f"{function} is not a function"
            return
    parameters = list(inspect.signature(module.verify).parameters.values())
    if [parameter.name for parameter in parameters[:2]] != ["response", "target"]:
        yield f"verify{inspect.signature(module.verify)}: begin with verify(response, target, ...)"
    for parameter in parameters[2:]:
        if parameter.default is parameter.empty:
            yield f"verify: parameter {parameter.name} has no default; give it one"
    if hasattr(module, "RUNS") and not catalog.is_soft(name):
        yield f"RUNS is {shown(module.RUNS)}; use 'thread' if it waits for a server, or leave it out"
    examples = module.EXAMPLES
    if not isinstance(examples, list) or not all(isinstance(example, Example) for example in examples):
        yield "EXAMPLES: expected a list of vlmrl.verdict.Example"
    elif not {1.0, 0.0, None} <= {example.score for example in examples}:
        yield "EXAMPLES: needs a score of 1.0, one of 0.0, and None for a target that cannot be judged"


def behaviour(name: str) -> list[str]:
    """Runs every example, the gold of every target, and strange targets; what is wrong with them."""
    module = catalog.load("verifiers", name)
    failures: list[str] = []
    for i, example in enumerate(module.EXAMPLES):
        failures += (f"EXAMPLES[{i}]: {complaint}" for complaint in _example(module, example))
    for target in STRANGE:
        failures += (f"target {shown(target)}: {complaint}" for complaint in _target(module, "7", target, {}))
    return failures


def _example(module: Any, example: Example) -> Iterator[str]:
    verdict = _verdict(module, example.response, example.target, example.params)
    if isinstance(verdict, str):
        yield verdict
    elif verdict.score != example.score and (None in (verdict.score, example.score) or not _near(verdict, example)):
        yield f"scores {verdict.score}, not {example.score} {f'({verdict.why})' if verdict.why else ''}".rstrip()
    else:
        yield from _target(module, example.response, example.target, example.params)


def _near(verdict: Verdict, example: Example) -> bool:
    assert verdict.score is not None
    assert example.score is not None
    return abs(verdict.score - example.score) < 1e-6


def _target(module: Any, response: str, target: Any, params: dict[str, Any]) -> Iterator[str]:
    """`check_target` refuses exactly what `verify` cannot judge, and the gold of all else scores 1."""
    verdict = _verdict(module, response, target, params)
    refused = _tried(lambda: module.check_target(target, **params))
    if isinstance(verdict, str):
        yield verdict
    elif isinstance(refused, Exception) and not isinstance(refused, ValueError):
        yield f"check_target raises {_named(refused)}; raise a ValueError that says what to give"
    elif isinstance(refused, ValueError) != (verdict.status == "bad_target"):
        said = "refuses" if isinstance(refused, ValueError) else "takes"
        yield f"check_target {said} the target, and verify says {verdict.status}"
    elif not isinstance(refused, ValueError):
        gold = _tried(lambda: module.gold(target, **params))
        if not isinstance(gold, str):
            yield f"gold {f'raises {_named(gold)}' if isinstance(gold, Exception) else f'is {shown(gold)}, no text'}"
            return
        worth = _verdict(module, gold, target, params)
        if isinstance(worth, str) or (worth.score != 1.0 and worth.status != "error"):
            yield f"gold {shown(gold)} {worth if isinstance(worth, str) else f'scores {worth.score}, not 1.0'}"


def _verdict(module: Any, response: str, target: Any, params: dict[str, Any]) -> Verdict | str:
    """The verdict, or why it is none."""
    verdict = _tried(lambda: module.verify(response, target, **params))
    if isinstance(verdict, Exception):
        return f"verify raises {_named(verdict)}"
    return verdict if isinstance(verdict, Verdict) else f"verify gives {shown(verdict)}; give a vlmrl.verdict.Verdict"


def _tried(function: Callable[[], Any]) -> Any:
    """What the user's code gives, or the exception that it raises."""
    try:
        return function()
    except Exception as error:
        return error


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
