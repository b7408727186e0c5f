"""Trains a model as a run file says.

vlmrl train quickstart                                   the built-in tiny model, on a laptop
vlmrl train run.toml fast.toml --rollout.engine vllm     a run file, an overlay, one value changed
vlmrl train run.toml --dry-run                           checks settings, data and prompt lengths
vlmrl train run.toml --resume                            continues a run that was stopped

The run folder, runs/<name>/, holds metrics, every response with its verdict, checkpoints, the model and a report.
"""

from __future__ import annotations

import argparse
import sys

from vlmrl.cli.arguments import add_run_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_file(parser, "a run file or the name of a shipped run, then overlays")
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint of the run folder")
    parser.add_argument(
        "--changed-data",
        choices=("keep", "reload"),
        help="with --resume, if data or media files have changed: keep the run's copy of the rows, or reload them",
    )
    parser.add_argument("--dry-run", action="store_true", help="check settings, data and prompt lengths; train nothing")


def run(options: argparse.Namespace) -> int:
    from vlmrl.config.run_file import load_run
    from vlmrl.train.interrupts import stop_signals

    load_run(options.files, options.overrides)  # a mistake in it is reported before torch is loaded

    try:
        with stop_signals():
            from vlmrl.train import trainer
    except KeyboardInterrupt:
        print("vlmrl: stopped before the run was opened", file=sys.stderr)
        return 130
    return trainer.main(options.files, options.overrides, options.resume, options.dry_run, options.changed_data)
