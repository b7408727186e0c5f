"""Converts rows of other toolkits to samples: `vlmrl data convert INPUT --out FILE`.

    for sample in convert_file("geo3k/*.parquet"): ...
    for sample in convert_file("rows.tsv", "vqa", "exact", Wanted(mapping={"problem": "query"})): ...

`vlmrl.data.foreign.schemas` lists the schemas; without one, the columns of each row say which it is. Every medium of a
row gets its mark in the prompt. Scalar columns that are not read go to `meta`; one that holds media is an error.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vlmrl import catalog
from vlmrl.data.check import modality
from vlmrl.data.foreign import marks, options, prompts
from vlmrl.data.foreign.answers import ANSWERS
from vlmrl.data.foreign.context import with_context
from vlmrl.data.foreign.files import default_source, foreign_rows, shards, stem
from vlmrl.data.foreign.media import entries
from vlmrl.data.foreign.prompts import MediaLists, Turns
from vlmrl.data.foreign.rewards import WITH_CHOICES, pick, reward_spec
from vlmrl.data.foreign.row import Row, bare, is_null, literal
from vlmrl.data.foreign.schemas import MAPPED, SCHEMAS, Schema, recognised
from vlmrl.data.foreign.task import Answer, Task
from vlmrl.data.foreign.wanted import AUTO, NOTHING, Wanted
from vlmrl.errors import UserError, nearest
from vlmrl.sample import BOX_MARK, MARKS, Sample, sample_from_row

Counts = Mapping[str, Counter[str]]
"""How many rows there are of each schema, verifier, coords and modality."""


def convert_file(
    path: str,
    schema: str = AUTO,
    verifier: str | None = None,
    wanted: Wanted = NOTHING,
    counts: Counts | None = None,
) -> Iterator[Sample]:
    """Streams the rows of a file, a folder or a glob as samples; `UserError` names file, row and field.

    `verifier` judges all rows; without one, the schema or the answer decides. `counts` receives what the rows were.
    """
    if schema not in (AUTO, *SCHEMAS):
        raise UserError(f"--from {schema!r}: unknown schema{nearest(schema, (AUTO, *SCHEMAS))}")
    if verifier is not None:
        catalog.load("verifiers", verifier)
    name, several = default_source(path), len(shards(path)) > 1
    seen: Counter[str] = Counter()
    rows: Counter[Path] = Counter()
    for where, columns, file in foreign_rows(path):
        rows[file] += 1
        if not isinstance(columns, dict):
            raise UserError(f"{where}: expected an object, got {type(columns).__name__}")
        root = Path(wanted.image_root).resolve() if wanted.image_root else file.resolve().parent
        row = _row(columns, where, root, wanted)
        taken = _schema(schema, row, wanted)
        converted = {"source": name} | _converted(row, SCHEMAS.get(taken, MAPPED), verifier, wanted)
        if converted["id"] in (None, ""):
            number = f"{stem(file)}-{rows[file]}" if several else str(rows[file])
            converted["id"] = f"{converted['source']}-{number}"
        # Other toolkits allow an id twice: a picture's id for all of its questions.
        seen[converted["id"]] += 1
        if seen[converted["id"]] > 1:
            converted["id"] += f"#{seen[converted['id']]}"
        # The user's source is not part of an id: another name leaves ids as they are.
        converted["source"] = wanted.source or converted["source"]
        sample = sample_from_row(converted, where)
        if counts is not None:
            _count(counts, taken, sample)
        yield sample
    if not rows:
        raise UserError(f"{path}: holds no rows")


def _count(counts: Counts, schema: str, sample: Sample) -> None:
    """Counts what a row was taken for."""
    counts["schema"][schema] += 1
    counts["modality"][modality(sample)] += 1
    for spec in sample.reward:
        counts["verifier"][spec.verifier] += 1
        if "coords" in spec.params:
            counts["coords"][str(spec.params["coords"])] += 1


def _row(columns: dict[str, Any], where: str, root: Path, wanted: Wanted) -> Row:
    """The row without the columns to drop, and with those that the user names under the names of their fields."""
    given = Row(_without(columns, wanted.drop), where, root)
    mapping = dict(wanted.mapping)
    if "choices" in wanted.params:
        mapping["options"] = wanted.params["choices"]
    named: dict[str, Any] = {}
    for field, names in mapping.items():
        for name in names.split(","):
            if name not in given.columns and name.partition(".")[0] not in given.columns:
                raise UserError(f"{where}: --map {field}={names}: no column {name!r}{nearest(name, given.columns)}")
        values = [given.get(name) for name in names.split(",")]
        named[field] = values if len(values) > 1 else values[0]
    mapped = {name for names in mapping.values() for name in names.split(",")}
    if "answer" in mapping:
        mapped |= set(ANSWERS)  # a worked solution, say, is then not the answer
    rest = {name: value for name, value in given.columns.items() if name not in mapped}
    for kind in MARKS:
        if kind in named and entries(rest.get(kind)):
            raise UserError(
                f"{where}: {kind}: holds media beside --map {kind}={mapping[kind]}; read both with "
                f"--map {kind}={kind},{mapping[kind]}, or leave it out with --drop {kind}"
            )
    return Row(rest | named, where, root)


def _without(value: Any, drop: tuple[str, ...]) -> Any:
    """The columns without those to drop; `extra_info.image` is a field of a struct, or of a list of them."""
    if isinstance(value, list) and drop:
        return [_without(item, drop) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _without(inner, tuple(field.removeprefix(f"{name}.") for field in drop if field.startswith(f"{name}.")))
        for name, inner in value.items()
        if name not in drop
    }


def _schema(schema: str, row: Row, wanted: Wanted) -> str:
    """The name of the row's schema."""
    if schema != AUTO:
        return schema
    if {"messages", "reward"} <= row.columns.keys() and not wanted.mapping:
        raise UserError(f"{row.where}: has the fields of a sample already; `vlmrl data check` says whether it is good")
    name = "mapped" if wanted.mapping else recognised(row.columns)
    if name is None:
        raise UserError(
            f"{row.where}: no schema has the columns {', '.join(row.columns):.200}; give --from "
            f"{'|'.join(SCHEMAS)}, or name them with --map problem=COLUMN --map answer=COLUMN"
        )
    return name


