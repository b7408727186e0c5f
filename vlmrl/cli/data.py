"""Builds, checks, shows, converts, grades and mixes data sets.

vlmrl data build synthetic --n 400 --out train.jsonl     make a data set
vlmrl data check train.jsonl                             prove it fit for a run
vlmrl data show train.jsonl --n 2                        look at rows
vlmrl data convert geo3k.parquet --out geo3k.jsonl       read rows of another toolkit
vlmrl data grade run.toml --out grades.parquet           measure how hard each prompt is
vlmrl data mix plan run.toml --out mix                   find weights of the data sources by pilot runs
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING

from vlmrl.cli import data_convert, data_mix
from vlmrl.cli.arguments import Parser, add_command, add_module, add_run_file, add_verifiers_path, count, seed
from vlmrl.errors import UserError, escaped, nearest

if TYPE_CHECKING:
    from rich.console import Console

    from vlmrl.sample import Media, Sample

MAX_ERRORS = 20


def add_arguments(parser: Parser) -> None:
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    _add_build(add_command(actions, build))
    _add_check(add_command(actions, check))
    _add_show(add_command(actions, show))
    add_module(actions, "convert", data_convert)
    _add_grade(add_command(actions, grade))
    add_module(actions, "mix", data_mix)


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help=".jsonl or .parquet")


def _add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, metavar="FILE", help=".jsonl or .parquet")


# --- build ------------------------------------------------------------------------------------------------


def _add_build(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="a name that `vlmrl list recipes` shows")
    _add_out(parser)
    parser.add_argument("--n", type=count, default=1000, help="samples of each source (default 1000)")
    parser.add_argument("--split", choices=("train", "heldout"), default="train", help="no sample is in both")
    parser.add_argument("--seed", type=seed, default=0, help="the same seed gives the same samples (default 0)")
    parser.add_argument("--sources", metavar="A,B", help="some of its sources (default all)")
    parser.add_argument("--difficulty", type=count, default=1, help="1 is the easiest (default)")


def build(options: argparse.Namespace) -> None:
    """Writes a recipe's samples to a file.

    vlmrl data build synthetic --n 400 --out train.jsonl
    vlmrl data build synthetic --split heldout --sources ocr,counting --out heldout.parquet
    """
    from vlmrl.data.dataset import recipe_samples
    from vlmrl.data.sample_files import write_samples

    sources = options.sources.split(",") if options.sources else None
    samples = recipe_samples(options.recipe, options.n, options.split, options.seed, sources, options.difficulty)
    print(f"{options.out}: {write_samples(options.out, samples)} samples")


# --- check ------------------------------------------------------------------------------------------------


def _add_check(parser: argparse.ArgumentParser) -> None:
    _add_file(parser)
    add_verifiers_path(parser)


def check(options: argparse.Namespace) -> int:
    """Proves a data set fit for a run.

    vlmrl data check train.jsonl

    Every row is read, its media are decoded to their end, its targets are judged, and its gold response must earn
    exactly 1; ids and contents must be unique. The exit code is 2 if a row is wrong; the first 20 are named.
    """
    from vlmrl.data import audio
    from vlmrl.data.check import Checker
    from vlmrl.data.videos import can_decode

    checker = Checker()
    errors = 0
    for error in islice(checker.errors(options.file), MAX_ERRORS):
        print(f"vlmrl: {error}", file=sys.stderr)
        errors += 1
    if errors == MAX_ERRORS:
        print(f"vlmrl: {UserError(options.file)}: stopped after {MAX_ERRORS} errors", file=sys.stderr)
        return 2
    _print_counts(checker.counts)
    if line := checker.plain_boxes.line():
        print(f"warning: {escaped(line)}")
    kinds = " ".join(checker.counts["modality"])
    if "video" in kinds and not can_decode():
        print("videos were not decoded, because av is not installed")
    if "audio" in kinds and audio.reader() is None:
        print("audio clips were not decoded, because soundfile, soxr or av is not installed")
    return 2 if errors else 0


def _print_counts(counts: Mapping[str, Counter[str]]) -> None:
    print(f"{counts['source'].total()} good rows")
    for title, counter in counts.items():
        if not counter:
            continue
        print(f"{title:<9} " + ", ".join(f"{escaped(name)} {n}" for name, n in counter.most_common()))


# --- show -------------------------------------------------------------------------------------------------


def _add_show(parser: argparse.ArgumentParser) -> None:
    _add_file(parser)
    parser.add_argument("--n", type=count, default=3, help="how many (default 3)")
    parser.add_argument("--source", help="samples of this source only")


def show(options: argparse.Namespace) -> None:
    """Prints samples: their messages, media and rewards.

    vlmrl data show train.jsonl --n 2 --source ocr
    """
    from rich.console import Console

    from vlmrl.data.sample_files import read_samples

    console = Console()
    sources: set[str] = set()
    shown = 0
    for sample in read_samples(options.file):
        sources.add(sample.source)
        if options.source and options.source != sample.source:
            continue
        _show_sample(console, sample)
        shown += 1
        if shown == options.n:
            return
    if not sources:
        raise UserError(f"{options.file}: holds no rows")
    if shown == 0 and options.source is not None:
        raise UserError(f"--source: {options.file} has no source {options.source!r}{nearest(options.source, sources)}")


def _show_sample(console: Console, sample: Sample) -> None:
    import json

    from rich.panel import Panel
    from rich.text import Text

    from vlmrl.sample import MARKS

    text = Text()
    for message in sample.messages:
        text.append(f"{message.role}  ", "bold").append(escaped(f"{message.content}\n", keep="\n\t"))
    for kind in MARKS:
        for media in getattr(sample.media, kind):
            text.append(f"{kind.removesuffix('s')}  ", "bold").append(f"{escaped(_describe(kind, media))}\n")
    for spec in sample.reward:
        params = f" {escaped(json.dumps(spec.params, ensure_ascii=False))}" if spec.params else ""
        weight = f" (weight {spec.weight:g})" if spec.weight != 1.0 else ""
        text.append(f"{spec.verifier}  ", "bold green")
        text.append(f"{escaped(json.dumps(spec.target, ensure_ascii=False))}{params}{weight}\n")
    text.rstrip()
    heading = Text(escaped(f"{sample.id}   {sample.source}   {sample.task}".rstrip()))
    console.print(Panel(text, title=heading, title_align="left"))


def _describe(kind: str, media: Media) -> str:
    from vlmrl.data import audio
    from vlmrl.data.media import image_size

    if kind == "audios" and audio.reader():
        return f"{media.name}  {audio.audio_seconds(media):.2f} s"
    if kind != "images":
        return media.name
    width, height = image_size(media)
    return f"{media.name}  {width} x {height} pixels"


# --- grade ---------------------------------------------------------------------------------------


def _add_grade(parser: argparse.ArgumentParser) -> None:
    add_run_file(parser, "the run whose model and data.train are meant")
    parser.add_argument("--out", required=True, metavar="FILE", help=".parquet; for sampler.history")


def grade(options: argparse.Namespace) -> None:
    """Measures how hard each training prompt of a run is for its model.

    vlmrl data grade run.toml --out grades.parquet --rollout.group 16
    vlmrl train run.toml --sampler.name rlcs --sampler.history '["grades.parquet"]'

    If it is stopped, the same command continues.
    """
    from vlmrl.config.run_file import load_run

    if not options.out.endswith(".parquet"):
        raise UserError(f"--out {options.out}: grades are written as parquet; let the name end in .parquet")
    load_run(options.files, options.overrides)  # a mistake in it is reported before torch is loaded

    from vlmrl.evaluate.grade import grade as grade_prompts

    print(f"{options.out}: {grade_prompts(options.files, options.overrides, options.out)} prompts")
