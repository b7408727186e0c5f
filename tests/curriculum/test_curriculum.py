"""Samplers and the data set they draw from."""

from __future__ import annotations

import numpy as np
import pytest

from vlmrl import catalog
from vlmrl.config.data import Source
from vlmrl.config.sampler import SamplerSettings
from vlmrl.curriculum import create_sampler
from vlmrl.curriculum.memory import PromptMemory
from vlmrl.curriculum.permutation import shuffled
from vlmrl.data.dataset import open_dataset
from vlmrl.data.sample_files import write_samples
from vlmrl.errors import UserError


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


def test_a_table_knows_the_source_of_each_sample(dataset):
    numbers, names = dataset.sources()
    assert [names[number] for number in numbers] == [sample.source for sample in dataset]


def test_uniform_gives_every_prompt_once_an_epoch(dataset):
    sampler = create_sampler(SamplerSettings(), PromptMemory(*dataset.sources()), seed=1)
    first, second = (sampler.next(20).tolist() for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    assert sampler.metrics() == {"epoch": 2.0}


def test_the_order_is_that_of_seed_and_epoch_however_it_is_drawn(dataset):
    sampler = create_sampler(SamplerSettings(), PromptMemory(*dataset.sources()), seed=1)
    expected = [shuffled(np.arange(20), 20, (1, epoch)).tolist() for epoch in range(2)]
    drawn = [index for n in (7, 9, 13, 11) for index in sampler.next(n).tolist()]
    assert drawn == expected[0] + expected[1]
