"""The house: which folder may import which, who loads no torch, and that registries hold nothing but their entries.

python tests/test_architecture.py       prints the folders, their floors and what each imports
"""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import vlmrl
from vlmrl import catalog

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "vlmrl"

HALL = ("errors", "verdict", "files", "user_verifiers", "catalog", "sample")
"""Open to everybody; each imports only those before it."""

HOUSE = {
    "reading": "",
    "config": "",
    "rewards": "reading config",
    "data": "reading config rewards",
    "serve": "config rewards",
    "interop": "config rewards data",
    "models": "config rewards data",
    "rollout": "reading config rewards data serve models",
    "objectives": "config rollout",
    "monitor": "reading config rewards data rollout",
    "curriculum": "config data rollout objectives",
    "evaluate": "reading config rewards data models rollout monitor curriculum",
    "train": "reading config rewards data models rollout objectives monitor curriculum evaluate",
    "bench": "reading config rewards data interop models rollout objectives monitor curriculum train",
    "cli": "reading config rewards data serve interop models rollout objectives monitor curriculum evaluate train "
    "bench",
}
"""Folder -> the folders that it may import, besides the hall. A folder names only folders above it in this table."""

NO_TORCH = (
    *HALL,
    *("reading", "config", "rewards", "data", "serve", "interop", "objectives", "monitor", "cli", "curriculum.mixture"),
    *("rollout.__init__", "rollout.group", "rollout.hook", "rollout.hooks"),
)
"""Folders and modules that load none of HEAVY when they are imported."""
HEAVY = ("torch", "transformers", "vllm", "datasets", "wandb")

REGISTRIES = ("verifiers", "recipes", "samplers", "objectives", "engines", "hooks")
"""Kinds of the catalog whose folder is the registry."""

RULE_VERIFIERS = ("verdict", "errors", "reading")
SOFT_VERIFIERS = (*RULE_VERIFIERS, "catalog", "sample", "data.media", "rewards.endpoint", "rewards.composite")
"""What verifiers may use: those that judge by rule, and those that wait for a server or hold a model."""
RECIPES = ("sample", "data.media")
DOMAIN_LIBRARIES = {"math_verify", "latex2sympy2_extended", "sympy", "rapidfuzz", "scipy", "shapely", "pycocotools"}
IMPURE = {"time", "datetime", "random", "secrets", "socket", "urllib", "http", "requests", "subprocess"}

SPANNING = {
    "cli": ("every_command", "damaged_input", "files", "places"),
    "config": ("settings",),
    "curriculum": ("training",),
    "data": ("damaged_media",),
    "models": ("suffixes",),
    "objectives": ("objective_edges", "objective_gradients", "objective_methods"),
    "train": ("kills", "thought_dropout"),
    "verifiers": ("conformance", "every_verifier", "known_bugs"),
}
"""Test files that are about a whole folder; all others have the name of their module."""

FIRST_LEVEL = 26
"""Entries on the first level of vlmrl/, at most."""


# --- reading the source -----------------------------------------------------------------------------------


@cache
def modules() -> dict[str, Path]:
    """Every module of the library by its name, as `rewards.audit.check`; a package is `rewards.__init__`."""
    files = sorted(LIBRARY.rglob("*.py"))
    return {".".join(path.relative_to(LIBRARY).with_suffix("").parts): path for path in files}


@cache
def imports(path: Path, at_import: bool = False) -> tuple[str, ...]:
    """What a file imports: `rewards.composite` of the library, `torch` of others. `at_import`: when it is loaded."""
    return tuple(_imports(ast.parse(path.read_text()).body, at_import))


