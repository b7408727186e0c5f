"""What the content folders hold: the folder is the registry and the file's name is the thing's name.

catalog.names("verifiers")             -> ["caption_spans", "choice", ...]
catalog.load("verifiers", "counting")  -> the module
catalog.add_verifiers("my_verifiers")  -> your own verifier files and reward functions, known by name from here on
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
import tomllib
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import vlmrl
from vlmrl.errors import UserError, nearest
from vlmrl.verdict import Verdict, verdict_from

FOLDERS = {
    "verifiers": "verifiers",
    "recipes": "data_recipes",
    "benchmarks": "eval",
    "samplers": "curriculum/samplers",
    "objectives": "objectives",
    "engines": "rollout/engines",
    "hooks": "rollout/hooks",
}
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


_ADDED: dict[str, Added] = {}
"""Verifiers of the user, by name."""


def add_verifiers(*paths: str | Path) -> list[str]:
    """Makes verifiers of the user known by name; returns the names.

    A path names a folder of verifier files, one such file, or a reward function in any file
    ("my_rewards.py:polite"). Code of a verifier file runs when it is first loaded, that of a function's file now.
    Only a command line, a run file or Python code may name such a path: a row of data cannot. `UserError` if there
    is no such file or function, or if a name is taken.
    """
    added = [one for path in paths for one in _entries(str(path))]
    for one in added:
        if _ADDED.get(one.name, one) != one or (folder("verifiers") / f"{one.name}.py").exists():
            kind = "function" if one.function else "file"
            raise UserError(f"{one}: there is a verifier {one.name!r} already; rename the {kind}")
        _ADDED[one.name] = one
    for cached in (load, function, parameters, takes_any, default_target):
        cached.cache_clear()  # in a notebook, a file that is added again may have been edited
    for one in added:
        if one.function:
            try:
                load("verifiers", one.name)
            except UserError:
                del _ADDED[one.name]
                raise
    return [one.name for one in added]


def _entries(path: str) -> list[Added]:
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
    """The path by which `add_verifiers` finds a function again.

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


def added_verifiers() -> tuple[str, ...]:
    """The paths that `add_verifiers` made known, for a process that must know them too."""
    return tuple(map(str, _ADDED.values()))


def folder(kind: str) -> Path:
    """The folder of a kind, in a checkout and in an installed package alike."""
    places = [Path(base) / FOLDERS[kind] for base in vlmrl.__path__]
    return next((place for place in places if place.is_dir()), places[0])


def names(kind: str) -> list[str]:
    """The names of a kind, sorted; benchmarks are TOML files, all else is Python."""
    suffix = ".toml" if kind == "benchmarks" else ".py"
    found = {path.stem for path in folder(kind).glob(f"[!_]*{suffix}")}
    return sorted(found | _ADDED.keys() if kind == "verifiers" else found)


@cache
def load(kind: str, name: str) -> ModuleType:
    """The module of that name; `UserError` names the nearest valid one."""
    if name not in names(kind):
        raise UserError(f"unknown {kind.removesuffix('s')} {name!r}{nearest(name, names(kind))}")
    if kind == "verifiers" and name in _ADDED:
        return _load_function(_ADDED[name]) if _ADDED[name].function else _load_file(_ADDED[name])
    return importlib.import_module(f"vlmrl.{FOLDERS[kind].replace('/', '.')}.{name}")


@cache
def function(kind: str, name: str, *functions: str) -> Callable[..., Any]:
    """The first of these functions that the file has; `UserError` names the files that have one of them."""
    for wanted in functions:
        if name in names(kind) and hasattr(load(kind, name), wanted):
            return getattr(load(kind, name), wanted)
    known = [other for other in names(kind) if any(hasattr(load(kind, other), wanted) for wanted in functions)]
    raise UserError(f"{name!r} has no {' or '.join(functions)}{nearest(name, known)}")


@cache
def parameters(verifier: str) -> tuple[str, ...]:
    """The names of a verifier's parameters, after response and target."""
    parameters = inspect.signature(load("verifiers", verifier).verify).parameters.values()
    return tuple(p.name for p in parameters if p.kind is not p.VAR_KEYWORD)[2:]


@cache
def takes_any(verifier: str) -> bool:
    """Whether the verifier takes parameters of any name: a reward function that ends in `**row`."""
    parameters = inspect.signature(load("verifiers", verifier).verify).parameters.values()
    return any(p.kind is p.VAR_KEYWORD for p in parameters)


def sample_fields(verifier: str) -> tuple[str, ...]:
    """The fields of a sample that the verifier receives; none but for a reward function."""
    return getattr(load("verifiers", verifier), "SAMPLE_FIELDS", ())


@cache
def default_target(verifier: str) -> Any:
    """What a verifier judges against where nothing is given; `inspect.Parameter.empty` if it needs a target."""
    return inspect.signature(load("verifiers", verifier).verify).parameters["target"].default


def place(verifier: str) -> str:
    """Where a verifier is to run: "process", "here" or "thread" (vlmrl/verdict.py says what they mean)."""
    return getattr(load("verifiers", verifier), "RUNS", "process")


def is_bounded(verifier: str) -> bool:
    """Whether another verifier may judge with it: one of the toolkit's own, of rules alone, in bounded time."""
    return place(verifier) != "thread" and verifier not in _ADDED


def needs_target(verifier: str) -> bool:
    """Whether the verifier judges against a target; False for one that is not known."""
    return verifier in names("verifiers") and default_target(verifier) is inspect.Parameter.empty


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
    """A reward function as a verifier. It has no gold: what would score 1, only the function knows."""
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


def summary(kind: str, name: str) -> str:
    """The first line of the thing's docstring (of a benchmark: its `title`)."""
    if kind == "benchmarks":
        return tomllib.loads((folder(kind) / f"{name}.toml").read_text()).get("title", "")

    added = _ADDED.get(name) if kind == "verifiers" else None
    if added and added.function:
        docstring = load(kind, name).__doc__
    else:
        docstring = ast.get_docstring(ast.parse((added.file if added else folder(kind) / f"{name}.py").read_text()))
    return (docstring or "").partition("\n")[0]
