"""The command `vlmrl`: parses arguments and calls the module that does the work. Run `vlmrl --help`.

Exit codes: 0 done; 2 the user's input is wrong, or the disk refuses a file, said in one line on standard error;
130 interrupted; 1 (with a traceback) a failure of the toolkit. Every import of weight happens inside the command
that needs it.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from vlmrl import catalog
from vlmrl.cli.arguments import build_parser, split_overrides
from vlmrl.errors import UserError

REFUSALS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG}
"""What the system says of a file that the user, not the toolkit, can mend."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"vlmrl: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _drop_output()  # whoever read it has left
        return 141
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        print(f"vlmrl: {error.filename or 'the system refuses'}: {error.strerror or error}", file=sys.stderr)
        _drop_refused_output()
        return 2


def _drop_refused_output() -> None:
    """Lets go of what standard output does not take, so that the flush at exit has nothing to complain of."""
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(arguments: list[str]) -> int:
    overrides: list[str] = []
    if arguments[:1] == ["train"] or arguments[:2] == ["data", "grade"] or arguments[:3] == ["data", "mix", "plan"]:
        arguments, overrides = split_overrides(arguments)
    options = build_parser().parse_args(arguments)
    command = options.command
    if command == "train":
        from vlmrl.train import trainer

        return trainer.main(options.files, overrides, resume=options.resume, dry_run=options.dry_run)
    if command == "score":
        return _run_score(options)
    elif command == "data":
        return _run_data(options, overrides)
    elif command == "report":
        from vlmrl.monitor import report

        print(report.write_report(Path(options.run_dir)))
    elif command == "check":
        from vlmrl.rewards.audit import check

        return 0 if check.run(options.verifier) else 2
    elif command == "serve":
        _run_serve(options)
    elif command == "bench":
        _run_bench(options)
    elif command == "list":
        _list(options.kind)
    else:
        from vlmrl.cli import doctor

        doctor.examine()
    return 0


def _run_score(options: argparse.Namespace) -> int:
    from vlmrl.rewards.call_rows import score_file
    from vlmrl.rewards.workers import Workers

    catalog.add_verifiers(*options.verifiers_path)
    with Workers(options.workers, options.deadline, options.memory_mb) as workers:
        score_file(options.file, options.out, workers)
    return 0


def _run_serve(options: argparse.Namespace) -> None:
    from vlmrl.serve.service import TOKEN, Limits, serve

    catalog.add_verifiers(*options.verifiers_path)
    limits = Limits(options.body_mb, options.rows, options.rows_in_flight, options.grace)
    token = os.environ.get(TOKEN)
    serve(options.host, options.port, token, options.workers, options.deadline, options.memory_mb, limits)


def _run_bench(options: argparse.Namespace) -> None:
    if options.subject == "verifiers":
        from vlmrl.bench.verifiers import bench_verifiers

        catalog.add_verifiers(*options.verifiers_path)
        bench_verifiers(options.names, options.json)
    elif options.subject == "isolation":
        from vlmrl.bench.isolation import bench_isolation

        bench_isolation(options.json)
    elif options.subject == "planner":
        out = sys.stdout
        with contextlib.redirect_stdout(sys.stderr):  # libraries log to standard output as they load
            from vlmrl.bench.planner import bench_planner

            bench_planner(options.model, options.batches, options.gradient_checkpointing, options.json, out)
    elif options.subject == "sampler":
        from vlmrl.bench.sampler import bench_sampler

        bench_sampler(options.names, options.prompts, options.draw, options.json)
    elif options.subject == "curriculum":
        from vlmrl.bench.curriculum import bench_curriculum

        flags = [f"--{flag}" for flag in options.set]
        bench_curriculum(Path(options.out), options.samplers, options.steps, options.seeds, options.prompts, flags)
    elif options.subject == "thresholds":
        from vlmrl.bench.thresholds import bench_thresholds

        flags = [f"--{flag}" for flag in options.set]
        bench_thresholds(Path(options.out), options.arms, options.steps, options.seeds, flags)
    else:
        _run_side_by_side(options)


def _run_side_by_side(options: argparse.Namespace) -> None:
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # libraries log to standard output as they load
        from vlmrl.bench.geometry import Geometry

        axes = (options.prompt_tokens, options.image, options.completion, options.group, options.groups)
        cells = [Geometry(options.model, *cell, options.gradient_checkpointing) for cell in itertools.product(*axes)]
        if options.subject == "update":
            from vlmrl.bench.update import bench_update

            bench_update(cells, options.against, options.rounds, options.memory, options.json, out)
        else:
            from vlmrl.bench.rollout import bench_rollout

            bench_rollout(cells, options.against, options.rounds, options.json, out)


def _run_data(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    from vlmrl.data import check

    if options.action == "build":
        sources = options.sources.split(",") if options.sources else None
        count = check.build(
            options.recipe, options.out, options.n, options.split, options.seed, sources, options.difficulty
        )
        print(f"{options.out}: {count} samples")
    elif options.action == "convert":
        count = check.convert(options.file, options.schema, options.out, options.verifier)
        print(f"{options.out}: {count} samples")
    elif options.action == "show":
        check.show(options.file, options.n, options.source)
    elif options.action == "grade":
        from vlmrl.evaluate.grade import grade

        print(f"{options.out}: {grade(options.files, overrides, options.out)} prompts")
    elif options.action == "mix":
        return _run_mix(options, overrides)
    else:
        catalog.add_verifiers(*options.verifiers_path)
        return 0 if check.check(options.file) else 2
    return 0


def _run_mix(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    from vlmrl.curriculum.mixture import pilots

    if options.part == "plan":
        count = pilots.plan(options.files, overrides, options.out, options.pilots, options.seeds, dict(options.bounds))
        print(f"{options.out}: {count} pilots; train them with `vlmrl data mix run {options.out}`")
    elif options.part == "run":
        return pilots.run(options.folder)
    else:
        from vlmrl.curriculum.mixture.report import fit_pilots

        print(fit_pilots(options.folder, dict(options.objective), options.min_r2))
    return 0


def _list(kind: str) -> None:
    rows = [(name, catalog.summary(kind, name)) for name in catalog.names(kind)]
    if not sys.stdout.isatty():
        for name, summary in rows:
            print(f"{name}\t{summary}")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(kind.removesuffix("s"), "what it is", box=None)
    for name, summary in rows:
        table.add_row(Text(name, "bold"), Text(summary))
    Console().print(table)
