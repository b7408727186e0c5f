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
import sys
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from vlmrl.errors import UserError, nearest

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
_ADDED: dict[str, Path] = {}
"""Verifier files that the user named, by name."""


def add_verifiers(path: str | Path) -> None:
    """Makes a folder of verifier files, or one such file, known by name; their code runs when first loaded.

    Only a command line or a run file may name such a path: a row of data cannot. Whatever is named so never judges in
    the caller's process, not even a file of ours. `UserError` if there is none, or if a name is taken.
    """
    path = Path(path).resolve()
    files = sorted(path.glob("[!_]*.py")) if path.is_dir() else [path]
    if not files or not all(file.is_file() and file.suffix == ".py" for file in files):
        raise UserError(f"{path}: no verifier file; name a .py file, or a folder of them")
    for file in files:
        ours = (folder("verifiers") / file.name).resolve()
        if _ADDED.get(file.stem, file) != file or (ours.exists() and ours != file):
            raise UserError(f"{file}: there is a verifier {file.stem!r} already; rename the file")
        _ADDED[file.stem] = file


def added_verifiers() -> tuple[str, ...]:
    """The files that `add_verifiers` made known, for a process that must know them too."""
    return tuple(str(file) for file in _ADDED.values())


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
        raise UserError(f"unknown {singular(kind)} {name!r}{nearest(name, names(kind))}")
    if kind == "verifiers" and name in _ADDED:
        return _load_file(name)
    if name in _presets(kind):
        module = ModuleType(name)
        vars(module)["PRESET"] = _presets(kind)[name]["settings"]
        return module
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
    return tuple(inspect.signature(load("verifiers", verifier).verify).parameters)[2:]


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


def _load_file(name: str) -> ModuleType:
    full_name = f"vlmrl.verifiers.{name}"
    spec = importlib.util.spec_from_file_location(full_name, _ADDED[name])
    assert spec
    assert spec.loader
    module = sys.modules[full_name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[full_name]
        raise UserError(f"{_ADDED[name]}: cannot be loaded ({type(error).__name__}: {error})") from None
    missing = [part for part in ("EXAMPLES", "verify", "gold", "check_target") if not hasattr(module, part)]
    if missing:
        raise UserError(f"{_ADDED[name]}: has no {', '.join(missing)}; CONTRIBUTING.md shows a whole verifier")
    return module


def summary(kind: str, name: str) -> str:
    """The first line of the thing's docstring; of a benchmark its `title`, of a preset in a table what it says."""
    if name in _presets(kind):
        return "{title} ({paper}): {formula}".format_map(_presets(kind)[name])
    if kind == "benchmarks":
        return tomllib.loads((folder(kind) / f"{name}.toml").read_text()).get("title", "")

    path = _ADDED.get(name) if kind == "verifiers" else None
    tree = ast.parse((path or folder(kind) / f"{name}.py").read_text())
    return (ast.get_docstring(tree) or "").partition("\n")[0]
