"""Check: whether a verifier keeps its contract, what tricks earn with it, and how fast it is.

    vlmrl check counting            one of ours
    vlmrl check my_verifier.py      your own file
    vlmrl check my_rewards.py:polite    your own reward function: only whether it can be called

Everything runs in processes that can be killed, so that a verifier that hangs or crashes is only reported.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError as TooLate
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, TypeVar

from pebble import ProcessExpired, ProcessPool

from vlmrl import catalog
from vlmrl.errors import UserError, escaped
from vlmrl.rewards.audit import blind_tasks, contract, hostile_text, probes
from vlmrl.rewards.audit.contract import shown
from vlmrl.rewards.audit.probes import Result
from vlmrl.rewards.calls import Call
from vlmrl.rewards.workers import Workers
from vlmrl.verdict import Example, Member

DEADLINE = 5.0
"""Seconds for one answer, as in `vlmrl score`."""
HOSTILE = 500
LONG = (" " * 100_000, "[" * 100_000, "answer: " * 12_000, "9" * 100_000, "<answer>" * 12_000, "A or " * 20_000)
_PATIENCE = 12 * DEADLINE
_ROUNDS = 30
_T = TypeVar("_T")


class Speed(NamedTuple):
    """The time of one answer, in microseconds."""

    median: float
    worst: float
    slowest: str
    """The answer that took longest."""


def run(name_or_path: str) -> bool:
    """Prints what it finds, failures as lines on standard error; True if there are none.

    `UserError` if there is no such verifier, or if its file cannot be loaded.
    """
    name = _known(name_or_path)
    if not hasattr(catalog.load("verifiers", name), "gold"):
        print(f"{name}: a reward function that can be called; without EXAMPLES and gold there is nothing else to check")
        return True
    results: list[Result] = []
    speed = None
    failures = list(contract.form(name))
    try:
        failures = failures or _apart(contract.behaviour, name)
        if not failures:
            with Workers(1, DEADLINE) as workers:
                failures = list(_under_fire(name, workers))
                results = [] if failures else [probes.measure(task, workers) for task in _tasks(name)]
            failures += _leaks(results)
            speed = _apart(_speed, name) if results and not catalog.is_soft(name) else None
    except _LostError as lost:
        failures.append(str(lost))
    _show(results, speed)
    for failure in failures:
        print(f"vlmrl: {UserError(f'{name}: {failure}')}", file=sys.stderr)
    if not failures:
        print(f"{name}: {_praise(name, results)}")
    return not failures


def _praise(name: str, results: Sequence[Result]) -> str:
    if catalog.needs_target(name) and any(result.task.has_one_answer for result in results):
        return (
            "contract holds; most probes show nothing, because all EXAMPLES have the same right answer: "
            "add examples with other targets"
        )
    return "contract and probes hold"


def _known(name_or_path: str) -> str:
    """The verifier's name. Its file is named to the catalog even where it is one of ours: so it never runs here."""
    path = Path(name_or_path)
    if ".py:" in path.name:
        return catalog.add_verifiers(name_or_path)[0]
    if path.suffix != ".py" and len(path.parts) == 1:
        path = Path(catalog.load("verifiers", name_or_path).__file__ or "")
    catalog.add_verifiers(path)
    catalog.load("verifiers", path.stem)
    return path.stem


def _usable(name: str) -> list[Example]:
    return [example for example in catalog.load("verifiers", name).EXAMPLES if example.score is not None]


def _tasks(name: str) -> list[blind_tasks.Task]:
    """The blind tasks; few cases of a soft verifier, each of which may be a request."""
    tasks = blind_tasks.tasks(name)
    return [replace(task, cases=task.cases[:4]) for task in tasks] if catalog.is_soft(name) else tasks


# --- under fire -------------------------------------------------------------------------------------------


