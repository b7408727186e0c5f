"""Turns rows of other toolkits into samples.

vlmrl data convert geometry3k.parquet --out geometry3k.jsonl
vlmrl data convert 'coco/*.jsonl' --coords xywh --verifier dynamic_iou --image-root images --out coco.parquet
vlmrl data convert quiz.tsv --map problem=query --map answer=label --params choices=options --out quiz.jsonl

INPUT is .jsonl, .json, .parquet, .tsv or .csv (also .gz, but for parquet), a folder, or a glob in quotes. What the rows
were taken for is printed: their schemas, verifiers, coordinates and media.
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING, Any

from vlmrl.cli.arguments import Parser, add_verifiers_path
from vlmrl.errors import UserError, escaped

if TYPE_CHECKING:
    from vlmrl.data.foreign.wanted import Wanted

SCHEMAS = (
    "v_triune, verl, vicrit, video_r1, vlmevalkit, mmmu, vlm_r1, llava, openai, ms_swift, easyr1, visual_rft, trl, vqa"
)
"""Their names, which the help shows without loading them."""
PAIRS = {
    "map": (
        "FIELD=COLUMN",
        "the column of problem, answer, images, videos, options, caption, context, id, source, task",
    ),
    "params": ("PARAM=COLUMN", "a param of the verifier from a column, or a value in JSON"),
    "replace": ("OLD=NEW", "in prompts, such as '<img>=<image>'"),
}


def add_arguments(parser: Parser) -> None:
    parser.add_argument("file", metavar="INPUT", help="a file, a folder or a glob")
    parser.add_argument("--out", required=True, metavar="FILE", help=".jsonl or .parquet")
    parser.add_argument(
        "--from", metavar="NAME", help=f"the toolkit that wrote the rows: {SCHEMAS} (default auto: by their columns)"
    )
    parser.add_argument("--verifier", help="judges all rows (default: as the schema or the answer says)")
    parser.add_argument("--source", help="the source of all rows (default: that of the row, or the name of the file)")
    parser.add_argument("--image-root", metavar="DIR", help="the folder of media paths (default: that of the file)")
    parser.add_argument(
        "--coords", help="of boxes: pixels, relative_1000, relative_100 or relative_1; xywh; or both: a,b"
    )
    for name, (form, about) in PAIRS.items():
        parser.add_argument(f"--{name}", action="append", metavar=form, help=f"{about}; may be repeated")
    parser.add_argument("--drop", action="append", metavar="COLUMN", help="leaves out a column; may be repeated")
    parser.add_argument("--map-file", metavar="TOML", help="has these settings; tables: map, params, replace")
    parser.add_argument(
        "--text-only", action="store_true", default=None, help="prompts may speak of pictures that the rows do not have"
    )
    add_verifiers_path(parser)


def run(options: argparse.Namespace) -> None:
    from vlmrl.data.convert import convert_file
    from vlmrl.data.foreign.wanted import AUTO
    from vlmrl.data.sample_files import write_samples

    said = _said(options)
    counts = {name: Counter[str]() for name in ("schema", "verifier", "coords", "modality")}
    rows = convert_file(options.file, said.get("from", AUTO), said.get("verifier"), _wanted(said), counts)
    print(f"{options.out}: {write_samples(options.out, rows)} samples")
    for title, counter in counts.items():
        if counter:
            print(f"{title:<9} " + ", ".join(f"{escaped(name)} {n}" for name, n in counter.most_common()))
    if counts["coords"]["pixels"] and not said.get("coords"):
        print("pixels are those of the image file; --coords says so if the boxes have other coordinates")


def _said(options: argparse.Namespace) -> dict[str, Any]:
    """The settings of the file, and over them those of the flags."""
    from vlmrl.data.foreign.wanted import read_map_file

    said = read_map_file(options.map_file) if options.map_file else {}
    for name, value in vars(options).items():
        if name in PAIRS and value:
            said[name] = said.get(name, {}) | _pairs(name, value)
        elif name in ("from", "verifier", "source", "image_root", "coords", "drop", "text_only") and value is not None:
            said[name] = value
    return said


def _pairs(name: str, texts: list[str]) -> dict[str, str]:
    split = [text.partition("=") for text in texts]
    for text, (key, equals, _) in zip(texts, split, strict=True):
        if not key or not equals:
            raise UserError(f"--{name} {text!r:.60}: expected {PAIRS[name][0]}")
    return {key: value for key, _, value in split}


def _wanted(said: dict[str, Any]) -> Wanted:
    from vlmrl.data.foreign.row import from_json
    from vlmrl.data.foreign.wanted import Wanted

    given = said.get("params", {})
    params = {name: from_json(value) for name, value in given.items()}
    columns = {name: value for name, value in params.items() if isinstance(value, str) and value == given[name]}
    return Wanted(
        source=said.get("source"),
        image_root=said.get("image_root"),
        coords=said.get("coords"),
        mapping=said.get("map", {}),
        params=columns,
        constants={name: value for name, value in params.items() if name not in columns},
        drop=tuple(said.get("drop", ())),
        replace=said.get("replace", {}),
        text_only=bool(said.get("text_only")),
    )
