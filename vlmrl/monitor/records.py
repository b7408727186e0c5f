"""The checksums of what a run has recorded, so that a damaged file is noticed before it is believed.

    records = Records(folder)
    records.write()                 at every checkpoint; `finished=True` at the end
    verify(folder)                  on --resume and before a report; `UserError` names the first file that differs

`records.json` has the size and the SHA-256 of each file. Of a file that grew afterwards, as `metrics.jsonl` does, that
many bytes are checked.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from vlmrl.errors import UserError
from vlmrl.files import whole_file

NAME = "records.json"
PATTERNS = ("config.toml", "metrics.jsonl", "heldout/step_*.parquet", "rollouts/step_*.parquet")


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
    """`UserError` for the first file that is not as the run wrote it. A run deletes its oldest rollouts."""
    path = folder / NAME
    if not path.exists():
        return
    try:
        known = {str(name): (int(size), str(digest)) for name, (size, digest) in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{path}: is damaged; delete it to go on without a check of what was recorded") from None
    for name, (size, digest) in known.items():
        file = folder / name
        if name.startswith("rollouts/") and not file.exists():
            continue
        try:
            differs = _entry(file, size)[1] != digest
        except OSError as error:
            raise UserError(f"{file}: cannot be read ({error.strerror or error}); put it back") from None
        if differs:
            raise UserError(
                f"{file}: is not as the run wrote it (its checksum is another one); put it back, or delete {path} to "
                "go on with it as it is"
            )


def _entry(path: Path, size: int | None = None) -> tuple[int, str]:
    """The number of bytes of a file, at most `size`, and their SHA-256."""
    digest, read = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(2**20 if size is None else min(2**20, size - read)):
            digest.update(chunk)
            read += len(chunk)
    return read, digest.hexdigest()
