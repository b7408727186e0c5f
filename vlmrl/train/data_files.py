"""The data files of a run: whether they have changed since it started, and which rows it goes on with.

A run trains on its own copy of the rows. Size and content hash of the files that it was made of are in every
checkpoint, beside the folder of the copy. So `--resume` notices a changed file, and a reload that is killed before the
next checkpoint leaves the earlier copy in force.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from vlmrl.config.data import DataSettings
from vlmrl.errors import UserError
from vlmrl.train.run_folder import RunFolder


class DataFiles:
    """The state of a run's data files; `copy` is the folder of its copy of the rows."""

    def __init__(self, settings: DataSettings, folder: RunFolder) -> None:
        paths = [entry.path for entry in (*settings.train, *settings.heldout) if entry.path is not None]
        self.folder = folder
        self.files = {path: _fingerprint(path) for path in paths if Path(path).is_file()}
        self.name = "data"
        self.reloaded = False

    @property
    def copy(self) -> Path:
        return self.folder.path / self.name

    def state_dict(self) -> dict[str, Any]:
        return {"name": self.name, "files": {path: list(known) for path, known in self.files.items()}}

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


def _fingerprint(path: str) -> tuple[int, str]:
    """Size in bytes, and hash of the content."""
    with open(path, "rb") as file:
        return Path(path).stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