def _under_fire(name: str, workers: Workers) -> Iterator[str]:
    """Hostile answers to a good question, twice: the first that is not judged, late, or judged otherwise again."""
    example, waits = _usable(name)[0], catalog.is_soft(name)
    seeds = [example.response for example in _usable(name)]
    texts = list(hostile_text.strings(20 if waits else HOSTILE, 0, seeds))
    batches = [texts[i : i + 100] for i in range(0, len(texts), 100)] + [[text] for text in LONG]
    for batch in batches:
        calls = [Call(name, (Member(text),), example.target, example.params) for text in batch]
        first = [verdicts[0] for verdicts in workers(calls)]
        for text, verdict in zip(batch, first, strict=True):
            if verdict.score is None and not (waits and "failed: " not in verdict.why):
                yield f"hostile answer {shown(text)}: {verdict.status} ({verdict.why})"
                return
        again = first if waits else [verdicts[0] for verdicts in workers(calls)]
        for text, verdict, other in zip(batch, first, again, strict=True):
            if verdict != other:
                yield f"hostile answer {shown(text)}: scores {verdict.score}, and {other.score} the second time"
                return


def _leaks(results: Sequence[Result]) -> Iterator[str]:
    for result in results:
        for probe in result.leaks if not result.task.open else ():
            earned, limit = f"{result.rewards[probe]:.2f}", f"an honest blind guess {result.blind:.2f}"
            if result.task.has_one_answer:
                limit = "without an answer in it"
            yield f"probe {probe!r} earns {earned}, {limit} ({result.task.about})"


# --- processes --------------------------------------------------------------------------------------------


class _LostError(Exception):
    """A process that did not come back, in one line."""


def _apart(function: Callable[[str], _T], name: str) -> _T:
    """Runs a function in a process of its own, which knows the same verifiers."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["vlmrl.rewards.worker_preload"])  # one server serves the workers too
    pool = ProcessPool(1, context=context)
    try:
        given = pool.schedule(_there, args=[function, name, catalog.added_verifiers()], timeout=_PATIENCE)
        return given.result()
    except TooLate:
        raise _LostError(f"not done with its EXAMPLES and strange targets after {_PATIENCE:g} s") from None
    except ProcessExpired as error:
        raise _LostError(f"its EXAMPLES or strange targets end the process (exit code {error.exitcode})") from None
    finally:
        pool.stop()
        pool.join()


def _there(function: Callable[[str], _T], name: str, added: Sequence[str]) -> _T:
    catalog.add_verifiers(*added)
    return function(name)


def _speed(name: str) -> Speed:
    """Times the examples several times and long answers once."""
    module = catalog.load("verifiers", name)
    examples = _usable(name)
    texts = [example.response for example in examples] * _ROUNDS + list(LONG)
    questions = examples * _ROUNDS + [examples[0]] * len(LONG)
    seconds = []
    for text, example in zip(texts, questions, strict=True):
        start = time.perf_counter()
        module.verify(text, example.target, **example.params)
        seconds.append(time.perf_counter() - start)
    # The first answer pays for imports.
    warm = seconds[len(examples) :]
    worst = max(range(len(warm)), key=warm.__getitem__)
    return Speed(1e6 * statistics.median(seconds[: -len(LONG)]), 1e6 * warm[worst], texts[len(examples) :][worst])


# --- what is shown ----------------------------------------------------------------------------------------


def _show(results: Sequence[Result], speed: Speed | None) -> None:
    rows = [
        (probe, result.task.about, "unscored" if reward is None else f"{reward:.2f}", f"{result.blind:.2f}")
        for result in results
        for probe, reward in result.rewards.items()
    ]
    heads = ("probe", "task", "reward", "blind guess")
    if rows and sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*heads, box=None)
        for row in rows:
            table.add_row(*(Text(escaped(cell)) for cell in row))
        Console().print(table)
    else:
        for row in [heads, *rows] if rows else []:
            print("\t".join(map(escaped, row)))
    for result in results:
        if result.task.open:
            print(f"not safe as a reward ({result.task.about}): {result.task.open}")
    if speed:
        print(f"median {speed.median:,.0f} µs an answer, worst {speed.worst:,.0f} µs ({shown(speed.slowest)})")
