"""Verifiers of the user: files like those in verifiers/, and plain functions, by the paths that a command names.

    entries("my_verifiers")                     every file of a folder
    entries("my_rewards.py:polite")             a reward function: polite(response, target, **row) -> float

`vlmrl.catalog` knows them by name once `catalog.add_verifiers` was called.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from vlmrl.errors import UserError, nearest
from vlmrl.verdict import Verdict, verdict_from

SAMPLE_FIELDS = ("id", "source", "task", "messages", "meta")
"""Fields of a sample that a reward function receives, if it has a parameter of that name or ends in `**row`."""


class Added(NamedTuple):
    """A verifier file of the user, or a reward function in a file."""

    file: Path
    function: str = ""

    @property
    def name(self) -> str:
        return self.function or self.file.stem

    def __str__(self) -> str:
        return f"{self.file}:{self.function}" if self.function else str(self.file)


def entries(path: str) -> list[Added]:
    """What a path names: the files of a folder, one file, or a function. `UserError` if there is no such thing."""
    file, colon, function = path.rpartition(":")
    if colon and file.endswith(".py"):
        if not function.isidentifier():
            raise UserError(f"{path}: not a function of {file}; write {file}:FUNCTION")
        if not Path(file).is_file():
            raise UserError(f"{path}: no such file {file}")
        return [Added(Path(file).resolve(), function)]
    place = Path(path).resolve()
    files = sorted(place.glob("[!_]*.py")) if place.is_dir() else [place]
    if not files or not all(file.is_file() and file.suffix == ".py" for file in files):
        raise UserError(f"{place}: not a verifier file; name a .py file, a folder of them, or my_rewards.py:FUNCTION")
    return [Added(file) for file in files]


def function_path(function: Callable[..., Any]) -> str:
    """The path by which `entries` finds a function again.

    `UserError` for one that a worker process could not import: a lambda, a method, a function inside a function, or
    one of a notebook or of the script that is run.
    """
    name = getattr(function, "__name__", repr(function))
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    if module is None or module.__name__ == "__main__" or not file or getattr(module, name, None) is not function:
        raise UserError(
            f"{name}: worker processes cannot import this function; write it at the top level of a file of its own "
            f"and give its path, as 'my_rewards.py:{name if name.isidentifier() else 'reward'}'"
        )
    return f"{file}:{name}"


def load(added: Added) -> ModuleType:
    """The verifier module; `UserError` if its file cannot be loaded, or if a part is missing."""
    return _load_function(added) if added.function else _load_file(added)


def _load_file(added: Added) -> ModuleType:
    module = _execute(added)
    missing = [part for part in ("EXAMPLES", "verify", "gold", "check_target") if not hasattr(module, part)]
    if missing:
        raise UserError(
            f"{added}: has no {', '.join(missing)}; CONTRIBUTING.md shows a whole verifier. "
            f"If a function in it is the reward, name it: {added.file.name}:FUNCTION"
        )
    return module


def _load_function(added: Added) -> ModuleType:
    """A reward function as a verifier. It has no gold: only the function knows what would score 1."""
    module = _execute(added)
    reward = getattr(module, added.function, None)
    if not callable(reward):
        functions = [name for name, value in vars(module).items() if inspect.isfunction(value)]
        raise UserError(f"{added.file}: has no function {added.function!r}{nearest(added.function, functions)}")
    signature = inspect.signature(reward)
    if list(signature.parameters)[:2] != ["response", "target"]:
        raise UserError(f"{added}: takes {signature}; begin with (response, target)")

    @wraps(reward)
    def verify(response: str, target: Any, **params: Any) -> Verdict:
        return verdict_from(reward(response, target, **params))

    def check_target(target: Any = None, **params: Any) -> None:
        try:
            signature.bind("", target, **dict.fromkeys(made.SAMPLE_FIELDS) | params)
        except TypeError as error:
            raise ValueError(f"{added.function}{signature}: {error}; give it in params") from None

    made: Any = ModuleType(module.__name__, inspect.getdoc(reward))
    made.__file__, made.EXAMPLES, made.verify, made.check_target = str(added.file), [], verify, check_target
    made.LOCAL = getattr(module, "LOCAL", ())
    anything = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    made.SAMPLE_FIELDS = tuple(name for name in SAMPLE_FIELDS if anything or name in signature.parameters)
    return made


def _execute(added: Added) -> ModuleType:
    full_name = f"vlmrl.verifiers.{added.name}"
    spec = importlib.util.spec_from_file_location(full_name, added.file)
    assert spec
    assert spec.loader
    module = sys.modules[full_name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[full_name]
        raise UserError(f"{added.file}: cannot be loaded ({type(error).__name__}: {error})") from None
    return module
