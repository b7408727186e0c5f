"""The data files of a run: whether they have changed since it started, and which rows it goes on with.

A run trains on its own copy of the rows. Size and content hash of the files that it was made of are in every
checkpoint, beside the folder of the copy and the hashes of what it holds. So `--resume` notices a changed file or a
damaged copy, and a reload that is killed before the next checkpoint leaves the earlier copy in force.

Images, videos and audio clips are not copied. Of each file a checkpoint has a hash of its size and of its first and
last 4 KiB, so that a million of them are compared in minutes; a change in the middle that keeps the size is not seen.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from vlmrl.config.data import DataSettings
from vlmrl.data.dataset import Dataset
from vlmrl.errors import UserError
from vlmrl.files import check_regular
from vlmrl.train.run_folder import RunFolder

_BLOCK = 4096


class DataFiles:
    """The state of a run's data files; `copy` is the folder of its copy of the rows."""

    def __init__(self, settings: DataSettings, folder: RunFolder) -> None:
        paths = [entry.path for entry in (*settings.train, *settings.heldout) if entry.path is not None]
        self.folder = folder
        self.files = {path: _fingerprint(path) for path in paths if Path(path).is_file()}
        self.name = "data"
        self.reloaded = False
        self.media_changed = False
        self._sealed: dict[str, str] = {}  # hashes of the files of the copy, by their paths in it
        self._media: np.ndarray | None = None  # of the files that the rows name, in their order; 0: there is none

    @property
    def copy(self) -> Path:
        return self.folder.path / self.name

    def state_dict(self) -> dict[str, Any]:
        return {"name": self.name, "files": self.files, "copy": self._sealed, "media": self._media}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Compares the files with those of the checkpoint; `UserError` if one has changed and nothing says what then.

        A file that is gone does not count as changed: the run has its copy.
        """
        known = {path: tuple(fingerprint) for path, fingerprint in state["files"].items()}
        changed = [path for path, now in self.files.items() if known.get(path) != now]
        if changed and self.folder.changed_data is None:
            raise UserError(
                f"{self.folder.path}: {changed[0]} has changed since the run started; put the earlier file back, or go "
                "on with its earlier rows (--resume --changed-data keep) or those of today (--changed-data reload)"
            )
        if changed and self.folder.changed_data == "reload":
            content = json.dumps(self.files, sort_keys=True).encode()
            self.name, self.reloaded = f"data_{hashlib.sha256(content).hexdigest()[:8]}", True
        else:
            self.name, self.files = state["name"], known
            self._sealed, self._media = state.get("copy", {}), state.get("media")
            self._check_copy(changed)

    def seal(self) -> None:
        """Takes note of what the copy holds, once it is complete; `UserError` if rows read again are others."""
        sealed = _hashes(self.copy)
        if any(sealed.get(name) != digest for name, digest in self._sealed.items() if name.endswith(".arrow")):
            raise UserError(
                f"{self.copy}: was damaged, and the rows that were read again are not those that the run has seen; go "
                "on with those of today: --resume --changed-data reload"
            )
        self._sealed = sealed

    def compare_media(self, data: Iterable[Dataset]) -> None:
        """Compares the media files with those of the checkpoint; `UserError` if some have changed, as for the rows.

        A file that is gone does not count as changed: whether the run goes on without it is another setting.
        """
        paths = list(dict.fromkeys(path for one in data for _, path in one.media_files()))
        now, known = np.fromiter(map(_media_hash, paths), np.int64, len(paths)), self._media
        if known is not None:
            changed = np.flatnonzero((now != known) & (now != 0) & (known != 0))
            if len(changed) and self.folder.changed_data is None:
                raise UserError(
                    f"{self.folder.path}: {len(changed)} images, videos or audio clips have changed since the run "
                    f"started, the first is {paths[changed[0]]}; put the earlier files back, or go on with those of "
                    "today (--resume --changed-data keep)"
                )
            self.media_changed = len(changed) > 0
            now = np.where(now == 0, known, now)
        self._media = now

    def _check_copy(self, changed: list[str]) -> None:
        """Removes a damaged copy, so that the rows are read again; `UserError` if the files are not the same."""
        now = _hashes(self.copy)
        damaged = next((name for name, digest in self._sealed.items() if now.get(name) != digest), None)
        if damaged is None:
            return
        if changed:
            raise UserError(
                f"{self.copy / damaged}: is damaged or gone, and {changed[0]} has changed since the run started; put "
                "one of them back, or go on with the rows of today (--resume --changed-data reload)"
            )
        self.folder.say(f"{self.copy / damaged}: is damaged or gone; the rows are read again")
        shutil.rmtree(self.copy, ignore_errors=True)


def _fingerprint(path: str) -> tuple[int, str]:
    """Size in bytes, and hash of the content."""
    return Path(path).stat().st_size, _hash(Path(path))


def _media_hash(path: str) -> int:
    """64 bits of the size and of the first and last block of a file; 0 for one that cannot be read."""
    try:
        size = check_regular(path)
        with open(path, "rb") as file:
            ends = file.read(_BLOCK)
            if size > _BLOCK:
                file.seek(max(_BLOCK, size - _BLOCK))
                ends += file.read(_BLOCK)
    except OSError:
        return 0
    digest = hashlib.blake2b(f"{size} ".encode() + ends, digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True) or 1


def _hashes(folder: Path) -> dict[str, str]:
    """The hash of each file in a folder, by its path there; locks, which hold nothing, left out."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): _hash(path) for path in files}


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
