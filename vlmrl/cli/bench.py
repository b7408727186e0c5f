"""Measures speed, as ratios of things that run side by side.

vlmrl bench update --against trl                         how fast the model learns, beside TRL
vlmrl bench rollout                                      how fast it answers, beside transformers' generate
vlmrl bench verifiers                                    how many answers a second each verifier judges

docs/bench.md describes the method.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from vlmrl.cli.arguments import Parser, add_command, add_settings, add_verifiers_path, count

if TYPE_CHECKING:
    from vlmrl.bench.geometry import Geometry


def add_arguments(parser: Parser) -> None:
    subjects = parser.add_subparsers(title="subjects", required=True, metavar="SUBJECT")
    _add_update(add_command(subjects, update))
    _add_rollout(add_command(subjects, rollout))
    _add_verifiers(add_command(subjects, verifiers))
    _add_json(add_command(subjects, isolation))
    _add_planner(add_command(subjects, planner))
    _add_sampler(add_command(subjects, sampler))
    _add_curriculum(add_command(subjects, curriculum))
    _add_thresholds(add_command(subjects, thresholds))


@contextlib.contextmanager
def _own_output() -> Iterator[TextIO]:
    """Yields standard output for the figures alone: libraries log to it as they load, which goes to standard error."""
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        yield out


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


# --- side by side: update, rollout ------------------------------------------------------------------------


def _add_update(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--against",
        choices=("plain", "trl", "trl-lean"),
        default="plain",
        help="our own repeated prompts (default), TRL's fastest settings, or TRL's with the least memory",
    )
    _add_geometry(parser, completion=128)
    parser.add_argument("--mode", choices=("packed", "fork"), default="auto", help="our passes (default: as planned)")
    parser.add_argument("--memory-mb", type=count, metavar="N", help="learner.memory_mb of our side (default: unset)")
    parser.add_argument(
        "--no-memory", dest="memory", action="store_false", help="leave out the peak memory, two more processes"
    )


def update(options: argparse.Namespace) -> None:
    """Times the learner's update beside TRL's, or beside repeated prompts.

    vlmrl bench update                                     beside the same learner with repeated prompts
    vlmrl bench update --against trl --completion 32 128 --group 8 16
    vlmrl bench update --model random-3b --image 896 --completion 512 --gradient-checkpointing --json     on a GPU

    An update is forward, backward, clipping and optimizer step. Both learners start from the same weights, prompts,
    completions and advantages and take turns, A B A B. Refuses to report if losses differ.

    speedup: theirs / ours. bound: FLOPs with each prompt repeated / FLOPs with each prompt once. efficiency: their
    quotient. docs/bench.md has the formulas, and tables.
    """
    with _own_output() as out:
        from vlmrl.bench.update import Ours, bench_update

        ours = Ours(options.mode, options.memory_mb)
        bench_update(_geometries(options), options.against, options.rounds, options.memory, ours, options.json, out)


def _add_rollout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--against", choices=("generate", "trl"), default="generate", help="transformers' generate (default), or TRL"
    )
    _add_geometry(parser, completion=64)


def rollout(options: argparse.Namespace) -> None:
    """Times the hf engine beside transformers' generate, or a whole step beside TRL's.

    vlmrl bench rollout
    vlmrl bench rollout --against trl --groups 4 --json

    Model, prompts, number and length of responses are the same; the engine's responses share their prompt's cache. A
    step is rollout, reward, update and sync.
    """
    with _own_output() as out:
        from vlmrl.bench.rollout import bench_rollout

        bench_rollout(_geometries(options), options.against, options.rounds, options.json, out)


def _add_geometry(parser: argparse.ArgumentParser, completion: int) -> None:
    """Several values for a flag are measured one after the other, each with each of the other flags'."""
    several: dict[str, Any] = {"type": count, "nargs": "+", "metavar": "N"}
    parser.add_argument("--model", metavar="PATH", help="folder, hub id, random-7m (default) or random-3b")
    parser.add_argument(
        "--prompt-tokens", **several, default=[74], help="text tokens of a prompt with its template (default 74)"
    )
    parser.add_argument(
        "--image",
        type=image,
        nargs="+",
        default=[(448, 448)],
        metavar="SIZE",
        help="pixels of the prompt's image, as 448 or 640x480; none: text only (default 448: 256 tokens)",
    )
    parser.add_argument("--completion", **several, default=[completion], help=f"its tokens (default {completion})")
    parser.add_argument("--group", **several, default=[8], help="completions of a prompt, G (default 8)")
    parser.add_argument("--groups", **several, default=[1], help="prompts of an update (default 1)")
    parser.add_argument("--gradient-checkpointing", action="store_true", help="on both sides")
    parser.add_argument("--rounds", type=count, default=9, help="in which the sides take turns (default 9)")
    _add_json(parser)