def _imports(body: list[ast.stmt], at_import: bool) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (_own(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            assert node.module
            yield from (_own(f"{node.module}.{alias.name}") for alias in node.names)
        elif at_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        elif not (at_import and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            for field in ("body", "orelse", "finalbody", "handlers", "cases"):
                yield from _imports(getattr(node, field, []), at_import)


def _own(name: str) -> str:
    """The library's module that a dotted name means, as a key of `modules()`; other names as they are."""
    first, _, rest = name.partition(".")
    if first != "vlmrl":
        return name
    while rest and rest not in modules() and f"{rest}.__init__" not in modules():
        rest = rest.rpartition(".")[0]
    return rest if rest in modules() else f"{rest}.__init__" if rest else "__init__"


def top(name: str) -> str:
    return name.partition(".")[0]


def within(name: str, places: tuple[str, ...]) -> bool:
    """Whether a module is one of these places or inside one of them."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def floor(folder: str) -> int:
    """1 for a folder that needs only the hall, else one above the highest folder that it may import."""
    return 1 + max((floor(below) for below in HOUSE[folder].split()), default=0)


def imported_folders(folder: str) -> set[str]:
    """The folders that the files of a folder really import."""
    names = {name for module, path in modules().items() if top(module) == folder for name in imports(path)}
    return {top(name) for name in names if top(name) in HOUSE} - {folder}


def plan() -> str:
    """The house, from the top floor down."""
    lines = [f"{len(first_level())} entries on the first level of vlmrl/, hall: {' '.join(HALL)}"]
    for folder in sorted(HOUSE, key=floor, reverse=True):
        files = sum(top(module) == folder for module in modules())
        used = " ".join(sorted(imported_folders(folder), key=list(HOUSE).index))
        lines.append(f"floor {floor(folder):>2}  {folder:<10} {files:>3} files  imports {used or '-'}")
    return "\n".join(lines)


def first_level() -> list[str]:
    return sorted(path.name for path in LIBRARY.iterdir() if path.name != "__pycache__")


# --- the rules --------------------------------------------------------------------------------------------


def test_the_table_has_one_row_a_folder_and_every_row_only_names_rows_before_it() -> None:
    folders = {path.name for path in LIBRARY.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert folders == set(HOUSE)
    for number, (folder, below) in enumerate(HOUSE.items()):
        assert set(below.split()) <= set(list(HOUSE)[:number]), folder


def test_the_first_level_is_short() -> None:
    assert len(first_level()) <= FIRST_LEVEL, first_level()


@pytest.mark.parametrize("folder", HOUSE)
def test_a_folder_imports_only_what_its_row_names(folder) -> None:
    allowed = {folder, "__init__", *HALL, *HOUSE[folder].split()}
    for module, path in modules().items():
        if top(module) == folder:
            own = {name for name in imports(path) if name in modules()}
            assert {top(name) for name in own} <= allowed, f"vlmrl.{module} imports upwards"


def test_the_hall_imports_only_what_comes_before() -> None:
    for number, name in enumerate(HALL):
        own = {other for other in imports(modules()[name]) if other in modules()}
        assert own <= set(HALL[:number]), f"vlmrl.{name}"


def test_no_module_needs_itself() -> None:
    graph = {
        module: {name for name in imports(path, at_import=True) if name in modules() and name != module}
        for module, path in modules().items()
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_what_must_be_light_loads_nothing_heavy() -> None:
    def loads(module: str, seen: set[str]) -> None:
        for name in imports(modules()[module], at_import=True):
            assert top(name) not in HEAVY, f"vlmrl.{module} loads {name}"
            if name in modules() and name not in seen:
                seen.add(name)
                loads(name, seen)

    for module in modules():
        if within(module, NO_TORCH):
            loads(module, {module})


@pytest.mark.parametrize("path", sorted(LIBRARY.rglob("*.py")), ids=lambda path: path.name)
def test_the_library_reaches_content_only_by_name(path) -> None:
    source = ast.parse(path.read_text())
    named = {node.module or "" for node in ast.walk(source) if isinstance(node, ast.ImportFrom)}
    named |= {alias.name for node in ast.walk(source) if isinstance(node, ast.Import) for alias in node.names}
    assert not [name for name in named if within(name, ("vlmrl.verifiers", "vlmrl.data_recipes", "vlmrl.eval"))]


@pytest.mark.parametrize("kind", REGISTRIES)
def test_a_registry_holds_nothing_but_its_entries(kind) -> None:
    folder = catalog.folder(kind)
    entries = {f"{name}.py" for name in catalog.names(kind)}
    others = {path.name for path in folder.iterdir()} - entries - {"__init__.py", "__pycache__"}
    assert others <= {"presets.toml"}
    for name in catalog.names(kind):
        assert catalog.summary(kind, name), f"{kind}: {name} has no docstring"


@pytest.mark.parametrize("name", catalog.names("verifiers"))
def test_a_verifier_imports_only_what_a_pure_function_needs(name) -> None:
    path = catalog.folder("verifiers") / f"{name}.py"
    used = set(imports(path))
    soft = '\nRUNS = "thread"\n' in path.read_text()
    assert all(within(m, SOFT_VERIFIERS if soft else RULE_VERIFIERS) for m in used if m in modules() or m == "__init__")
    _check_libraries(path, DOMAIN_LIBRARIES | ({"torch", "transformers"} if soft else set()))


@pytest.mark.parametrize("module", [name for name in modules() if within(name, ("reading", "verdict"))])
def test_what_verifiers_read_with_is_as_pure(module) -> None:
    _check_libraries(modules()[module], DOMAIN_LIBRARIES)


def _check_libraries(path: Path, allowed: set[str]) -> None:
    used = {name for name in imports(path) if name not in modules()}
    foreign = {top(name) for name in used} - sys.stdlib_module_names - {"numpy", "__init__"}
    assert foreign <= allowed
    assert not {top(name) for name in used} & IMPURE
    loaded = {top(name) for name in imports(path, at_import=True)}
    assert not foreign & loaded, "import the domain library inside the function"


@pytest.mark.parametrize("name", catalog.names("recipes"))
def test_a_recipe_imports_samples_and_media(name) -> None:
    path = catalog.folder("recipes") / f"{name}.py"
    assert all(within(m, RECIPES) for m in imports(path) if m in modules())
    assert not [m for m in imports(path, at_import=True) if top(m) in HEAVY]


TESTS = sorted((ROOT / "tests").glob("*/**/test_*.py"))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT / "tests")))
def test_tests_mirror_the_library(path) -> None:
    folder = path.parent.relative_to(ROOT / "tests")
    name = path.stem.removeprefix("test_")
    outside = str(folder) in ("verifiers", "data_recipes")
    place = (ROOT if outside else LIBRARY) / folder
    mirrored = (place / f"{name}.py").is_file() or (place / name).is_dir() or name == folder.name
    assert mirrored or name in SPANNING.get(str(folder), ())
    imported = {top(module) for module in imports(path)}
    assert not [module for module in imported if module.startswith("test_")], "a test imports a test"


# --- what a user sees of it -------------------------------------------------------------------------------

PRINT_HEAVY = f"\nimport sys; print([name for name in {HEAVY} if name in sys.modules])"


@pytest.mark.parametrize(
    "code",
    [
        "from vlmrl.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
        "from vlmrl.cli import main\nmain(['list', 'engines'])",
        "from vlmrl import catalog\nfor name in catalog.names('verifiers'): catalog.load('verifiers', name)",
    ],
)
def test_the_command_and_the_verifiers_load_nothing_heavy(code) -> None:
    done = subprocess.run([sys.executable, "-c", code + PRINT_HEAVY], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_all_names_what_is_public() -> None:
    assert sorted(vlmrl.__all__) == list(vlmrl.__all__)
    assert all(hasattr(vlmrl, name) for name in vlmrl.__all__)


if __name__ == "__main__":
    print(plan())
