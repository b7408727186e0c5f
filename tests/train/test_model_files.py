"""A model folder that has changed is noticed, by the file that has."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlmrl.errors import UserError
from vlmrl.train import model_files
from vlmrl.train.model_files import ModelFiles


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr(model_files, "BLOCK", 16)
    for name, size in {"config.json": 20, "model.safetensors": 64 * 16 + 5, "large.safetensors": 50_000}.items():
        (tmp_path / name).write_bytes(bytes(range(200)) * (size // 200) + bytes(size % 200))
    (tmp_path / "README.md").write_text("x")
    return tmp_path


def test_the_same_folder_elsewhere_is_the_same(folder: Path):
    state = ModelFiles(str(folder), None).state_dict()
    (folder / "README.md").write_text("y")
    ModelFiles(str(folder.rename(folder.with_name("moved"))), None).load_state_dict(state)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "large.safetensors"])
@pytest.mark.parametrize("change", ["first", "last", "longer", "gone"])
def test_a_file_that_has_changed_is_named(folder: Path, name: str, change: str):
    state = ModelFiles(str(folder), None).state_dict()
    content = (folder / name).read_bytes()
    changed = {"first": b"x" + content[1:], "last": content[:-1] + b"x", "longer": content + b"x"}
    if change == "gone":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(changed[change])
    with pytest.raises(UserError, match=rf"{name}: has changed since the run started") as caught:
        ModelFiles(str(folder), None).load_state_dict(state)
    assert "\n" not in str(caught.value)


def test_another_revision_of_a_hub_model_is_noticed(tmp_path: Path):
    first, second = (ModelFiles(str(tmp_path / "owner/name"), revision) for revision in ("a", "b"))
    first.load_state_dict(ModelFiles(str(tmp_path / "owner/name"), "a").state_dict())
    with pytest.raises(UserError, match="revision: has changed"):
        second.load_state_dict(first.state_dict())
