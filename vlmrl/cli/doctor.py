"""Reports what would run on this machine and what is missing.

vlmrl doctor                                             machine, packages, engines

For what is missing it prints the command that installs it.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import vlmrl
from vlmrl import catalog

DISTRIBUTION = "vlmrl-toolkit"
ENGINE_EXTRAS = {"hf": ("train",), "vllm": ("vllm", "vllm-cpu"), "replay": ()}
"""The extras of which one must be installed for an engine to run."""
GIB = 1 << 30


def add_arguments(_: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(_: argparse.Namespace) -> None:
    print(f"vlmrl {vlmrl.__version__}")
    for title, lines in {"machine": machine(), "packages": packages(), "engines": engines()}.items():
        print(f"\n{title}")
        for name, state in lines:
            print(f"  {name:<12} {state}")


def machine() -> Iterator[tuple[str, str]]:
    """What the hardware and the system are."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    yield "system", f"{platform.platform()}, Python {platform.python_version()}"
    yield "CPU", f"{cores} cores"
    yield "memory", f"{memory / GIB:.1f} GiB"
    yield "disk", f"{shutil.disk_usage('.').free / GIB:.1f} GiB free in this folder"
    yield "GPU", ", ".join(gpus()) or "none"


def packages() -> Iterator[tuple[str, str]]:
    """Each extra with the versions installed, or what it misses and the command that installs it."""
    for extra, names in requirements().items():
        if extra == unfit_vllm():
            continue
        missing = [name for name in names if version(name) is None]
        if missing:
            yield extra or "core", f"missing {', '.join(missing)}: {install_command(extra)}"
        else:
            yield extra or "core", ", ".join(f"{name} {version(name)}" for name in names)


def engines() -> Iterator[tuple[str, str]]:
    """Whether each rollout engine would run here, and on what."""
    for engine in catalog.names("engines"):
        extras = [extra for extra in ENGINE_EXTRAS.get(engine, ()) if extra != unfit_vllm()]
        lacking = [extra for extra in extras if any(version(name) is None for name in requirements()[extra])]
        if lacking:
            yield engine, f"would not run: {install_command(lacking[0])}"
        else:
            yield engine, f"runs, {device()}" if extras else "runs"


def device() -> str:
    """Where torch would compute; a GPU that it cannot use is worth a sentence."""
    if not gpus():
        return "on CPU"
    import torch

    if torch.cuda.is_available():
        return "on GPU"
    return f"on CPU: torch {torch.__version__} does not see the GPU; install a build that fits its driver"


def unfit_vllm() -> str:
    """The build of vLLM that is of no use on this machine."""
    return "vllm-cpu" if gpus() else "vllm"


@cache
def gpus() -> tuple[str, ...]:
    """The NVIDIA GPUs with their memory, as the driver names them; none without a driver."""
    if shutil.which("nvidia-smi") is None:
        return ()
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    return tuple(answer.stdout.strip().splitlines()) if answer.returncode == 0 else ()


@cache
def requirements() -> dict[str, list[str]]:
    """The packages that each extra asks for, from the installed distribution; `""` is the core."""
    found: dict[str, list[str]] = {}
    for line in metadata.requires(DISTRIBUTION) or ():
        requirement = re.match(r"([\w.-]+).*?(?:extra == \"([\w-]+)\")?$", line)
        assert requirement, line
        found.setdefault(requirement[2] or "", []).append(requirement[1])
    return found


def version(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def install_command(extra: str) -> str:
    """The command that installs an extra, in a checkout or anywhere else."""
    checkout = Path(vlmrl.__file__).resolve().parents[1]
    in_checkout = (checkout / "pyproject.toml").is_file()
    package = ("." if in_checkout else DISTRIBUTION) + (f"[{extra}]" if extra else "")
    return f"pip install {'-e ' if in_checkout else ''}'{package}'"
