"""Checkpoints are whole or absent."""

from __future__ import annotations

import pickle
import pickletools
import resource
import signal
from collections.abc import Iterator

import pytest
import torch
from helpers.population import make_group

from vlmrl.curriculum import pack_groups
from vlmrl.errors import UserError
from vlmrl.sample import Media, MediaSet
from vlmrl.train import checkpoint


def test_the_newest_is_loaded_and_old_ones_go(tmp_path):
    assert checkpoint.load_latest(tmp_path / "none") is None
    for step in (2, 10, 4, 1_000_001):
        checkpoint.save(tmp_path, step, {"x": torch.full((3,), float(step))}, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step_000010", "step_1000001"]
    found = checkpoint.load_latest(tmp_path)
    assert found is not None
    assert found[0] == 1_000_001
    assert found[1]["x"].tolist() == [1_000_001.0] * 3


def test_a_half_written_one_is_ignored(tmp_path):
    checkpoint.save(tmp_path, 1, {"x": 1}, keep=5)
    (tmp_path / ".step_000002.partial").mkdir()
    (tmp_path / ".step_000002.partial" / "state.pt").write_bytes(b"half")
    found = checkpoint.load_latest(tmp_path)
    assert found is not None
    assert found[0] == 1


def test_a_broken_one_is_named(tmp_path):
    checkpoint.save(tmp_path, 1, {"x": 1}, keep=5)
    (tmp_path / "step_000001" / "state.pt").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"step_000001/state\.pt: cannot be read"):
        checkpoint.load_latest(tmp_path)


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
    with pytest.raises(UserError, match="cannot save the checkpoint") as caught:
        checkpoint.save(tmp_path, 2, {"x": torch.zeros(1_000_000)}, keep=1)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["step_000001"]
    found = checkpoint.load_latest(tmp_path)
    assert found is not None
    assert found[0] == 1


def test_what_is_pickled_keeps_its_path():
    """Checkpoints name these classes by their modules; one that moves has to be found by its earlier path too."""
    media = MediaSet(images=(Media(data=b"x"),))
    groups = pack_groups([make_group(0, [1.0, 0.0])])
    groups[0]["sample"] = groups[0]["sample"].model_copy(update={"media": media})
    opcodes = pickletools.genops(pickle.dumps(groups, protocol=2))
    named = {argument for opcode, argument, _ in opcodes if opcode.name == "GLOBAL" and argument.startswith("vlmrl")}
    assert named == {
        "vlmrl.rollout Rollout",
        "vlmrl.verdict Verdict",
        *(f"vlmrl.sample {name}" for name in ("Media", "MediaSet", "Message", "RewardSpec", "Sample")),
    }
