"""vlmrl bench isolation: the time that hanging or exploding answers add to a batch of 1,000."""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path
from typing import NamedTuple

from vlmrl import catalog
from vlmrl.bench.timing import seconds
from vlmrl.bench.verifiers import math_answer
from vlmrl.rewards.calls import Call
from vlmrl.rewards.workers import Workers
from vlmrl.verdict import Member, Verdict


class Isolation(NamedTuple):
    """Seconds of a batch of 1,000 answers without and with ten hostile ones."""

    hostile: str
    clean_s: float
    with_hostile_s: float
    unscored: int
    deadline_s: float
    bound_s: float
    """1.5 times the clean batch, plus the deadlines of unscored answers divided by the number of workers."""


_HANGS = '''
"""The verifier `math`, but the response `hang` hangs in C code, as a regular expression or a number can."""
import ctypes
from vlmrl import catalog
from vlmrl.verdict import Example
EXAMPLES = [Example("1", "1", 1.0)]
gold, check_target = (getattr(catalog.load("verifiers", "math"), name) for name in ("gold", "check_target"))
def verify(response, target):
    if response == "hang":
        ctypes.CDLL(None).sleep(3600)
    return catalog.load("verifiers", "math").verify(response, target)
'''
_TOWERS = (r"\boxed{9^{9^{9^{9^9}}}}", r"\boxed{" + r"\sqrt{1+" * 60 + "1" + "}" * 61, r"\boxed{((99!)!)!}")


def bench_isolation(as_json: bool) -> None:
    """Prints the cost of exponent towers and nested radicals, and of a verifier that never returns."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench_hangs.py"
        path.write_text(_HANGS)
        catalog.add_verifiers(path)
        answers = map(math_answer, range(1000))
        clean = [Call("bench_hangs", (Member(response),), target, {}) for response, target in answers]
        with Workers(2, deadline=1.0) as workers:
            workers(clean)
            results = [_isolation(kind, clean, workers) for kind in ("towers", "hangs")]
    if as_json:
        print(json.dumps([one._asdict() for one in results], indent=2))
        return
    for one in results:
        print(
            f"{one.hostile}: clean {one.clean_s:.2f} s, with 10 hostile {one.with_hostile_s:.2f} s "
            f"(bound {one.bound_s:.2f} s), {one.unscored} unscored"
        )


def _isolation(kind: str, clean: list[Call], workers: Workers) -> Isolation:
    hostile = list(clean)
    for n in range(10):
        response = _TOWERS[n % 3] if kind == "towers" else "hang"
        hostile[100 * n + 37] = clean[0]._replace(members=(Member(response),))
    clean_s = statistics.median(seconds(lambda: workers(clean)) for _ in range(3))
    verdicts: list[list[Verdict]] = []
    with_hostile_s = seconds(lambda: verdicts.extend(workers(hostile)))
    unscored = sum(call_verdicts[0].score is None for call_verdicts in verdicts)
    bound = 1.5 * clean_s + unscored * workers.deadline / workers.count
    return Isolation(kind, clean_s, with_hostile_s, unscored, workers.deadline, bound)
