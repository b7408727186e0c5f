"""Finds weights of the data sources by pilot runs.

vlmrl data mix plan run.toml --out mix --run.steps 50    ten pilots for three sources
vlmrl data mix run mix                                   trains them one after another; the same command continues
vlmrl data mix fit mix                                   mix/report.md, and mix/weights.toml if it can be trusted
vlmrl train run.toml mix/weights.toml

Pilots are short runs that differ in nothing but the weights; from their held-out scores a quadratic predicts those of
all other weights (MoDoMoDo). docs/mixtures.md explains the report.
"""

from __future__ import annotations

import argparse

from vlmrl.cli.arguments import Parser, add_command, add_run_file, count


def add_arguments(parser: Parser) -> None:
    parts = parser.add_subparsers(title="parts", required=True, metavar="PART")
    _add_plan(add_command(parts, plan))
    add_command(parts, run).add_argument("folder", metavar="DIR", help="the folder that `plan` wrote")
    _add_fit(add_command(parts, fit))


def _add_plan(parser: argparse.ArgumentParser) -> None:
    add_run_file(parser, "the run whose sources are to be mixed")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for run files and runs")
    parser.add_argument(
        "--pilots",
        type=count,
        metavar="N",
        help="different mixtures; M sources need M (M + 1) / 2 + 1 (default: and M more)",
    )
    parser.add_argument("--seeds", type=count, default=1, metavar="N", help="runs of each mixture (default 1)")
    parser.add_argument(
        "--bounds",
        type=bounds,
        nargs="+",
        default=[],
        metavar="SOURCE=LOW:HIGH",
        help="bounds of a source's weight, as counting=0.1:0.5 (default 0:1)",
    )


def plan(options: argparse.Namespace) -> None:
    """Writes the run files of the pilots.

    vlmrl data mix plan run.toml --out mix --run.steps 50 --bounds counting=0.1:0.5
    """
    from vlmrl.curriculum.mixture import pilots

    number = pilots.plan(
        options.files, options.overrides, options.out, options.pilots, options.seeds, dict(options.bounds)
    )
    print(f"{options.out}: {number} pilots; train them with `vlmrl data mix run {options.out}`")


def run(options: argparse.Namespace) -> int:
    """Trains the pilots that are not done, one after another.

    vlmrl data mix run mix
    """
    from vlmrl.curriculum.mixture import pilots

    return pilots.run(options.folder)


def _add_fit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="a folder whose pilots are done")
    parser.add_argument(
        "--objective",
        type=weight,
        nargs="+",
        default=[],
        metavar="SOURCE=WEIGHT",
        help="weights of held-out sources in the score, as ocr=2; those not named: 0 (default: all alike)",
    )
    parser.add_argument(
        "--min-r2",
        type=float,
        default=0.5,
        metavar="R2",
        help="refuse if mixtures left out are predicted worse (default 0.5)",
    )


def fit(options: argparse.Namespace) -> None:
    """Predicts the score of all mixtures and writes the best one.

    vlmrl data mix fit mix --objective ocr=2 counting=1
    """
    from vlmrl.curriculum.mixture.report import fit_pilots

    print(fit_pilots(options.folder, dict(options.objective), options.min_r2))


# --- types ------------------------------------------------------------------------------------------------


def bounds(text: str) -> tuple[str, tuple[float, float]]:
    """SOURCE=LOW:HIGH."""
    source, _, values = text.rpartition("=")
    try:
        low, high = map(float, values.split(":"))
    except ValueError:
        low, high = 1.0, 0.0
    if not (source and 0 <= low <= high <= 1):
        raise argparse.ArgumentTypeError(f"expected SOURCE=LOW:HIGH within 0 and 1, got {text!r}")
    return source, (low, high)


def weight(text: str) -> tuple[str, float]:
    """SOURCE=WEIGHT."""
    source, _, value = text.rpartition("=")
    try:
        weight = float(value)
    except ValueError:
        weight = 0.0
    if not (source and 0 < weight < float("inf")):
        raise argparse.ArgumentTypeError(f"expected SOURCE=WEIGHT with a weight above 0, got {text!r}")
    return source, weight
