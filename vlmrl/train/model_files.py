"""The model folder of a run, weights, tokenizer and processor: whether it has changed since the run started.

The weights that train are in the checkpoint; those that do not, the reference of a KL term, the tokenizer and the
processor come from the folder at every start.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from vlmrl.errors import UserError

KINDS = (".json", ".jinja", ".txt", ".model", ".safetensors", ".bin")
BLOCKS, BLOCK = 64, 2**20
"""A file above 64 MiB has that many blocks hashed, spread over it: reading all weights would take minutes."""


class ModelFiles:
    """A part of every checkpoint: the fingerprint of each file; of a model from a hub, its revision."""

    def __init__(self, path: str, revision: str | None) -> None:
        self.path = Path(path)
        files = sorted(file for file in self.path.glob("*") if file.suffix in KINDS and file.is_file())
        self.files = {file.name: _fingerprint(file) for file in files} if self.path.is_dir() else {}
        if revision is not None:
            self.files["revision"] = revision

    def state_dict(self) -> dict[str, str]:
        return self.files

    def load_state_dict(self, state: dict[str, str]) -> None:
        """Compares the files with those of the checkpoint; `UserError` names the first one that differs."""
        for name in sorted(self.files.keys() | state.keys()):
            if self.files.get(name) != state.get(name):
                raise UserError(
                    f"{self.path / name}: has changed since the run started; put the earlier model folder back, or "
                    "choose another run.name"
                )


def _fingerprint(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for number in range(BLOCKS):
            file.seek(BLOCK * number if size <= BLOCKS * BLOCK else (size - BLOCK) * number // (BLOCKS - 1))
            digest.update(file.read(BLOCK))
    return digest.hexdigest()
