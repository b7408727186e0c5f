"""Lists the settings of a run file: name, type, default, meaning.

vlmrl settings                                           every setting of a run file
vlmrl settings rollout.vllm                              one section

Each of them can be written in the run file or given to `vlmrl train` as a flag, --section.field VALUE.
In a pipe, the output is tab-separated.
"""

from __future__ import annotations

import argparse

from vlmrl.cli.output import print_rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("section", nargs="?", metavar="SECTION", help="a section or setting, as learner (default all)")


def run(options: argparse.Namespace) -> None:
    from vlmrl.config import listing

    rows = [(row.name, row.type, row.default, row.description) for row in listing.settings(options.section)]
    print_rows(("setting", "type", "default", "meaning"), rows)
