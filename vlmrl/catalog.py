"""What the content folders hold: the folder is the registry and the file's name is the thing's name.

catalog.names("verifiers")             -> ["caption_spans", "choice", ...]
catalog.load("verifiers", "counting")  -> the module
catalog.load("verifiers", "my/own.py") -> a module outside the toolkit, by its path
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
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
    """The module of that name or path; `UserError` names the nearest valid one."""
    if name.endswith(".py"):
        return _load_file(Path(name))
    if name not in names(kind):
        raise UserError(f"unknown {kind.removesuffix('s')} {name!r}{nearest(name, names(kind))}")
    return importlib.import_module(f"vlmrl.{FOLDERS[kind]}.{name}")


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    name = f"vlmrl_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def summary(kind: str, name: str) -> str:
    """The first line of the thing's docstring (of a benchmark: its `title`)."""
    if kind == "benchmarks":
        import tomllib

        return tomllib.loads((folder(kind) / f"{name}.toml").read_text()).get("title", "")
    import ast

    tree = ast.parse((folder(kind) / f"{name}.py").read_text())
    return (ast.get_docstring(tree) or "").partition("\n")[0]
