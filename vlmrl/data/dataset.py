"""Dataset: the samples of a run, from files and recipes, memory-mapped on disk and read by index.

    dataset = open_dataset(config.data.train, run_folder / "data" / "train")
    sample = dataset[17]

Every sample is validated once while it is streamed into an Arrow table. The rows stay on disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlmrl import catalog
from vlmrl.config.data import Source
from vlmrl.data.sample_files import from_parquet_row, parquet_schema, read_samples, to_parquet_row
from vlmrl.errors import UserError, nearest
from vlmrl.rewards.composite import check_spec
from vlmrl.sample import MARKS, Sample, sample_from_row


class Dataset:
    """Random access to the samples of a table."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def __len__(self) -> int:
        return self._table.num_rows

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def sources(self) -> tuple[np.ndarray, tuple[str, ...]]:
        """The index of each sample's source (int16, [N]), and the names of the sources in order of appearance."""
        encoded = self._table.data.column("source").dictionary_encode().unify_dictionaries()
        numbers = [chunk.indices.to_numpy().astype(np.int16) for chunk in encoded.chunks]
        return np.concatenate(numbers), tuple(encoded.chunk(0).dictionary.to_pylist())

    def __getitem__(self, index: int) -> Sample:
        where = f"row {index}"
        return sample_from_row(from_parquet_row(self._table[index], where), where)


def open_dataset(entries: Sequence[Source], folder: Path) -> Dataset:
    """All samples of the entries, in order. `UserError` if there are none, or if one is invalid."""
    import datasets
    from datasets.exceptions import DatasetGenerationError

    # The table is a working copy of one run, which no other run reads.
    datasets.disable_progress_bars()
    try:
        table = datasets.Dataset.from_generator(
            _rows,
            gen_kwargs={"entries": [entry.model_dump() for entry in entries]},
            features=datasets.Features.from_arrow_schema(parquet_schema()),
            cache_dir=str(folder),
        )
    except DatasetGenerationError as error:
        # The cause is the exception of our own generator.
        raise (error.__cause__ or error) from None
    return Dataset(table)


def _rows(entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for entry in entries:
        for sample in entry_samples(Source.model_validate(entry)):
            _check(sample)
            yield to_parquet_row(sample)


def _check(sample: Sample) -> None:
    """Cheap checks of what would stop a run hours later; `vlmrl data check` also decodes all media."""
    for spec in sample.reward:
        try:
            check_spec(spec)
        except UserError as error:
            raise UserError(f"sample {sample.id!r}: {error}") from None
    for kind in MARKS:
        for media in getattr(sample.media, kind):
            try:
                media.size()
            except UserError as error:
                raise error.at(f"sample {sample.id!r}") from None


def entry_samples(entry: Source) -> Iterator[Sample]:
    """The samples of one entry of data.train or data.heldout."""
    if entry.path is not None:
        empty = True
        for sample in read_samples(entry.path):
            empty = False
            yield sample
        if empty:
            raise UserError(f"{entry.path}: holds no samples")
        return
    assert entry.recipe is not None
    yield from recipe_samples(entry.recipe, entry.n, entry.split, entry.seed, entry.sources)


def recipe_samples(
    name: str, n: int, split: str, seed: int, sources: Sequence[str] | None, difficulty: int = 1
) -> Iterator[Sample]:
    """`n` samples of each of these sources of a recipe, or of all; `UserError` for a source that it does not have."""
    recipe = catalog.load("recipes", name)
    for source in sources or ():
        if source not in recipe.SOURCES:
            raise UserError(f"recipe {name!r} has no source {source!r}{nearest(source, recipe.SOURCES)}")
    return recipe.build(n, split=split, seed=seed, sources=sources or recipe.SOURCES, difficulty=difficulty)
