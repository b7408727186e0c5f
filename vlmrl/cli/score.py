"""Scores answers you already have.

vlmrl score rows.jsonl --out scored.jsonl                a file of any size
vlmrl score rows.jsonl --verifiers-path my_verifiers     with verifiers of your own
vlmrl score - < rows.jsonl                               from standard input to standard output
vlmrl score runs/x/rollouts/step_000010.parquet          the answers of a run, judged again
vlmrl score answers.jsonl --model Qwen/Qwen3-VL-4B-Instruct      rows of a data set, each with a response

A row is {id, verifier, response, target, params?}, or a row of a data set with a response to it. It comes back with
score (null: unscored), status, answer, parts and why. Rows with places state the coordinates of the answers in
params (answer_coords, answer_size), or --model says who wrote them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vlmrl.cli.arguments import add_isolation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE.jsonl", help="the rows, .jsonl or .parquet; - is standard input")
    parser.add_argument("--out", default="-", metavar="FILE", help="where to write JSONL; - is standard output")
    parser.add_argument(
        "--model", metavar="PATH", help="the model that wrote the answers: places are read in its coordinates"
    )
    parser.add_argument("--max-pixels", type=int, metavar="N", help="the largest image that it was shown, in pixels")
    add_isolation(parser)


def run(options: argparse.Namespace) -> None:
    from vlmrl.data.frames import answered
    from vlmrl.monitor.records import verify_file
    from vlmrl.rewards.call_rows import score_file
    from vlmrl.rewards.workers import Workers

    if options.file != "-":
        verify_file(Path(options.file))
    frames = answered
    if options.model:
        from vlmrl.models.policy import answer_frames

        frames = answer_frames(options.model, options.max_pixels)
    with Workers(options.workers, options.deadline, options.memory_mb) as workers:
        score_file(options.file, options.out, workers, frames)
