"""Arguments of the command `vlmrl`: what each command takes, and how `--section.field VALUE` is told from it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any, NoReturn

import vlmrl
from vlmrl import catalog
from vlmrl.cli.argument_types import add_verifiers_path, bounds, count, seconds, seed, weight
from vlmrl.cli.bench_arguments import add_bench
from vlmrl.errors import UserError

EXAMPLES = """\
examples:
  vlmrl train quickstart                                   train the built-in tiny model, on a laptop
  vlmrl train run.toml fast.toml --rollout.engine vllm     a run file, an overlay, one value changed
  vlmrl report runs/quickstart                             one HTML page of curves and samples
  vlmrl score rows.jsonl --out scored.jsonl                judge answers you already have
  vlmrl score rows.jsonl --verifiers-path my_verifiers     with verifiers of your own
  vlmrl data build synthetic --n 400 --out train.jsonl     make a data set
  vlmrl data check train.jsonl                             prove it fit for a run
  vlmrl data show train.jsonl --n 2                        look at rows
  vlmrl data convert geo3k.parquet --from easyr1 --out geo3k.jsonl
  vlmrl data mix plan run.toml --out mix                   find weights of the data sources by pilot runs
  vlmrl check my_verifier.py                               is it right, fast, and hard to trick
  vlmrl serve --port 8765                                  judge answers over HTTP
  vlmrl bench verifiers                                    how fast each of them judges
  vlmrl bench update --against trl                         how fast the model learns, beside TRL
  vlmrl list verifiers                                     what there is, by kind
  vlmrl doctor                                             what would run on this machine

`vlmrl COMMAND --help` tells more about one command.
"""


MIX = """\
Finds weights of the data sources: short runs, the pilots, differ in nothing but the weights; from their held-out
scores a quadratic predicts those of all other weights (MoDoMoDo). docs/mixtures.md tells how to read its report.

  vlmrl data mix plan run.toml --out mix --run.steps 50       ten pilots for three sources
  vlmrl data mix run mix                                      trains them one after another; the same command goes on
  vlmrl data mix fit mix                                      mix/report.md, and mix/weights.toml if it can be trusted
  vlmrl train run.toml mix/weights.toml
"""
SCHEMAS = ("v_triune", "easyr1", "trl", "verl")


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors and without guessing at abbreviated options."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"vlmrl: {message}; see `{self.prog} --help`\n")


OWN_FLAGS = ("--resume", "--dry-run", "--help", "--out", "--pilots", "--seeds", "--bounds")
"""Of the commands that also take settings."""


def split_overrides(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits `--section.field VALUE` pairs from the arguments that argparse knows; the order is kept."""
    own: list[str] = []
    overrides: list[str] = []
    verifiers: list[str] = []
    rest = iter(arguments)
    for token in rest:
        if not token.startswith("--") or token.partition("=")[0] in OWN_FLAGS:
            own.append(token)
            continue
        flag, equals, given = token.partition("=")
        value = given if equals else next(rest, None)
        if value is None:
            raise UserError(f"{token}: has no value; write {token} VALUE")
        if flag == "--verifiers-path":
            verifiers.append(value)
        else:
            overrides += [token] if equals else [token, value]
    if verifiers:
        overrides += ["--reward.verifiers_path", json.dumps(verifiers, ensure_ascii=False)]
    return own, overrides


def build_parser() -> argparse.ArgumentParser:
    """All commands and their arguments."""
    parser = Parser(prog="vlmrl", description=(vlmrl.__doc__ or "").partition("\n")[0], epilog=EXAMPLES)
    parser.add_argument("--version", action="version", version=f"vlmrl {vlmrl.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a model as a run file says")
    train.usage = "vlmrl train RUN.toml [OVERLAY.toml ...] [--section.field VALUE ...] [--resume] [--dry-run]"
    train.usage += " [--verifiers-path PATH]"
    train.add_argument("files", nargs="+", metavar="RUN.toml", help="a run file or shipped run, then overlays")
    train.add_argument("--resume", action="store_true", help="go on where the run folder's checkpoint stands")
    train.add_argument("--dry-run", action="store_true", help="check settings, data and prompt lengths; train nothing")

    score = commands.add_parser("score", help="judge rows {id, verifier, response, target, params?}")
    score.add_argument("file", metavar="FILE.jsonl", help="the rows; - is standard input")
    score.add_argument("--out", default="-", metavar="FILE", help="where to write; - is standard output")
    _add_isolation(score)

    check = commands.add_parser("check", help="contract, hack probes and timing of one verifier")
    check.add_argument(
        "verifier", metavar="VERIFIER|FILE.py", help="its name, or your own file, or my_rewards.py:FUNCTION"
    )

    _add_serve(commands.add_parser("serve", help="judge answers over HTTP"))
    _add_data(commands.add_parser("data", help="build, check, show or convert a data set"))

    report = commands.add_parser("report", help="write a run's report page")
    report.add_argument("run_dir", metavar="RUN_DIR", help="as `runs/quickstart`")

    add_bench(commands.add_parser("bench", help="measure speed, as ratios side by side"))

    listing = commands.add_parser("list", help="list verifiers, recipes, engines, ...")
    listing.add_argument("kind", choices=catalog.FOLDERS, metavar="KIND", help=", ".join(catalog.FOLDERS))

    commands.add_parser("doctor", help="what is installed, what would run here, what is missing")
    return parser


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.description = "Judges answers over HTTP; docs/service.md says how to ask. Stops on SIGTERM and Ctrl-C."
    parser.add_argument(
        "--host", default="127.0.0.1", help="any but this machine's own needs VLMRL_SERVICE_TOKEN (default 127.0.0.1)"
    )
    parser.add_argument("--port", type=int, default=8765, help="0 takes a free one (default 8765)")
    _add_isolation(parser)
    parser.add_argument("--body-mb", type=count, default=16, metavar="MB", help="of one request (default 16)")
    parser.add_argument("--rows", type=count, default=1024, metavar="N", help="of one request (default 1024)")
    parser.add_argument(
        "--rows-in-flight", type=count, default=8192, metavar="N", help="of all requests (default 8192)"
    )
    parser.add_argument(
        "--grace", type=count, default=60, metavar="S", help="for requests to finish when stopped (default 60)"
    )


