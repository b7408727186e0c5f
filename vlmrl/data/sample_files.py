"""Files of samples, JSONL or parquet by their suffix, read and written as streams.

    for sample in read_samples("train.jsonl"): ...      validated one by one
    write_samples("train.parquet", samples)             atomic: a temporary file, then a rename

JSONL holds the rows of `vlmrl.sample`. Parquet has the same columns, with media as structs of bytes and path (those of
videos have also frames, fps, start and end), and with `target`, `params`, `boxes` and `meta` as JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmrl.errors import UserError
from vlmrl.files import BATCH_ROWS, json_line, read_rows, whole_file
from vlmrl.sample import MARKS, Media, Sample, row_from_sample, sample_from_row, with_media

if TYPE_CHECKING:
    import pyarrow as pa


def read_samples(path: str | Path) -> Iterator[Sample]:
    """Streams validated samples from .jsonl or .parquet."""
    for where, row in read_rows(path):
        yield parse_row(row, where, path)


def parse_row(row: Any, where: str, path: str | Path) -> Sample:
    """The sample of a row from `read_rows(path)`; `UserError` as in `sample_from_row`."""
    path = Path(path)
    if path.suffix == ".parquet":
        row = from_parquet_row(row, where)
    return sample_from_row(row, where, path.resolve().parent)


def write_samples(path: str | Path, samples: Iterable[Sample]) -> int:
    """Streams samples to .jsonl or .parquet (by the suffix), whole or not at all; returns the number of rows.

    Paths of media inside the folder of `path` are written relative to it, so that the folder can be moved.
    """
    path = Path(path)
    if path.suffix not in (".jsonl", ".parquet"):
        raise UserError(f"{path}: unknown kind of file {path.suffix!r}; use .jsonl or .parquet")
    write = _write_jsonl if path.suffix == ".jsonl" else _write_parquet
    root = path.resolve().parent
    with whole_file(path) as partial:
        return write(partial, (_portable(sample, root) for sample in samples))


def _portable(sample: Sample, root: Path) -> Sample:
    def relative(media: Media) -> Media:
        if media.path is None or media.data is not None or not Path(media.path).is_relative_to(root):
            return media
        return media.model_copy(update={"path": str(Path(media.path).relative_to(root))})

    return with_media(sample, relative)


def _write_jsonl(path: Path, samples: Iterable[Sample]) -> int:
    count = 0
    with path.open("wb") as file:
        for sample in samples:
            file.write(json_line(row_from_sample(sample)))
            count += 1
    return count


def parquet_schema() -> pa.Schema:
    """The columns of a parquet data set; media are structs of bytes and path, as in `datasets`."""
    import pyarrow as pa

    file = [("bytes", pa.binary()), ("path", pa.string())]
    extent = [(name, pa.float64()) for name in ("fps", "start", "end")]
    video = pa.struct([*file, ("frames", pa.list_(pa.struct(file))), *extent])
    media = {kind: pa.list_(video if kind == "videos" else pa.struct(file)) for kind in MARKS}
    spec = [
        ("verifier", pa.string()),
        ("target", pa.string()),
        ("weight", pa.float64()),
        ("params", pa.string()),
        ("combine", pa.string()),
    ]
    return pa.schema(
        [
            ("id", pa.string()),
            ("source", pa.string()),
            ("task", pa.string()),
            ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
            *media.items(),
            ("reward", pa.list_(pa.struct(spec))),
            ("boxes", pa.string()),
            ("meta", pa.string()),
        ]
    )


def _write_parquet(path: Path, samples: Iterable[Sample]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    count, rows, schema = 0, [], parquet_schema()
    with pq.ParquetWriter(path, schema) as writer:
        for sample in samples:
            rows.append(to_parquet_row(sample))
            count += 1
            if len(rows) == BATCH_ROWS:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, schema))
    return count


def to_parquet_row(sample: Sample) -> dict[str, Any]:
    """The parquet row of a sample; `UserError` for text that parquet cannot hold."""
    row = sample.model_dump(exclude={"media", "reward", "boxes", "meta"})
    for kind in MARKS:
        row[kind] = [_to_struct(m) for m in getattr(sample.media, kind)]
    row["reward"] = [
        {**spec.model_dump(), "target": json.dumps(spec.target), "params": json.dumps(spec.params)}
        for spec in sample.reward
    ]
    row["boxes"] = json.dumps([box.model_dump(exclude_none=True) for box in sample.boxes])
    row["meta"] = json.dumps(sample.meta)
    try:
        json.dumps({name: value for name, value in row.items() if name not in MARKS}, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        surrogate = ascii(error.object[error.start])
        raise UserError(f"sample {sample.id!a}: holds half a character ({surrogate}); fix its text") from None
    return row


def _to_struct(media: Media) -> dict[str, Any]:
    extent = {"fps": media.fps, "start": media.start, "end": media.end}
    return {"bytes": media.data, "path": media.path, "frames": [_to_struct(f) for f in media.frames], **extent}


def _from_struct(struct: dict[str, Any]) -> dict[str, Any]:
    media = dict(struct)  # files of others have bytes and path alone, as all images do
    media["frames"] = [_from_struct(frame) for frame in media.get("frames") or []]
    return {"data": media.pop("bytes"), **media}


def from_parquet_row(row: dict[str, Any], where: str) -> dict[str, Any]:
    """The JSONL form of a parquet row; `UserError` names `where` if it is not one of `to_parquet_row`."""
    try:
        row = dict(row)
        row["media"] = {kind: [_from_struct(m) for m in row.pop(kind, None) or []] for kind in MARKS}
        row["reward"] = [
            {**spec, "target": json.loads(spec["target"]), "params": json.loads(spec["params"])}
            for spec in row["reward"]
        ]
        row["boxes"] = json.loads(row.get("boxes") or "[]")
        row["meta"] = json.loads(row["meta"])
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise UserError(
            f"{where}: not a row of samples ({type(error).__name__}: {error}); "
            "write it with `vlmrl data build` or `vlmrl data convert`"
        ) from None
    return row
