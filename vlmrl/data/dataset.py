"""Dataset: the samples of a run, from files and recipes, memory-mapped on disk and read by index.

    dataset = open_dataset(config.data.train, run_folder / "data" / "train")
    sample = dataset[17]

Every sample is validated once while it is streamed into an Arrow table. The rows stay on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vlmrl import catalog
from vlmrl.config.data import Source
from vlmrl.data.sample_files import from_parquet_row, parquet_schema, read_samples, to_parquet_row
from vlmrl.errors import UnreadableError, UserError, nearest
from vlmrl.rewards.composite import check_spec
from vlmrl.sample import MARKS, Media, Sample, sample_from_row


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

    def media_files(self) -> Iterator[tuple[int, str]]:
        """(index of the sample, path) of each medium that is a file; bytes in the rows are not read."""
        for kind in MARKS:
            start = 0
            for chunk in self._table.data.column(kind).chunks:
                media = chunk.flatten()
                is_file = media.field("bytes").is_null()
                index = np.repeat(start + np.arange(len(chunk)), chunk.value_lengths().to_numpy(zero_copy_only=False))
                files = index[is_file.to_numpy(zero_copy_only=False)]
                yield from zip(files.tolist(), media.field("path").filter(is_file).to_pylist(), strict=True)
                start += len(chunk)

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


def check_files(data: Dataset, on_unreadable: Literal["stop", "skip"], say: Callable[[str], None]) -> None:
    """`UserError` for a file of the media that is missing.

    With `skip` it is raised only for a source of which no row is complete; of each other source one line says how many
    rows will be left out.
    """
    numbers, names = data.sources()
    missing: dict[int, UnreadableError] = {}
    errors: dict[str, UnreadableError | None] = {}
    for index, path in data.media_files():
        if path not in errors:
            errors[path] = _missing(path)
        if error := errors[path]:
            missing.setdefault(index, error.at(f"sample {data[index].id!r}"))
    if missing and on_unreadable == "stop":
        raise UserError(f"{missing[min(missing)]}, or leave such rows out: --data.on_unreadable skip")
    rows, lost = np.bincount(numbers, minlength=len(names)), np.bincount(numbers[list(missing)], minlength=len(names))
    for number in np.flatnonzero(lost):
        first = missing[min(index for index in missing if numbers[index] == number)]
        if lost[number] == rows[number]:
            raise UserError(f"source {names[number]!r}: none of its {rows[number]} rows has all its files: {first}")
        say(f"source {names[number]!r}: {lost[number]} of {rows[number]} rows lack a file and are left out: {first}")


def _missing(path: str) -> UnreadableError | None:
    try:
        Media(path=path).size()
    except UnreadableError as error:
        return error
    return None


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
