"""Samplers and the data set they draw from."""

from __future__ import annotations

import pytest

from vlmrl import catalog
from vlmrl.curriculum.uniform import create
from vlmrl.dataset import open_dataset
from vlmrl.errors import UserError
from vlmrl.sample import write_samples
from vlmrl.settings import Source


@pytest.fixture
def dataset(tmp_path):
    return open_dataset([Source(recipe="synthetic", n=4)], tmp_path / "table")


def test_a_table_holds_files_and_recipes_in_order(tmp_path):
    samples = list(catalog.load("recipes", "synthetic").build(2, seed=8))
    write_samples(tmp_path / "a.jsonl", samples[:6])
    write_samples(tmp_path / "b.parquet", samples[6:])
    entries = [
        Source(path=str(tmp_path / "a.jsonl")),
        Source(path=str(tmp_path / "b.parquet")),
        Source(recipe="synthetic", n=1, sources=("ocr",)),
    ]
    table = open_dataset(entries, tmp_path / "table")
    assert [table[i].key for i in range(10)] == [s.key for s in samples]
    assert table[10].source == "ocr"
    assert len(table) == 11


def test_wrong_entries_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        open_dataset([Source(path=str(tmp_path / "none.jsonl"))], tmp_path / "t1")
    with pytest.raises(UserError, match=r"no source 'ocrr'; did you mean 'ocr'"):
        open_dataset([Source(recipe="synthetic", sources=("ocrr",))], tmp_path / "t2")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(UserError, match=r"empty\.jsonl: holds no samples"):
        open_dataset([Source(path=str(tmp_path / "empty.jsonl"))], tmp_path / "t3")


def test_uniform_gives_every_sample_once_an_epoch(dataset):
    sampler = create(dataset, seed=1)
    first, second = ([s.id for s in sampler.next(20)] for _ in range(2))
    assert sorted(first) == sorted(second) == sorted(s.id for s in dataset)
    assert first != second
    assert sampler.metrics() == {"epoch": 2.0}


def test_uniform_continues_from_its_state(dataset):
    whole, cut = create(dataset, seed=1), create(dataset, seed=1)
    expected = [s.id for n in (7, 9, 13) for s in whole.next(n)]
    got = [s.id for n in (7, 9) for s in cut.next(n)]
    restored = create(dataset, seed=1)
    restored.load_state_dict(cut.state_dict())
    assert got + [s.id for s in restored.next(13)] == expected