def _add_isolation(parser: argparse.ArgumentParser) -> None:
    add_verifiers_path(parser)
    parser.add_argument("--workers", type=count, metavar="N", help="processes that judge (default: all cores but one)")
    parser.add_argument("--deadline", type=seconds, default=5.0, metavar="S", help="for one response (default 5)")
    parser.add_argument("--memory-mb", type=count, default=1024, metavar="MB", help="for one response (default 1024)")


def _add_data(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    build = actions.add_parser("build", help="write a recipe's samples to a file")
    build.add_argument("recipe", metavar="RECIPE", help="a name that `vlmrl list recipes` shows")
    build.add_argument("--out", required=True, metavar="FILE", help=".jsonl or .parquet")
    build.add_argument("--n", type=count, default=1000, help="samples of each source (default 1000)")
    build.add_argument("--split", choices=("train", "heldout"), default="train")
    build.add_argument("--seed", type=seed, default=0)
    build.add_argument("--sources", metavar="A,B", help="some of its sources (default all)")
    build.add_argument("--difficulty", type=count, default=1, help="1 is the easiest (default)")

    check = actions.add_parser("check", help="prove a data set fit for a run")
    check.add_argument("file", metavar="FILE", help=".jsonl or .parquet")
    add_verifiers_path(check)

    show = actions.add_parser("show", help="print samples")
    show.add_argument("file", metavar="FILE", help=".jsonl or .parquet")
    show.add_argument("--n", type=count, default=3, help="how many (default 3)")
    show.add_argument("--source", help="of this source only")

    convert = actions.add_parser("convert", help="turn another toolkit's rows into samples")
    convert.add_argument("file", metavar="FILE", help=".jsonl or .parquet")
    convert.add_argument("--from", dest="schema", choices=SCHEMAS, required=True, help="whose rows they are")
    convert.add_argument("--out", required=True, metavar="FILE", help=".jsonl or .parquet")
    convert.add_argument("--verifier", default="math", help="judges rows that name none (default math)")

    grade = actions.add_parser("grade", help="measure how hard each training prompt of a run is for its model")
    grade.usage = "vlmrl data grade RUN.toml [OVERLAY.toml ...] --out FILE [--section.field VALUE ...]"
    grade.add_argument("files", nargs="+", metavar="RUN.toml", help="the run whose data.train and model are meant")
    grade.add_argument("--out", required=True, metavar="FILE", help=".parquet; for sampler.history")

    _add_mix(actions.add_parser("mix", help="find weights of the data sources by pilot runs"))


def _add_mix(parser: argparse.ArgumentParser) -> None:
    parser.description = MIX
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")

    plan = parts.add_parser("plan", help="write the run files of the pilots")
    plan.usage = "vlmrl data mix plan RUN.toml [OVERLAY.toml ...] --out DIR [--pilots N] [--seeds N]\n"
    plan.usage += "                           [--bounds SOURCE=LOW:HIGH ...] [--section.field VALUE ...]"
    plan.add_argument("files", nargs="+", metavar="RUN.toml", help="the run whose sources are to be mixed")
    plan.add_argument("--out", required=True, metavar="DIR", help="for run files and runs")
    plan.add_argument(
        "--pilots",
        type=count,
        metavar="N",
        help="different mixtures; M sources need M (M + 1) / 2 + 1 (default: and M more)",
    )
    plan.add_argument("--seeds", type=count, default=1, metavar="N", help="runs of each mixture (default 1)")
    plan.add_argument(
        "--bounds",
        type=bounds,
        nargs="+",
        default=[],
        metavar="SOURCE=LOW:HIGH",
        help="of a source's weight, as counting=0.1:0.5 (default 0:1)",
    )

    run = parts.add_parser("run", help="train the pilots that are not done")
    run.add_argument("folder", metavar="DIR", help="that `plan` wrote")

    fit = parts.add_parser("fit", help="predict the score of all mixtures, and write the best one")
    fit.add_argument("folder", metavar="DIR", help="whose pilots are done")
    fit.add_argument(
        "--objective",
        type=weight,
        nargs="+",
        default=[],
        metavar="SOURCE=WEIGHT",
        help="of held-out sources in the score, as ocr=2; those not named: 0 (default: all alike)",
    )
    fit.add_argument(
        "--min-r2",
        type=float,
        default=0.5,
        metavar="R2",
        help="refuse if mixtures left out are predicted worse (default 0.5)",
    )
