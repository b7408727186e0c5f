"""Checkpoints: everything a run needs to go on exactly, written whole or not at all.

    save(folder, step, state, keep=2)     runs/x/checkpoints/step_000050/state.pt
    step, state = load_latest(folder)

A checkpoint is written under a temporary name, flushed to disk and renamed, so that a kill or a full disk
leaves the older ones as they were and never a half one that looks whole.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import torch

from vlmrl.errors import UserError

_NAME = re.compile(r"step_(\d{6,})")


def save(folder: Path, step: int, state: dict[str, Any], keep: int) -> Path:
    """Writes the checkpoint of a step, then drops all but the newest `keep`. `UserError` if the disk refuses."""
    target = folder / f"step_{step:06d}"
    partial = folder / f".{target.name}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with (partial / "state.pt").open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        _sync_folder(folder)
    except (OSError, RuntimeError) as error:
        # torch reports a failed write as a RuntimeError of its zip writer.
        shutil.rmtree(partial, ignore_errors=True)
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise UserError(f"{target}: cannot save the checkpoint ({reason}); older ones are untouched") from None
    for old in sorted(_steps(folder))[:-keep]:
        shutil.rmtree(folder / f"step_{old:06d}")
    return target


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _steps(folder: Path) -> list[int]:
    return [int(m[1]) for path in folder.glob("step_*") if (m := _NAME.fullmatch(path.name))]


def load_latest(folder: Path) -> tuple[int, dict[str, Any]] | None:
    """The newest checkpoint, or None if there is none."""
    steps = _steps(folder)
    if not steps:
        return None
    path = folder / f"step_{max(steps):06d}" / "state.pt"
    try:
        # A checkpoint is the user's own file; it holds plain tensors, numbers and RNG states.
        return max(steps), torch.load(path, map_location="cpu", weights_only=False)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: cannot be read ({reason}); delete its folder to go on from an older one") from None
