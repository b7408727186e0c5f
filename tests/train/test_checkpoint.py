"""Checkpoints are whole or absent, and a damaged one is noticed."""

from __future__ import annotations

import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.damage import flip, replace_by_folder

from vlmrl.errors import UserError
from vlmrl.train import checkpoint


def load(folder: Path, said: list[str] | None = None) -> tuple[int, dict[str, Any]] | None:
    return checkpoint.load_latest(folder, ([] if said is None else said).append)


def test_the_newest_is_loaded_and_old_ones_go(tmp_path):
    assert load(tmp_path / "none") is None
    for step in (2, 4, 10, 1_000_001):
        checkpoint.save(tmp_path, step, {"x": torch.full((3,), float(step))}, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step_000010", "step_1000001"]
    found = load(tmp_path)
    assert found is not None
    assert found[0] == 1_000_001
    assert found[1]["x"].tolist() == [1_000_001.0] * 3


def test_a_half_written_one_is_ignored(tmp_path):
    checkpoint.save(tmp_path, 1, {"x": 1}, keep=5)
    (tmp_path / ".step_000002.partial").mkdir()
    (tmp_path / ".step_000002.partial" / "state.json").write_bytes(b"half")
    found = load(tmp_path)
    assert found is not None
    assert found[0] == 1


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a flipped bit": flip,
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "gone": Path.unlink,
    "another object": lambda path: path.write_bytes(b'{"weights": {}}'),
    "a folder": replace_by_folder,
}


@pytest.mark.parametrize("name", ["state.json", "tensors.safetensors", "SHA256SUMS"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_named_and_the_one_before_it_taken(tmp_path, name, damage):
    for step in (1, 2):
        checkpoint.save(tmp_path, step, {"x": torch.full((5,), step)}, keep=5)
    DAMAGES[damage](tmp_path / "step_000002" / name)
    said: list[str] = []
    found = load(tmp_path, said)
    assert found is not None
    assert found[0] == 1
    assert found[1]["x"].tolist() == [1] * 5
    (line,) = said
    assert line.startswith(f"{tmp_path}/step_000002/")
    assert name in line
    assert line.endswith("; going on from step 1")
    DAMAGES[damage](tmp_path / "step_000001" / name)
    with pytest.raises(UserError, match=rf"step_000002/.*{name}.*no other checkpoint is whole") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_step_that_is_a_file_or_another_step_is_damaged(tmp_path):
    checkpoint.save(tmp_path, 1, {"x": 1}, keep=5)
    (tmp_path / "step_000002").write_text("x")
    shutil.copytree(tmp_path / "step_000001", tmp_path / "step_000003")
    said: list[str] = []
    found = load(tmp_path, said)
    assert found is not None
    assert found[0] == 1
    assert "step_000003: holds step 1, not 3" in said[0]
    assert "step_000002/SHA256SUMS: cannot be read (Not a directory)" in said[1]
    checkpoint.save(tmp_path, 2, {"x": 2}, keep=5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_000001", "step_000002"]


class Command:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_pickle_runs_nothing(tmp_path):
    (tmp_path / "step_000001").mkdir()
    torch.save({"weights": Command(tmp_path / "ran")}, tmp_path / "step_000001" / "state.pt")
    with pytest.raises(UserError, match="holds more than tensors and numbers") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_of_an_earlier_version_is_read(tmp_path):
    (tmp_path / "step_000001").mkdir()
    memory = {"key_N": np.arange(3, dtype=np.uint64), "last_N": np.ones(3, np.float16)}
    state = {"weights": {"w": torch.ones(2)}, "memory": memory, "rng": {"numpy": np.random.get_state()}}
    torch.save(state, tmp_path / "step_000001" / "state.pt")
    found = load(tmp_path)
    assert found is not None
    assert found[1]["weights"]["w"].tolist() == [1, 1]
    np.testing.assert_array_equal(found[1]["memory"]["key_N"], memory["key_N"])
    flip(tmp_path / "step_000001" / "state.pt")
    with pytest.raises(UserError, match=r"state\.pt: is damaged"):
        load(tmp_path)


@pytest.fixture
def full_disk() -> Iterator[None]:
    """A file size limit of a megabyte makes the kernel refuse the write, as a full disk does."""
    limits, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, ignored)


def test_a_disk_that_refuses_leaves_the_older_one(tmp_path, full_disk):
    checkpoint.save(tmp_path, 1, {"x": torch.zeros(1000)}, keep=1)
    with pytest.raises(UserError, match=r"cannot save the checkpoint \(File too large\)") as caught:
        checkpoint.save(tmp_path, 2, {"x": torch.zeros(1_000_000)}, keep=1)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["step_000001"]
    found = load(tmp_path)
    assert found is not None
    assert found[0] == 1
