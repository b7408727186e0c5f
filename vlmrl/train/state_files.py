"""The state of a run in plain files: `state.json`, and `tensors.safetensors` for the tensors that it names.

    digests = write_state(folder, state)      {"state.json": "<SHA-256>", "tensors.safetensors": "<SHA-256>"}
    state = read_state(folder)

Nothing is pickled, so a file from elsewhere runs no code. A state consists of dicts, lists, text, bytes, numbers, None,
tensors and numpy arrays. Tuples come back as lists, all else as it was, bit by bit.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

STATE, TENSORS = "state.json", "tensors.safetensors"
DTYPES = {
    **{torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.bool: "BOOL"},
    **{torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8"},
    **{torch.uint64: "U64", torch.uint32: "U32", torch.uint16: "U16", torch.uint8: "U8"},
}
"""Names of the types in the format safetensors."""


def write_state(folder: Path, state: Any) -> dict[str, str]:
    """Writes both files, flushed to disk; returns the SHA-256 of each. `OSError` if the disk refuses."""
    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(_to_json(state, "", tensors)).encode()
    return {
        STATE: write_file(folder / STATE, [text]),
        TENSORS: write_file(folder / TENSORS, _safetensors(tensors)),
    }


def read_state(folder: Path) -> Any:
    """The state that `write_state` wrote."""
    from safetensors.torch import load_file

    return _from_json(json.loads((folder / STATE).read_bytes()), load_file(folder / TENSORS))


def write_file(path: Path, chunks: Iterable[Any]) -> str:
    """Writes a file, flushed to disk; returns the SHA-256 of what was to be written."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for chunk in chunks:
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _safetensors(tensors: dict[str, torch.Tensor]) -> Iterator[Any]:
    """A file of the format safetensors, in pieces.

    The library's own writer first copies all tensors to the CPU, and reports a full disk as an error of its format.
    """
    names = sorted(tensors, key=lambda name: -tensors[name].element_size())  # so that each begins aligned
    header: dict[str, Any] = {}
    start = 0
    for name in names:
        end = start + tensors[name].nbytes
        shape = list(tensors[name].shape)
        header[name] = {"dtype": DTYPES[tensors[name].dtype], "shape": shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in names:
        flat = tensors[name].detach().cpu().contiguous().as_strided((tensors[name].numel(),), (1,))
        yield flat.view(torch.uint8).numpy().data


def _to_json(value: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    """The value as JSON has it; an object whose one key begins with `$` stands for what JSON has not."""
    if isinstance(value, dict):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: _to_json(entry, f"{path}/{key}", tensors) for key, entry in value.items()}
        return {"$items": [[key, _to_json(entry, f"{path}/{key}", tensors)] for key, entry in value.items()]}
    if isinstance(value, list | tuple):
        return [_to_json(entry, f"{path}/{place}", tensors) for place, entry in enumerate(value)]
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.Tensor | np.ndarray):
        name = path.removeprefix("/")
        assert name not in tensors
        tensors[name] = value if isinstance(value, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(value))
        return {"$tensor" if isinstance(value, torch.Tensor) else "$array": name}
    return value


def _from_json(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_from_json(entry, tensors) for entry in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"$items": items}:
            return {key: _from_json(entry, tensors) for key, entry in items}
        case {"$bytes": text}:
            return base64.b64decode(text)
        case {"$tensor": name}:
            return tensors[name]
        case {"$array": name}:
            return tensors[name].numpy()
    return {key: _from_json(entry, tensors) for key, entry in value.items()}
