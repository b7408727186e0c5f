"""What the content folders hold: the folder is the registry and the file's name is the thing's name.

catalog.names("verifiers")             -> ["caption_spans", "choice", ...]
catalog.load("verifiers", "counting")  -> the module
catalog.add_verifiers("my_verifiers")  -> your own verifier files, known by their names from here on
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from vlmrl import user_verifiers
from vlmrl.errors import UserError, nearest
from vlmrl.user_verifiers import Added

FOLDERS = {
    "verifiers": "verifiers",
    "recipes": "data_recipes",
    "benchmarks": "eval",
    "samplers": "curriculum/samplers",
    "objectives": "objectives",
    "engines": "rollout/engines",
    "hooks": "rollout/hooks",
    "families": "models/families",
}
REQUIRED = {
    "recipes": ("SOURCES", "build"),
    "samplers": ("create",),
    "engines": ("create",),
    "objectives": ("PRESET",),
    "families": ("FAMILY",),
}
"""What every file of a kind has."""
_ADDED: dict[str, Added] = {}
"""Verifiers of the user, by name."""


def add_verifiers(*paths: str | Path) -> list[str]:
    """Makes verifiers of the user known by name; returns the names.

    A path names a folder of verifier files, one such file, or a reward function in any file
    ("my_rewards.py:polite"). Code of a verifier file runs when it is first loaded, that of a function's file now.
    Only a command line, a run file or Python code may name such a path: a row of data cannot. Whatever is named so
    never judges in the caller's process, not even a file of ours. `UserError` if there is no such file or function,
    or if a name is taken.
    """
    added = [one for path in paths for one in user_verifiers.entries(str(path))]
    for one in added:
        ours = (folder("verifiers") / f"{one.name}.py").resolve()
        if _ADDED.get(one.name, one) != one or (ours.exists() and ours != one.file):
            kind = "function" if one.function else "file"
            raise UserError(f"{one}: there is a verifier {one.name!r} already; rename the {kind}")
        _ADDED[one.name] = one
    for cached in (load, function, parameters, parameter_types, takes_any, default_target):
        cached.cache_clear()  # in a notebook, a file that is added again may have been edited
    for one in added:
        if one.function:
            try:
                load("verifiers", one.name)
            except UserError:
                del _ADDED[one.name]
                raise
    return [one.name for one in added]


def added_verifiers() -> tuple[str, ...]:
    """The paths that `add_verifiers` made known, for a process that must know them too."""
    return tuple(map(str, _ADDED.values()))


def folder(kind: str) -> Path:
    """The folder of a kind, in a checkout and in an installed package alike."""
    inside = Path(__file__).parent / FOLDERS[kind]
    return inside if inside.is_dir() else inside.parents[1] / FOLDERS[kind]


def names(kind: str) -> list[str]:
    """The names of a kind, sorted; benchmarks are TOML files, all else is Python, but for tables of presets."""
    suffix = ".toml" if kind == "benchmarks" else ".py"
    found = {path.stem for path in folder(kind).glob(f"[!_]*{suffix}")} | _presets(kind).keys()
    return sorted(found | _ADDED.keys() if kind == "verifiers" else found)


def singular(kind: str) -> str:
    """What one thing of a kind is called: verifier, family."""
    return f"{kind.removesuffix('ies')}y" if kind.endswith("ies") else kind.removesuffix("s")


@cache
def _presets(kind: str) -> dict[str, dict[str, Any]]:
    """Entries of the folder that are a table in its `presets.toml`: title, paper, formula, settings."""
    path = folder(kind) / "presets.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


@cache
def load(kind: str, name: str) -> ModuleType:
    """The module of that name, for a table of presets one with `PRESET`; `UserError` names the nearest valid one."""
    if name not in names(kind):
        raise UserError(f"unknown {singular(kind)} {name[:100]!r}{nearest(name, names(kind))}")
    if kind == "verifiers" and name in _ADDED:
        return user_verifiers.load(_ADDED[name])
    file = folder(kind) / f"{name}.py"
    if name in _presets(kind):
        if file.exists():
            raise UserError(f"{file}: presets.toml has {name!r} too; rename the file")
        module = ModuleType(name)
        vars(module)["PRESET"] = _presets(kind)[name]["settings"]
        return module
    try:
        module = importlib.import_module(f"vlmrl.{FOLDERS[kind].replace('/', '.')}.{name}")
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{file}: cannot be loaded ({type(error).__name__}: {error})") from error
    for part in REQUIRED.get(kind, ()):
        if not hasattr(module, part):
            raise UserError(f"{file}: has no {part}; CONTRIBUTING.md shows a whole {singular(kind)}")
    return module


@cache
def function(kind: str, name: str, *functions: str) -> Callable[..., Any]:
    """The first of these functions that the file has; `UserError` names the files that have one of them."""
    for wanted in functions if name in names(kind) else ():
        if hasattr(load(kind, name), wanted):
            return getattr(load(kind, name), wanted)
    known = [other for other in names(kind) if any(hasattr(load(kind, other), wanted) for wanted in functions)]
    wrong = f"{name!r} has no {' or '.join(functions)}" if name in names(kind) else f"unknown {singular(kind)} {name!r}"
    raise UserError(f"{wrong}{nearest(name, known)}")


@cache
def parameters(verifier: str) -> tuple[str, ...]:
    """The names of a verifier's parameters, after response and target."""
    parameters = inspect.signature(load("verifiers", verifier).verify).parameters.values()
    return tuple(p.name for p in parameters if p.kind is not p.VAR_KEYWORD)[2:]


