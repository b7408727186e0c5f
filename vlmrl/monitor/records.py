"""The checksums of what a run has recorded, so that a damaged file is noticed before it is believed.

    records = Records(folder)
    records.write()                 at every checkpoint; `finished=True` at the end
    verify(folder)                  on --resume and before a report; `UserError` names the first file that differs
    verify_file(file)               the same for one file that may be part of a run

`records.json` has the size and the SHA-256 of each file. Of a file that grew afterwards, as `metrics.jsonl` does, that
many bytes are checked.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from vlmrl.errors import UserError
from vlmrl.files import check_regular, read_file, whole_file

NAME = "records.json"
MARKER = "run.json"
"""The file that marks a folder as that of a run."""
PATTERNS = ("config.toml", "*.jsonl", "heldout/step_*.parquet", "rollouts/step_*.parquet")
MAY_BE_GONE = ("rollouts", "unscored.jsonl", "unreadable.jsonl")
"""A run deletes its oldest rollouts; and its user, what was kept of failures and is dealt with."""


class Records:
    """Writes the checksums of the records in a run folder. A parquet file is read once, since it never changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, tuple[int, str]] = {}

    def write(self, finished: bool = False) -> None:
        patterns = (*PATTERNS, "summary.json") if finished else PATTERNS
        paths = [path for pattern in patterns for path in sorted(self.folder.glob(pattern))]
        names = {str(path.relative_to(self.folder)): path for path in paths}
        known = {name: entry for name, entry in self._known.items() if name in names and name.endswith(".parquet")}
        self._known = {name: known.get(name) or _entry(path) for name, path in names.items()}
        with whole_file(self.folder / NAME) as partial:
            partial.write_text(json.dumps(self._known, indent=1) + "\n", encoding="utf-8")

    def forget(self) -> None:
        """Removes the checksums before files change that they are of."""
        (self.folder / NAME).unlink(missing_ok=True)


def verify(folder: Path) -> None:
    """`UserError` for the first file that is not as the run wrote it."""
    for name, entry in _recorded(folder).items():
        if name.split("/")[0] not in MAY_BE_GONE or (folder / name).exists():
            _compare(folder, name, entry)


def verify_file(file: Path) -> None:
    """`UserError` if the file belongs to a run and is not as that wrote it."""
    file = Path(os.path.abspath(file))
    for folder in file.parents[:2]:
        if (folder / MARKER).exists() and (entry := _recorded(folder).get(name := str(file.relative_to(folder)))):
            _compare(folder, name, entry)


def _recorded(folder: Path) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 of each file of a run, by its path there; empty without `records.json`."""
    path = folder / NAME
    if not path.exists():
        return {}
    try:
        return {str(name): (int(size), str(digest)) for name, (size, digest) in json.loads(read_file(path)).items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{path}: is damaged; delete it to go on without a check of what was recorded") from None


def _compare(folder: Path, name: str, entry: tuple[int, str]) -> None:
    file, (size, digest) = folder / name, entry
    try:
        differs = _entry(file, size)[1] != digest
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror or error}); put it back") from None
    if differs:
        raise UserError(
            f"{file}: is not as the run wrote it (its checksum is another one); put it back, or delete "
            f"{folder / NAME} to go on with it as it is"
        )


def _entry(path: Path, size: int | None = None) -> tuple[int, str]:
    """The number of bytes of a file, at most `size`, and their SHA-256."""
    check_regular(path)
    digest, read = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(2**20 if size is None else min(2**20, size - read)):
            digest.update(chunk)
            read += len(chunk)
    return read, digest.hexdigest()
