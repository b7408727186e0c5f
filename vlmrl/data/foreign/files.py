"""Files of other toolkits: streams the rows of JSONL, JSON arrays, parquet, TSV and CSV, also with .gz.

    for where, row, file in foreign_rows("data/geo3k/*.parquet"): ...    where = "data/geo3k/a.parquet row 17"
    default_source("data/geo3k/*.parquet")                               "geo3k"

A folder or a glob stands for all of its files, in the order of their names.
"""

from __future__ import annotations

import csv
import glob
import gzip
import json
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from vlmrl.errors import UserError
from vlmrl.files import check_regular, read_jsonl, read_rows

SUFFIXES = (".jsonl", ".json", ".parquet", ".tsv", ".csv")
LONGEST_REFERENCE = 64
"""In VLMEvalKit's tables an image of so few characters is the index of the row that has the image."""

Foreign = tuple[str, Any, Path]
"""Where the row is (file and number, for messages), the row, and its file."""


def foreign_rows(path: str) -> Iterator[Foreign]:
    """Streams the rows of a file, a folder or a glob; `UserError` names the file that cannot be read."""
    for file in shards(path):
        kind = _suffix(file)
        if kind == ".parquet":
            yield from ((where, row, file) for where, row in read_rows(file))
            continue
        try:
            rows = _table(file) if kind in (".tsv", ".csv") else _json(file)
            yield from ((where, row, file) for where, row in rows)
        except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{file}: cannot be read ({reason!s:.200})") from None


def shards(path: str) -> list[Path]:
    """The files that a path stands for; `UserError` if there are none, or if a folder has several kinds."""
    whole = Path(path)
    if not whole.exists() and glob.has_magic(path):
        files = [Path(name) for name in sorted(glob.glob(path, recursive=True)) if Path(name).is_file()]
        if not files:
            raise UserError(f"{path}: matches no file")
        for file in files:
            _suffix(file)
        return files
    if not whole.is_dir():
        try:
            check_regular(whole)
        except OSError as error:
            reason = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
            raise UserError(f"{path}: {reason}") from None
        _suffix(whole)
        return [whole]
    files = sorted(
        file for file in whole.rglob("*") if file.is_file() and _kind(file) in SUFFIXES and not _hidden(file, whole)
    )
    kinds = sorted({_kind(file) for file in files})
    if len(kinds) != 1:
        held = f"holds files of several kinds ({', '.join(kinds)})" if kinds else "holds no file of rows"
        raise UserError(f"{path}: {held}; name the files, as in '{path}/*.parquet'")
    return files


def default_source(path: str) -> str:
    """The source of rows that name none: the name of the file without its suffixes, or that of the folder."""
    whole = Path(path)
    if whole.is_dir():
        return whole.resolve().name
    if not whole.exists() and glob.has_magic(path):
        return shards(path)[0].resolve().parent.name
    return stem(whole)


def stem(file: Path) -> str:
    """The name of a file without `.jsonl`, `.tsv.gz` and the like."""
    return file.name.removesuffix(".gz").removesuffix(_kind(file))


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


def _kind(file: Path) -> str:
    return Path(file.name.removesuffix(".gz")).suffix.lower()


def _suffix(file: Path) -> str:
    kind = _kind(file)
    if kind not in SUFFIXES or (kind == ".parquet" and file.suffix == ".gz"):
        raise UserError(
            f"{file}: unknown kind of file {kind!r}; use one of {', '.join(SUFFIXES)} (.gz but for parquet)"
        )
    return kind


# --- one file ---------------------------------------------------------------------------------------------


def _opened(file: Path) -> IO[bytes]:
    return gzip.open(file) if file.suffix == ".gz" else file.open("rb")  # pyright: ignore[reportReturnType]


def _json(file: Path) -> Iterator[tuple[str, Any]]:
    """The rows of JSONL, or of one JSON array, which is read whole."""
    with _opened(file) as stream:
        if _kind(file) == ".jsonl":
            yield from read_jsonl(stream, str(file))
            return
        text = stream.read()
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        if text.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
            raise UserError(f"{file}: not valid JSON ({error}); fix the file") from None
        # Many a .json holds lines.
        yield from read_jsonl(text.splitlines(), str(file))
        return
    rows = whole if isinstance(whole, list) else [whole]
    yield from ((f"{file} row {number}", row) for number, row in enumerate(rows, 1))


def _table(file: Path) -> Iterator[tuple[str, Any]]:
    """The rows of a table whose first line names the columns; empty cells are null."""
    # The first pass keeps only references, the second the few images that rows refer to.
    shown = (row.get("image") or "" for _, row in _cells(file) if "index" in row)
    wanted = {image for image in shown if len(image) <= LONGEST_REFERENCE}
    images: dict[str, str] = {}
    for where, row in _cells(file):
        image = row.get("image") or ""
        if "index" in row and len(image) > LONGEST_REFERENCE and row["index"] in wanted:
            images[row["index"]] = image
        yield where, row | ({"image": images[image]} if image in images else {})


def _cells(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    csv.field_size_limit(sys.maxsize)  # a cell may hold an image in base64
    number = 0
    with _opened(file) as stream:
        lines = (line.decode("utf-8-sig" if number == 0 else "utf-8") for number, line in enumerate(stream))
        try:
            table = csv.DictReader(lines, delimiter="\t" if _kind(file) == ".tsv" else ",")
            names = table.fieldnames or []
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise UserError(f"{file}: two columns have the name {twice!r:.60}; rename one")
            for number, row in enumerate(table, 1):
                where = f"{file} row {number}"
                if None in row or None in row.values():
                    raise UserError(f"{where}: has another number of cells than the first line has names; fix the row")
                yield where, {name: cell or None for name, cell in row.items()}
        except csv.Error as error:
            raise UserError(f"{file}: not a readable table after row {number} ({error})") from None