@cache
def parameter_types(verifier: str) -> dict[str, tuple[str, ...]]:
    """The types that each parameter of a verifier is annotated with, by their names: ("float", "None")."""
    found = {}
    for name, parameter in inspect.signature(load("verifiers", verifier).verify).parameters.items():
        annotation = parameter.annotation
        text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
        found[name] = tuple(text.split(" | "))
    return found


@cache
def takes_any(verifier: str) -> bool:
    """Whether the verifier takes parameters of any name: a reward function that ends in `**row`."""
    parameters = inspect.signature(load("verifiers", verifier).verify).parameters.values()
    return any(p.kind is p.VAR_KEYWORD for p in parameters)


def sample_fields(verifier: str) -> tuple[str, ...]:
    """The fields of a sample that the verifier receives; only a reward function has any."""
    return getattr(load("verifiers", verifier), "SAMPLE_FIELDS", ())


def local_fields(verifier: str) -> tuple[str, ...]:
    """The fields that name a file, a model or a URL, as the verifier declares them in `LOCAL`."""
    return getattr(load("verifiers", verifier), "LOCAL", ())


@cache
def default_target(verifier: str) -> Any:
    """What a verifier judges against where nothing is given; `inspect.Parameter.empty` if it needs a target."""
    return inspect.signature(load("verifiers", verifier).verify).parameters["target"].default


def is_soft(verifier: str) -> bool:
    """Whether the verifier waits for a server or holds a model, as it declares by `RUNS = "thread"`."""
    return getattr(load("verifiers", verifier), "RUNS", None) == "thread"


def is_bounded(verifier: str) -> bool:
    """Whether it may judge in the caller's process: one of the toolkit's own, of rules alone, in bounded time."""
    return verifier not in _ADDED and not is_soft(verifier)


def needs_target(verifier: str) -> bool:
    """Whether the verifier judges against a target; False for one that is not known."""
    return verifier in names("verifiers") and default_target(verifier) is inspect.Parameter.empty


def summary(kind: str, name: str) -> str:
    """The first line of the thing's docstring; of a benchmark its `title`, of a preset in a table what it says."""
    if name in _presets(kind):
        return "{title} ({paper}): {formula}".format_map(_presets(kind)[name])
    if kind == "benchmarks":
        return tomllib.loads((folder(kind) / f"{name}.toml").read_text()).get("title", "")

    added = _ADDED.get(name) if kind == "verifiers" else None
    if added and added.function:
        docstring = load(kind, name).__doc__
    else:
        file = added.file if added else folder(kind) / f"{name}.py"
        try:
            docstring = ast.get_docstring(ast.parse(file.read_text()))
        except SyntaxError as error:
            raise UserError(f"{file}: cannot be loaded ({type(error).__name__}: {error})") from None
    return (docstring or "").partition("\n")[0]
