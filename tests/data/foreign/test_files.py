"""Files of other toolkits: every kind gives the same rows, shards are read in order, and ids are stable."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlmrl import UserError
from vlmrl.data.convert import convert_file
from vlmrl.data.foreign.wanted import Wanted
from vlmrl.sample import Sample

ROWS = [{"problem": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(3)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
TABLE = "problem\tanswer\n" + "".join(f"{row['problem']}\t{row['answer']}\n" for row in ROWS)


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(content), path)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(content.encode()))
    else:
        path.write_text(content)
    return path


def read(path: Path | str, **said: Any) -> list[Sample]:
    return list(convert_file(str(path), wanted=Wanted(**said)))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.jsonl", LINES),
        ("x.json", json.dumps(ROWS, indent=2)),
        ("x.json", LINES),
        ("x.parquet", ROWS),
        ("x.tsv", TABLE),
        ("x.csv", TABLE.replace("\t", ",")),
        ("x.jsonl.gz", LINES),
        ("x.json.gz", json.dumps(ROWS)),
        ("x.tsv.gz", TABLE),
    ],
)
def test_every_kind_of_file_gives_the_same_samples(tmp_path, name, content) -> None:
    samples = read(write(tmp_path / name, content))
    assert [sample.id for sample in samples] == ["x-1", "x-2", "x-3"]
    assert [sample.messages[0].content for sample in samples] == [row["problem"] for row in ROWS]
    assert [sample.reward[0].target for sample in samples] == ["1", "2", "3"]


@pytest.mark.parametrize("path", ["sums", "sums/*.jsonl", "**/*.jsonl"])
def test_folders_and_globs_of_shards(tmp_path, monkeypatch, path) -> None:
    for number in (1, 0):
        write(tmp_path / "sums" / f"train-{number}.jsonl", LINES)
    write(tmp_path / "sums" / "README.md", "hello")
    write(tmp_path / "sums" / ".cache" / "x.jsonl", "broken")
    monkeypatch.chdir(tmp_path)
    samples = read(path)
    assert [sample.id for sample in samples][2:4] == ["sums-train-0-3", "sums-train-1-1"]
    assert {sample.source for sample in samples} == {"sums"}


def test_the_source_of_the_user_leaves_ids_as_they_are(tmp_path) -> None:
    file = write(tmp_path / "x.jsonl", LINES)
    named = read(file, source="sums")
    assert [sample.id for sample in named] == [sample.id for sample in read(file)]
    assert {sample.source for sample in named} == {"sums"}


def test_an_id_that_comes_twice_is_numbered(tmp_path) -> None:
    rows = [row | {"id": "coco-7"} for row in ROWS]
    samples = read(write(tmp_path / "x.json", json.dumps(rows)))
    assert [sample.id for sample in samples] == ["coco-7", "coco-7#2", "coco-7#3"]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("x.txt", "a", "x.txt: unknown kind of file '.txt'; use one of .jsonl, .json, .parquet, .tsv, .csv"),
        ("x.json", '[{"a": 1}', "x.json: not valid JSON (Expecting ',' delimiter"),
        ("x.json", '{\n"data": [],\n"info": 3\n}', "x.json row 1: no schema has the columns data, info; give --from"),
        ("x.json", "[3]", "x.json row 1: expected an object, got int"),
        ("x.jsonl", "[3]", "x.jsonl:1: expected an object, got list"),
        ("x.jsonl", "\n", "x.jsonl: holds no rows"),
        ("x.tsv", "a\tb\n1\n", "x.tsv row 1: has another number of cells than the first line has names"),
        ("x.jsonl", '{"messages": [], "reward": []}', "x.jsonl:1: has the fields of a sample already"),
        ("x.jsonl", '{"colour": 1}', "x.jsonl:1: no schema has the columns colour; give --from v_triune|verl|"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, content, complaint) -> None:
    with pytest.raises(UserError) as caught:
        read(write(tmp_path / name, content))
    assert str(caught.value).startswith(f"{tmp_path}/{complaint}")


def test_a_broken_archive_a_mixed_folder_and_a_glob_of_nothing(tmp_path) -> None:
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(LINES.encode())[:-20])
    with pytest.raises(UserError, match=r"x.jsonl.gz: cannot be read \(Compressed file ended"):
        read(tmp_path / "x.jsonl.gz")
    write(tmp_path / "both" / "a.jsonl", LINES)
    write(tmp_path / "both" / "b.parquet", ROWS)
    with pytest.raises(UserError, match=r"holds files of several kinds \(.jsonl, .parquet\); name the files"):
        read(tmp_path / "both")
    with pytest.raises(UserError, match="matches no file"):
        read(tmp_path / "*.jsonl")
