"""Files: reads rows of JSONL and parquet as streams and media whole, and writes a file whole or not at all.

for where, row in read_rows("train.parquet"): ...    where = "train.parquet row 17", for messages
with whole_file("scored.jsonl") as partial: ...      write to `partial`, which is renamed at the end
pq.write_table(with_checksum(table), partial)        `read_rows` then notices a damaged row
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmrl.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 256
"""Number of rows of a parquet file in memory at the same time."""
_ROWS_SUM = b"vlmrl.rows.sha256"


def read_rows(path: str | Path) -> Iterator[tuple[str, Any]]:
    """Streams `(where, row)` from a .jsonl or .parquet file; `where` names file and row for messages.

    `UserError` if the file does not exist or cannot be read, and after its last row if `with_checksum` has sealed it
    and the rows are not those.
    """
    path = Path(path)
    try:
        check_regular(path)
        if path.suffix not in (".jsonl", ".parquet"):
            raise UserError(f"{path}: unknown kind of file {path.suffix!r}; use .jsonl or .parquet")
        with path.open("rb") as file:
            yield from read_jsonl(file, str(path)) if path.suffix == ".jsonl" else _read_parquet(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


def check_regular(path: str | Path) -> int:
    """The size of a regular file in bytes. `OSError` for a folder, device, pipe or socket, which may never end.

    Call it before opening: a pipe without a writer blocks, and some devices act on being opened.
    """
    try:
        found = os.stat(path)
    except ValueError as error:  # a NUL, or half a character
        raise OSError(errno.EINVAL, f"not a path: {error}") from None
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, f"is {_KINDS.get(stat.S_IFMT(found.st_mode), 'not a regular file')}")
    return found.st_size


def read_file(path: str | Path) -> bytes:
    """The bytes of a small regular file; `UserError` if it cannot be read."""
    try:
        check_regular(path)
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


def read_jsonl(lines: Iterable[bytes], name: str) -> Iterator[tuple[str, Any]]:
    """Streams `(where, row)` from lines of JSON, without blank lines; `name` is that of the file."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{name}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}: not valid JSON ({error}); fix the line") from None
        yield where, row


def lines_until(path: Path, step: int) -> bytes:
    """The lines of a JSONL file whose `step` is at most this one, without a half-written last line; empty if there is
    no file. `UserError` for a line that has no step.
    """
    lines = path.read_bytes().splitlines(True) if path.exists() else []
    kept = b""
    for number, line in enumerate(lines, 1):
        try:
            if line.endswith(b"\n") and json.loads(line)["step"] <= step:
                kept += line
        except (ValueError, LookupError, TypeError, RecursionError):
            raise UserError(f"{path}:{number}: not a JSON object with a step; delete the line") from None
    return kept


def json_line(row: Any) -> bytes:
    """A row as a line of JSONL. A lone surrogate is written as its escape."""
    return (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def with_checksum(table: pa.Table) -> pa.Table:
    """The table with a checksum of its rows in its metadata, which `read_rows` compares.

    A parquet file has checksums of its pages, but none of its footer: a flipped bit there can rename a column, change
    its type or leave rows out. A checksum inside the file stays with it when it is copied, and is written at once.
    """
    digest = hashlib.sha256()
    for row in table.to_pylist():
        digest.update(_row_bytes(row))
    return table.replace_schema_metadata({_ROWS_SUM: digest.hexdigest().encode()})


def _row_bytes(row: dict[str, Any]) -> bytes:
    return json.dumps(row, default=repr).encode()


def _read_parquet(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number, digest = 0, hashlib.sha256()
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            expected = (file.metadata.metadata or {}).get(_ROWS_SUM)  # files of others have none
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    if expected is not None:
                        digest.update(_row_bytes(row))
                    yield f"{path} row {number}", row
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: a name that is not UTF-8
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not a readable parquet file after row {number} ({reason})") from None
    if expected not in (None, digest.hexdigest().encode()):
        raise UserError(f"{path}: is damaged (its rows do not have the checksum that the file states); put it back")


def remove(path: Path) -> None:
    """Removes a file or a folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path, which is renamed to `path` when the block ends without an exception.

    `UserError` if the disk cannot be written (full, read-only, no permission); `path` then stays unchanged.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: is not a regular file; name another one")
        partial = path.with_name(f".{path.name}.partial")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot write ({error.strerror or error}); nothing was changed") from None
