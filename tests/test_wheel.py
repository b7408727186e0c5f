"""The wheel, built and unpacked in an environment of its own, outside the checkout."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from vlmrl import catalog

ROOT = Path(__file__).resolve().parents[1]
CONTENT = {"vlmrl": "vlmrl", "verifiers": "vlmrl/verifiers", "data_recipes": "vlmrl/data_recipes"} | {
    "eval": "vlmrl/eval",
    "scripts/configs": "vlmrl/runs",
}
"""Folders of the checkout, and where the wheel has them."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: a build writes into its source."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in CONTENT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel and another package called `verifiers`.

    It sees the dependencies of this environment, but not its link to the checkout: of a folder that a .pth
    file names, Python reads no further .pth files.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    site = Path(paths["purelib"])
    zipfile.ZipFile(wheel).extractall(site)
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    (site / "verifiers").mkdir()
    (site / "verifiers" / "__init__.py").write_text("WHOSE = 'theirs'\n")
    return Path(paths["scripts"]) / "python"


@pytest.fixture
def vlmrl(python: Path, tmp_path: Path) -> Callable[..., str]:
    """Runs the command from an empty folder; its standard output."""

    def call(*arguments: str) -> str:
        command = [python, "-m", "vlmrl.cli", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def test_its_only_top_level_name_is_vlmrl(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"vlmrl"}


def test_it_holds_every_file_of_the_toolkit(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    for source, target in CONTENT.items():
        for file in (ROOT / source).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                assert f"{target}/{file.relative_to(ROOT / source)}" in inside


def test_it_names_its_licence_and_its_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (info,) = {name.partition("/")[0] for name in archive.namelist() if ".dist-info/" in name}
    assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert b"vlmrl = vlmrl.cli:main" in archive.read(f"{info}/entry_points.txt")


def test_it_is_the_wheel_that_runs(python: Path, tmp_path: Path) -> None:
    code = "import verifiers, vlmrl.verifiers.ocr as ocr; print(verifiers.WHOSE, ocr.__file__)"
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    whose, file = done.stdout.split()
    assert whose == "theirs"
    assert python.parents[1] in Path(file).parents


def test_it_lists_every_verifier(vlmrl: Callable[..., str]) -> None:
    lines = vlmrl("list", "verifiers").splitlines()
    assert [line.partition("\t")[0] for line in lines] == catalog.names("verifiers")


def test_it_scores(vlmrl: Callable[..., str], tmp_path: Path) -> None:
    rows = [
        {"id": "a", "verifier": "counting", "response": "there are <answer>3</answer>", "target": 3},
        {"id": "b", "verifier": "counting", "response": "there are <answer>4</answer>", "target": 3},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    scored = [json.loads(line) for line in vlmrl("score", "rows.jsonl").splitlines()]
    assert [row["score"] for row in scored] == [1.0, 0.0]


@pytest.mark.slow
def test_its_quickstart_is_fit_to_start(vlmrl: Callable[..., str]) -> None:
    assert "fit to start" in vlmrl("train", "quickstart", "--dry-run")
