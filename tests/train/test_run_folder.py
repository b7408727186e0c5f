"""The folder of a run: a start that was killed at its first file operations does not keep the name."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlmrl.config.run_file import RunConfig
from vlmrl.errors import UserError
from vlmrl.train.run_folder import RunFolder


def config(folder: Path) -> RunConfig:
    data = {"train": [{"recipe": "synthetic", "n": 1}]}
    return RunConfig.model_validate({"run": {"name": "x", "steps": 1, "folder": str(folder)}, "data": data})


@pytest.mark.parametrize("resume", [False, True])
def test_a_start_that_left_a_part_of_its_config_begins_again(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / ".config.toml.partial").write_text("[run")
    RunFolder.open(config(tmp_path), resume)
    assert (tmp_path / "x" / "config.toml").exists()


@pytest.mark.parametrize("name", ["notes.txt", ".hidden"])
def test_a_folder_that_holds_anything_else_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / name).write_text("mine")
    with pytest.raises(UserError, match="not empty and not a run"):
        RunFolder.open(config(tmp_path), resume=False)
