"""Checkpoints: everything a run needs to go on exactly, written whole or not at all, read only if whole.

    save(folder, step, state, keep=2)     runs/x/checkpoints/step_000050/{state.json,tensors.safetensors,SHA256SUMS}
    step, state = load_latest(folder, say)

A checkpoint is written under a temporary name, flushed to disk and renamed, so that a kill or a full disk
leaves the older ones as they were and never a half one that looks whole. Its checksums are verified when it is read
(`sha256sum -c SHA256SUMS` does the same); of a damaged one the file is named, and the one before it is taken.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vlmrl
from vlmrl.errors import UserError
from vlmrl.files import remove
from vlmrl.train.state_files import STATE, TENSORS, read_state, write_file, write_state

FORMAT = 1
SUMS = "SHA256SUMS"
_NAME = re.compile(r"step_(\d{6,})")


class DamagedError(UserError):
    """A file of a checkpoint is not as it was written."""


def save(folder: Path, step: int, state: dict[str, Any], keep: int) -> Path:
    """Writes the checkpoint of a step, then drops all but the newest `keep`. `UserError` if the disk refuses."""
    target = folder / f"step_{step:06d}"
    partial = folder / f".{target.name}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        about = {"format": FORMAT, "version": vlmrl.__version__, "step": step}
        digests = write_state(partial, about | {"state": state})
        write_file(partial / SUMS, [f"{digest}  {name}\n".encode() for name, digest in digests.items()])
        _sync_folder(partial)
        remove(target)
        partial.rename(target)
        _sync_folder(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        reason = error.strerror or error
        raise UserError(f"{target}: cannot save the checkpoint ({reason}); older ones are untouched") from None
    for later in _steps(folder):
        if later > step:  # damaged, or this run would have gone on from it
            remove(folder / f"step_{later:06d}")
    tidy(folder, step, keep)
    return target


def tidy(folder: Path, step: int, keep: int) -> None:
    """Drops all but the newest `keep` up to a step, and what a killed process left half written."""
    for old in [other for other in sorted(_steps(folder)) if other <= step][:-keep]:
        remove(folder / f"step_{old:06d}")
    for partial in folder.glob(".step_*.partial"):
        remove(partial)


def load_latest(folder: Path, say: Callable[[str], None]) -> tuple[int, dict[str, Any]] | None:
    """The newest checkpoint that is whole, or None if there is none at all; says which ones are damaged.

    `UserError` if all are damaged, or if another version of the toolkit wrote the newest in a form unknown here.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is not a folder; put the checkpoints back, or choose another run.name")
    damaged: list[str] = []
    for step in sorted(_steps(folder), reverse=True):
        try:
            state = _load(folder / f"step_{step:06d}", step)
        except DamagedError as error:
            damaged.append(str(error))
            continue
        for line in damaged:
            say(f"{line}; going on from step {step}")
        return step, state
    if damaged:
        raise UserError(f"{damaged[0]}; no other checkpoint is whole: put one back, or choose another run.name")
    return None


def _load(path: Path, step: int) -> dict[str, Any]:
    try:
        if (path / "state.pt").exists():
            return _load_earlier(path / "state.pt")
        _verify(path)
        content = read_state(path)
    except OSError as error:
        reason = error.strerror or error
        raise DamagedError(f"{error.filename or path}: cannot be read ({reason})") from None
    if content["format"] != FORMAT:
        raise UserError(
            f"{path}: was written by vlmrl {content['version']} in format {content['format']}, not {FORMAT}; "
            "go on with that version"
        )
    if content["step"] != step:
        raise DamagedError(f"{path}: holds step {content['step']}, not {step}")
    return content["state"]


def _verify(path: Path) -> None:
    """`DamagedError` unless the files have their checksums."""
    lines = (path / SUMS).read_bytes().decode(errors="replace").splitlines()
    digests = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    if digests.keys() != {STATE, TENSORS}:
        raise DamagedError(f"{path / SUMS}: is damaged")
    for name, digest in digests.items():
        with (path / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise DamagedError(f"{path / name}: is damaged (its checksum is not the one in {SUMS})")


def _load_earlier(path: Path) -> dict[str, Any]:
    """A checkpoint of the first versions: a pickle, from which only tensors, arrays and plain values are taken."""
    core = np._core.multiarray  # pyright: ignore[reportAttributeAccessIssue]
    kinds = [type(np.dtype(kind)) for kind in "?bhilqBHILQefd"]
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip():
                raise DamagedError(f"{path}: is damaged")
        with torch.serialization.safe_globals([core._reconstruct, core.scalar, np.ndarray, np.dtype, *kinds]):
            return {"model": None, "data": None} | torch.load(path, map_location="cpu", weights_only=True)
    except zipfile.BadZipFile:
        raise DamagedError(f"{path}: is damaged") from None
    except Exception as error:
        if isinstance(error, OSError | UserError):
            raise
        raise UserError(
            f"{path}: a checkpoint of an earlier version that holds more than tensors and numbers, which is not read "
            "for safety; finish the run with that version, or choose another run.name"
        ) from None


def _steps(folder: Path) -> list[int]:
    return [int(m[1]) for path in folder.glob("step_*") if (m := _NAME.fullmatch(path.name))]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
