"""Arguments of `vlmrl bench`."""

from __future__ import annotations

import argparse
import functools
from typing import Any

from vlmrl.cli.argument_types import add_verifiers_path, count, image

UPDATE = """\
Times an update (forward, backward, clipping, optimizer step) of the learner beside another one that starts from the
same weights, prompts, completions and advantages, in rounds A B A B. Refuses to report if losses differ.

  vlmrl bench update                                                beside the same learner with repeated prompts
  vlmrl bench update --against trl --completion 32 128 --group 8 16
  vlmrl bench update --model random-3b --image 896 --completion 512 --gradient-checkpointing --json     on a GPU

speedup: theirs / ours. bound: FLOPs with each prompt repeated / FLOPs with each prompt once. efficiency: their
quotient. docs/bench.md has the formulas, and tables.
"""
ROLLOUT = """\
Times the hf engine, whose responses share their prompt's cache, beside transformers' generate on the same model,
prompts, number and length of responses. Against trl: a whole training step (rollout, reward, update, sync).

  vlmrl bench rollout
  vlmrl bench rollout --against trl --groups 4 --json
"""
CURRICULUM = """\
Trains the tiny model with several samplers on a data set of which half is solved and a quarter hopeless, and writes a
table and a plot of what each paid for. What is done is not done again: stop it at any time, and start it again.

  vlmrl bench curriculum                                       six ways to sample, three seeds: hours
  vlmrl bench curriculum --steps 20 --seeds 1                  a look
"""
THRESHOLDS = """\
Trains the tiny model to locate shapes with several IoU thresholds in the reward, fixed, scheduled or matched to the
policy, and writes a table of how precise its boxes become. What is done is not done again.

  vlmrl bench thresholds                                       seven thresholds, three seeds: an hour
  vlmrl bench thresholds --steps 20 --seeds 1 --arms "raw IoU" "matched, half"
"""


def add_bench(parser: argparse.ArgumentParser) -> None:
    """Gives `parser` a subcommand for each subject."""
    subjects = parser.add_subparsers(dest="subject", required=True, metavar="SUBJECT")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print JSON")
    add = functools.partial(subjects.add_parser, parents=[common])

    update = add("update", help="the learner's update beside TRL's, or beside repeated prompts")
    update.description = UPDATE
    update.add_argument(
        "--against", choices=("plain", "trl"), default="plain", help="our own repeated prompts (default), or TRL"
    )
    _add_geometry(update, completion=128)
    update.add_argument(
        "--no-memory", dest="memory", action="store_false", help="leave out the peak memory, two more processes"
    )

    rollout = add("rollout", help="the hf engine beside transformers' generate; a whole step beside TRL's")
    rollout.description = ROLLOUT
    rollout.add_argument(
        "--against", choices=("generate", "trl"), default="generate", help="transformers' generate (default), or TRL"
    )
    _add_geometry(rollout, completion=64)

    verifiers = add("verifiers", help="answers per second on one core, beside the library called directly")
    verifiers.add_argument("names", nargs="*", metavar="NAME", help="some of the verifiers (default all)")
    add_verifiers_path(verifiers)

    add("isolation", help="what hostile answers cost a batch of clean ones")

    planner = add("planner", help="memory and seconds of random batches, beside what the learner predicted")
    planner.add_argument("--model", metavar="PATH", help="folder, hub id, random-7m (default) or random-3b")
    planner.add_argument("--batches", type=count, default=200, help="random mixed batches (default 200)")
    planner.add_argument("--gradient-checkpointing", action="store_true")

    sampler = add("sampler", help="time and memory of the samplers at the size of a large data set")
    sampler.add_argument("names", nargs="*", metavar="NAME", help="some of the samplers (default all)")
    sampler.add_argument("--prompts", type=count, default=10_000_000, help="of the data set (default 10,000,000)")
    sampler.add_argument("--draw", type=count, default=512, help="prompts of a draw (default 512)")

    curriculum = subjects.add_parser("curriculum", help="rollouts each sampler needs to learn what uniform learns")
    curriculum.description = CURRICULUM
    _add_experiment(curriculum, "runs/bench_curriculum", 300)
    curriculum.add_argument("--samplers", nargs="+", metavar="NAME", help="uniform among them (default all)")
    curriculum.add_argument("--prompts", type=count, default=4800, help="of the data set (default 4800)")

    thresholds = subjects.add_parser("thresholds", help="which IoU threshold of a reward teaches precise boxes")
    thresholds.description = THRESHOLDS
    _add_experiment(thresholds, "runs/bench_thresholds", 150)
    thresholds.add_argument("--arms", nargs="+", metavar="NAME", help="some of the thresholds (default all)")


def _add_experiment(parser: argparse.ArgumentParser, out: str, steps: int) -> None:
    parser.add_argument("--out", default=out, metavar="DIR", help="(default %(default)s)")
    parser.add_argument("--steps", type=count, default=steps, help="of each run (default %(default)s)")
    parser.add_argument("--seeds", type=count, default=3, help="runs of each (default 3)")
    parser.add_argument("--set", nargs="*", default=[], metavar="section.field=value", help="in every run")


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
