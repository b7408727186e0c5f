"""The house rules that can be read off the source: who imports what, and what importing costs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vlmrl
from vlmrl import catalog

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "transformers", "vllm", "datasets", "wandb")
SPINE = (
    *(
        "answers",
        "bench/__init__",
        "bench/isolation",
        "bench/timing",
        "bench/verifiers",
        "calls",
        "catalog",
        "check",
        "cli",
        "columns",
        "config",
        "convert",
        "data",
        "doctor",
    ),
    *(
        "endpoint",
        "errors",
        "geometry",
        "group",
        "interop",
        "media",
        "monitor",
        "objectives/__init__",
        "remote",
        "report",
        "reward",
        "rows",
    ),
    *("complaints", "dispatch", "intake", "prometheus", "sample", "sample_files", "service", "settings", "verdict"),
    "worker_process",
    "workers",
)
READING = tuple(f"reading/{path.stem}" for path in sorted((ROOT / "vlmrl" / "reading").glob("[!_]*.py")))
VERIFIER_SPINE = ("answers", "errors", "geometry", "verdict", *READING)
DOMAIN_LIBRARIES = {"math_verify", "latex2sympy2_extended", "sympy", "rapidfuzz", "scipy", "shapely", "pycocotools"}
SOFT_SPINE = ("catalog", "endpoint", "media", "reward", "sample")
"""What verifiers may use besides that wait for a server or hold a model."""
IMPURE = {"time", "datetime", "random", "secrets", "socket", "urllib", "http", "requests", "subprocess"}
CONTENT = tuple(f"vlmrl.{folder}" for folder in ("verifiers", "data_recipes", "eval"))


def imports(path: Path, *, at_import: bool = False) -> Iterator[str]:
    """Full names of the modules a file imports; with `at_import`, only those that importing the file loads."""
    yield from _imports(ast.parse(path.read_text()).body, at_import)


def _imports(body: list[ast.stmt], at_import: bool) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            assert node.module
            children = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from children if node.module in ("vlmrl", "vlmrl.reading") else (node.module,)
        elif at_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        elif not (at_import and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            for field in ("body", "orelse", "finalbody", "handlers", "cases"):
                yield from _imports(getattr(node, field, []), at_import)


def top(name: str) -> str:
    return name.partition(".")[0]


@pytest.mark.parametrize(
    "name",
    [f"verifiers/{name}" for name in catalog.names("verifiers")] + [f"vlmrl/{name}" for name in VERIFIER_SPINE],
)
def test_verifiers_import_only_what_a_pure_function_needs(name) -> None:
    path = ROOT / f"{name}.py"
    used = set(imports(path))
    soft = '\nRUNS = "thread"\n' in path.read_text()
    foreign = {module for module in used if top(module) not in sys.stdlib_module_names | {"numpy", "vlmrl"}}
    assert {top(module) for module in foreign} <= DOMAIN_LIBRARIES | ({"torch", "transformers"} if soft else set())
    spine = {f"vlmrl.{name}".replace("/", ".") for name in VERIFIER_SPINE + (SOFT_SPINE if soft else ())}
    assert {module for module in used if top(module) == "vlmrl"} <= spine
    assert not {top(module) for module in used} & IMPURE
    assert not foreign & set(imports(path, at_import=True)), "import the domain library inside the function"


@pytest.mark.parametrize("path", sorted((ROOT / "vlmrl").rglob("*.py")), ids=lambda path: path.name)
def test_the_library_reaches_content_only_by_name(path) -> None:
    assert not [module for module in imports(path) if module.startswith(CONTENT)]


@pytest.mark.parametrize("path", sorted((ROOT / "data_recipes").glob("*.py")), ids=lambda path: path.name)
def test_recipes_load_no_heavy_library(path) -> None:
    assert not [module for module in imports(path, at_import=True) if top(module) in HEAVY]


@pytest.mark.parametrize("name", SPINE)
def test_the_spine_loads_no_heavy_library(name) -> None:
    path = ROOT / "vlmrl" / f"{name}.py"
    assert not [module for module in imports(path, at_import=True) if top(module) in HEAVY]


PRINT_HEAVY = f"\nimport sys; print([name for name in {HEAVY} if name in sys.modules])"


@pytest.mark.parametrize(
    "code",
    [
        "import vlmrl",
        "import vlmrl.cli, vlmrl.data.check, vlmrl.rewards.composite, vlmrl.data.convert, vlmrl.cli.doctor",
        "from vlmrl.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
        "from vlmrl.cli import main\nmain(['list', 'engines'])",
        "from vlmrl import catalog\nfor name in catalog.names('verifiers'): catalog.load('verifiers', name)",
    ],
)
def test_importing_and_help_load_nothing_heavy(code) -> None:
    done = subprocess.run([sys.executable, "-c", code + PRINT_HEAVY], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_all_names_what_is_public() -> None:
    tree = ast.parse(Path(vlmrl.__file__).read_text())
    exported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("vlmrl.")
        for alias in node.names
    }
    assert set(vlmrl.__all__) == exported
    assert sorted(vlmrl.__all__) == list(vlmrl.__all__)
    assert all(hasattr(vlmrl, name) for name in vlmrl.__all__)


@pytest.mark.parametrize("kind", ["verifiers", "recipes", "samplers", "objectives", "hooks", "engines"])
def test_everything_listed_says_what_it_is(kind) -> None:
    for name in catalog.names(kind):
        assert catalog.summary(kind, name), f"{kind}/{name}.py has no docstring"
