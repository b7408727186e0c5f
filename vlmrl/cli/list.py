"""Lists verifiers, recipes, engines and other content by kind.

vlmrl list verifiers                                     names and what they are
vlmrl list families                                      also modalities, coordinates of boxes, times of videos, update

A folder is its registry: a new file in it is found by its name. In a pipe, the output is tab-separated.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import vlmrl
from vlmrl import catalog
from vlmrl.cli.output import print_rows

FAMILY_HEADS = ("modalities", "boxes", "video times", "update")
"""What is listed of a model family besides its name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=catalog.FOLDERS, metavar="KIND", help=", ".join(catalog.FOLDERS))


def run(options: argparse.Namespace) -> None:
    heads: tuple[str, ...] = FAMILY_HEADS if options.kind == "families" else ()
    rows = [
        (name, *(_family(name) if heads else ()), catalog.summary(options.kind, name))
        for name in catalog.names(options.kind)
    ]
    print_rows((catalog.singular(options.kind), *heads, "what it is"), rows)
    if sys.stdout.isatty():
        print(f"\nadd one: {place(options.kind)}, see CONTRIBUTING.md")


def _family(name: str) -> tuple[str, ...]:
    """Its cells under `FAMILY_HEADS`."""
    family = catalog.load("families", name).FAMILY
    return ", ".join(family.modalities), family.coords, family.times, "forked" if family.recurrent else "packed"


def place(kind: str) -> str:
    """Where a new file of that kind belongs, from the root of the checkout."""
    folder = catalog.folder(kind).relative_to(Path(vlmrl.__file__).parents[1])
    return f"{folder}/<name>{'.toml' if kind == 'benchmarks' else '.py'}"