def _converted(row: Row, schema: Schema, verifier: str | None, wanted: Wanted) -> dict[str, Any]:
    """The fields of the sample, apart from those that depend on its place in the file."""

    @functools.cache
    def turns_and_media() -> tuple[Turns, MediaLists]:
        turns, inline = prompts.chat(row, schema.prompt)
        turns = with_context(row, turns, "context" if "context" in wanted.mapping else schema.context)
        _reworded(turns, wanted.replace)
        return turns, prompts.merged(row, row.media(), inline)

    answer = schema.answer(row, lambda: turns_and_media()[0])
    turns, media = turns_and_media()
    identity, source, ability = (
        row.first(name) if (name := field if field in wanted.mapping else usual) else None
        for field, usual in (("id", schema.id), ("source", schema.source), ("task", schema.task))
    )
    texts, first = options.options_of(row) or (None, 0)
    first = 1 if texts and options.numbers(turns, texts) else first
    task = Task(row, turns, media, texts, first, str(ability or ""), wanted.coords)
    if verifier not in (None, answer.verifier):
        answer = answer._replace(verifier=verifier, params={})
    elif answer.verifier is None:
        judge, params = pick(bare(answer.value), task)
        answer = answer._replace(verifier=judge, params=params)
    answer = answer._replace(params=dict(answer.params) | _params(row, wanted))
    if answer.verifier in WITH_CHOICES and task.options and not options.shows(turns, task.options, first == 1):
        options.with_options(turns, task.options)
    media = marks.placed(turns, media, row, wanted.text_only)
    spec = reward_spec(answer, task._replace(media=media))
    if not isinstance(turns[-1]["content"], str):
        turns[-1]["content"] = json.dumps(turns[-1]["content"], default=str)
    boxes = _marked(turns, answer)
    return {
        "id": None if identity is None else str(identity),
        **({"source": str(source)} if source else {}),
        "task": task.ability,
        "messages": turns,
        "media": media,
        **({"boxes": boxes} if boxes else {}),
        "reward": [spec, *answer.others],
        "meta": row.leftover(wanted.text_only),
    }


def _marked(turns: Turns, answer: Answer) -> list[dict[str, Any]]:
    """The boxes that the texts speak of, whose numbers there become marks."""
    start = (0, 0)
    for box in answer.boxes:
        start = _mark_next(turns, str(box["bbox_2d"]), start)
    return list(answer.boxes)


def _mark_next(turns: Turns, text: str, start: tuple[int, int]) -> tuple[int, int]:
    """Replaces the next such text by the mark of a box; returns where to go on: the turn, and the place in it."""
    for number in range(start[0], len(turns)):
        content = turns[number]["content"]
        at = content.find(text, start[1] if number == start[0] else 0)
        if at >= 0:
            turns[number]["content"] = content[:at] + BOX_MARK + content[at + len(text) :]
            return number, at + len(BOX_MARK)
    raise AssertionError(f"{text} was filled in")


def _reworded(turns: Turns, replace: Mapping[str, str]) -> None:
    """Replaces what the turns say."""
    for turn in turns:
        for old, new in replace.items():
            if isinstance(turn["content"], str):
                turn["content"] = turn["content"].replace(old, new)


def _params(row: Row, wanted: Wanted) -> dict[str, Any]:
    """The params of the user for a row; a column without a value leaves its param out."""
    params = dict(wanted.constants)
    for name, column in wanted.params.items():
        if name == "choices":
            continue  # read as options, without their letters
        if column.partition(".")[0] not in row.columns:
            raise UserError(
                f"{row.where}: --params {name}={column}: no column {column!r}{nearest(column, row.columns)}"
            )
        value = row.get(column)
        if not is_null(value):
            params[name] = literal(value) if isinstance(value, str) and value[:1] in "[{" else value
    return params