def image(text: str) -> tuple[int, int] | None:
    """Width and height in pixels, or None for a prompt without an image."""
    if text == "none":
        return None
    width, by, height = text.partition("x")
    if not (width.isdecimal() and (height.isdecimal() if by else True)):
        raise argparse.ArgumentTypeError(f"expected pixels as 448 or 640x480, or none, got {text!r}")
    return count(width), count(height or width)


def _geometries(options: argparse.Namespace) -> list[Geometry]:
    from vlmrl.bench.geometry import Geometry

    axes = (options.prompt_tokens, options.image, options.completion, options.group, options.groups)
    return [Geometry(options.model, *cell, options.gradient_checkpointing) for cell in itertools.product(*axes)]


# --- verifiers, isolation, planner, sampler ---------------------------------------------------------------


def _add_verifiers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="some of the verifiers (default all)")
    add_verifiers_path(parser)
    _add_json(parser)


def verifiers(options: argparse.Namespace) -> None:
    """Counts answers per second on one core, beside the library called directly.

    vlmrl bench verifiers math ocr
    """
    from vlmrl.bench.verifiers import bench_verifiers

    bench_verifiers(options.names, options.json)


def isolation(options: argparse.Namespace) -> None:
    """Measures what hostile answers cost a batch of clean ones.

    vlmrl bench isolation --json
    """
    from vlmrl.bench.isolation import bench_isolation

    bench_isolation(options.json)


def _add_planner(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="PATH", help="folder, hub id, random-7m (default) or random-3b")
    parser.add_argument("--batches", type=count, default=200, help="random mixed batches (default 200)")
    parser.add_argument("--gradient-checkpointing", action="store_true", help="as `model.gradient_checkpointing`")
    _add_json(parser)


def planner(options: argparse.Namespace) -> None:
    """Compares memory and seconds of random batches with what the learner predicted.

    vlmrl bench planner --batches 50
    """
    with _own_output() as out:
        from vlmrl.bench.planner import bench_planner

        bench_planner(options.model, options.batches, options.gradient_checkpointing, options.json, out)


def _add_sampler(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="some of the samplers (default all)")
    parser.add_argument("--prompts", type=count, default=10_000_000, help="of the data set (default 10,000,000)")
    parser.add_argument("--draw", type=count, default=512, help="prompts of a draw (default 512)")
    _add_json(parser)


def sampler(options: argparse.Namespace) -> None:
    """Measures time and memory of the samplers at the size of a large data set.

    vlmrl bench sampler rlcs --prompts 1000000
    """
    from vlmrl.bench.sampler import bench_sampler

    bench_sampler(options.names, options.prompts, options.draw, options.json)


# --- experiments: curriculum, thresholds ------------------------------------------------------------------


def _add_experiment(parser: argparse.ArgumentParser, out: str, steps: int) -> None:
    parser.add_argument("--out", type=Path, default=Path(out), metavar="DIR", help="(default %(default)s)")
    parser.add_argument("--steps", type=count, default=steps, help="of each run (default %(default)s)")
    parser.add_argument("--seeds", type=count, default=3, help="runs of each (default 3)")
    add_settings(parser)


def _add_curriculum(parser: argparse.ArgumentParser) -> None:
    _add_experiment(parser, "runs/bench_curriculum", 300)
    parser.add_argument("--samplers", nargs="+", metavar="NAME", help="uniform among them (default all)")
    parser.add_argument("--prompts", type=count, default=4800, help="of the data set (default 4800)")


def curriculum(options: argparse.Namespace) -> None:
    """Counts the rollouts each sampler needs to learn what uniform sampling learns.

    vlmrl bench curriculum                                 six ways to sample, three seeds: hours
    vlmrl bench curriculum --steps 20 --seeds 1            a look

    Trains the tiny model on a data set of which half is solved and a quarter hopeless, and writes a table and a plot
    of what each sampler paid for. Stop it at any time: the same command continues.
    """
    from vlmrl.bench.curriculum import bench_curriculum

    bench_curriculum(options.out, options.samplers, options.steps, options.seeds, options.prompts, options.overrides)


def _add_thresholds(parser: argparse.ArgumentParser) -> None:
    _add_experiment(parser, "runs/bench_thresholds", 150)
    parser.add_argument("--arms", nargs="+", metavar="NAME", help="some of the thresholds (default all)")


def thresholds(options: argparse.Namespace) -> None:
    """Finds out which IoU threshold of a reward teaches precise boxes.

    vlmrl bench thresholds                                 seven thresholds, three seeds: an hour
    vlmrl bench thresholds --steps 20 --seeds 1 --arms "raw IoU" "matched, half"

    Trains the tiny model to locate shapes with thresholds that are fixed, scheduled or matched to the policy, and
    writes a table of how precise its boxes become. Stop it at any time: the same command continues.
    """
    from vlmrl.bench.thresholds import bench_thresholds

    bench_thresholds(options.out, options.arms, options.steps, options.seeds, options.overrides)
