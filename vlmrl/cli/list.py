"""Lists verifiers, recipes, engines and other content by kind.

vlmrl list verifiers                                     names and what they are

A folder is its registry: a new file in it is found by its name. In a pipe, the output is tab-separated.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import vlmrl
from vlmrl import catalog
from vlmrl.cli.output import print_rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=catalog.FOLDERS, metavar="KIND", help=", ".join(catalog.FOLDERS))


def run(options: argparse.Namespace) -> None:
    rows = [(name, catalog.summary(options.kind, name)) for name in catalog.names(options.kind)]
    print_rows((catalog.singular(options.kind), "what it is"), rows)
    if sys.stdout.isatty():
        print(f"\nadd one: {place(options.kind)}, see CONTRIBUTING.md")


def place(kind: str) -> str:
    """Where a new file of that kind belongs, from the root of the checkout."""
    folder = catalog.folder(kind).relative_to(Path(vlmrl.__file__).parents[1])
    return f"{folder}/<name>{'.toml' if kind == 'benchmarks' else '.py'}"
