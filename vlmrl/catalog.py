"""What the content folders hold: the folder is the registry and the file's name is the thing's name.

catalog.names("verifiers")             -> ["caption_spans", "choice", ...]
catalog.load("verifiers", "counting")  -> the module
"""

from __future__ import annotations

import ast
import importlib
import tomllib
from functools import cache
from pathlib import Path
from types import ModuleType

import vlmrl
from vlmrl.errors import UserError, nearest

FOLDERS = {
    "verifiers": "verifiers",
    "recipes": "data_recipes",
    "benchmarks": "eval",
    "samplers": "curriculum",
    "objectives": "objectives",
    "engines": "rollout",
}


def folder(kind: str) -> Path:
    """The folder of a kind, in a checkout and in an installed package alike."""
    places = [Path(base) / FOLDERS[kind] for base in vlmrl.__path__]
    return next((place for place in places if place.is_dir()), places[0])


def names(kind: str) -> list[str]:
    """The names of a kind, sorted; benchmarks are TOML files, all else is Python."""
    suffix = ".toml" if kind == "benchmarks" else ".py"
    found = (path.stem for path in folder(kind).glob(f"*{suffix}"))
    return sorted(name for name in found if not name.startswith("_"))


@cache
def load(kind: str, name: str) -> ModuleType:
    """The module of that name; `UserError` names the nearest valid one."""
    if name not in names(kind):
        raise UserError(f"unknown {kind.removesuffix('s')} {name!r}{nearest(name, names(kind))}")
    return importlib.import_module(f"vlmrl.{FOLDERS[kind]}.{name}")


def summary(kind: str, name: str) -> str:
    """The first line of the thing's docstring (of a benchmark: its `title`)."""
    if kind == "benchmarks":
        return tomllib.loads((folder(kind) / f"{name}.toml").read_text()).get("title", "")

    tree = ast.parse((folder(kind) / f"{name}.py").read_text())
    return (ast.get_docstring(tree) or "").partition("\n")[0]
