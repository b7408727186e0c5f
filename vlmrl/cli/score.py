"""Scores answers you already have.

vlmrl score rows.jsonl --out scored.jsonl                a file of any size
vlmrl score rows.jsonl --verifiers-path my_verifiers     with verifiers of your own
vlmrl score - < rows.jsonl                               from standard input to standard output

A row is {id, verifier, response, target, params?}. It comes back with score (null: unscored), status, answer,
parts and why.
"""

from __future__ import annotations

import argparse

from vlmrl.cli.arguments import add_isolation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE.jsonl", help="the rows, .jsonl or .parquet; - is standard input")
    parser.add_argument("--out", default="-", metavar="FILE", help="where to write JSONL; - is standard output")
    add_isolation(parser)


def run(options: argparse.Namespace) -> None:
    from vlmrl.rewards.call_rows import score_file
    from vlmrl.rewards.workers import Workers

    with Workers(options.workers, options.deadline, options.memory_mb) as workers:
        score_file(options.file, options.out, workers)
