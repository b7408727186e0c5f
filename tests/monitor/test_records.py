"""The checksums of what a run has recorded: a damaged file is noticed, one that grew is not damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlmrl.errors import UserError
from vlmrl.monitor.records import Records, verify, verify_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("config.toml", "metrics.jsonl", "summary.json", "rollouts/step_000001.parquet", "unscored.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{name} 12345\n")
    (tmp_path / "run.json").write_text("{}")
    Records(tmp_path).write(finished=True)
    return tmp_path


def test_a_run_without_checksums_and_one_that_is_whole_pass(folder: Path, tmp_path_factory):
    verify(folder)
    verify(tmp_path_factory.mktemp("none"))


@pytest.mark.parametrize("name", ["config.toml", "metrics.jsonl", "summary.json", "rollouts/step_000001.parquet"])
def test_a_digit_that_differs_is_noticed(folder: Path, name: str):
    path = folder / name
    path.write_text(path.read_text().replace("3", "4"))
    with pytest.raises(UserError, match=rf"{name}: is not as the run wrote it") as caught:
        verify(folder)
    assert "\n" not in str(caught.value)
    (folder / "records.json").unlink()
    verify(folder)


def test_lines_that_were_added_are_no_damage_and_lines_that_are_gone_are(folder: Path):
    with (folder / "metrics.jsonl").open("a") as file:
        file.write("another\n")
    verify(folder)
    (folder / "metrics.jsonl").write_text("met")
    with pytest.raises(UserError, match=r"metrics\.jsonl: is not as the run wrote it"):
        verify(folder)


def test_what_may_be_deleted_and_what_not(folder: Path):
    (folder / "rollouts/step_000001.parquet").unlink()
    (folder / "unscored.jsonl").unlink()
    verify(folder)
    (folder / "config.toml").unlink()
    with pytest.raises(UserError, match=r"config\.toml: cannot be read"):
        verify(folder)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"config.toml": 3}', '{"config.toml": [1]}'])
def test_damaged_checksums_are_said(folder: Path, text: str):
    (folder / "records.json").write_text(text)
    with pytest.raises(UserError, match=r"records\.json: is damaged; delete it"):
        verify(folder)


@pytest.mark.parametrize("name", ["rollouts/step_000001.parquet", "unscored.jsonl"])
def test_one_file_of_a_run_is_compared_alone(folder: Path, name: str):
    (folder / "metrics.jsonl").write_text("damaged")
    verify_file(folder / name)
    (folder / name).write_text("damaged")
    with pytest.raises(UserError, match=f"{name}: is not as the run wrote it"):
        verify_file(folder / name)


def test_a_file_beside_records_of_others_passes(tmp_path: Path):
    (tmp_path / "records.json").write_text('{"rows.jsonl": [1, "another"]}')
    (tmp_path / "rows.jsonl").write_text("{}")
    verify_file(tmp_path / "rows.jsonl")
