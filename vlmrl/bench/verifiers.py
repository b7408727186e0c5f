"""vlmrl bench verifiers: answers per second on one core, without and with isolation, and by direct calls of the
domain library if there is one."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.progress import track

from vlmrl import catalog
from vlmrl.bench.timing import ratio, take_turns
from vlmrl.errors import UserError
from vlmrl.rewards.calls import Call, is_group_level, run_calls
from vlmrl.rewards.workers import Workers
from vlmrl.verdict import Member

BATCH = 256
ROUNDS = 15


class Speed(NamedTuple):
    """Answers per second on one core."""

    verifier: str
    per_second: float
    per_second_isolated: float
    isolation_cost: float
    """1 - isolated / not isolated, as the median over rounds."""
    direct_call_per_second: float | None
    """The domain library called directly, without the verifier; None if there is none."""


def bench_verifiers(names: Sequence[str], as_json: bool) -> None:
    """Prints the speed of these verifiers, or of all if no name is given; `UserError` for an unknown one."""
    names = names or [name for name in catalog.names("verifiers") if not catalog.is_soft(name)]
    batches = {name: _batch(name) for name in names}
    with Workers(1, deadline=60) as workers:
        shown = track(names, "bench verifiers", transient=True, disable=as_json)
        speeds = [_measure(name, batches[name], workers) for name in shown]
    if as_json:
        print(json.dumps([speed._asdict() for speed in speeds], indent=2))
    else:
        _print(speeds)


def _measure(name: str, calls: list[Call], workers: Workers) -> Speed:
    direct = _DIRECT.get(name)
    runs: list[Callable[[], Any]] = [lambda: run_calls(calls), lambda: workers(calls)]
    if direct:
        runs.append(lambda: [direct(call.members[0].response, call.target) for call in calls])
    seconds = take_turns(runs, ROUNDS)
    answers = sum(len(call.members) for call in calls)
    per_second = [answers / statistics.median(column) for column in seconds]
    cost = 1 - ratio(seconds[0], seconds[1]).median
    return Speed(name, per_second[0], per_second[1], cost, per_second[2] if direct else None)


# --- answers ----------------------------------------------------------------------------------------------


def _batch(name: str) -> list[Call]:
    """256 answers in the style of a model, half of them wrong, and all different where the verifier has a cache."""
    if name in _ANSWERS:
        return [Call(name, (Member(response),), target, {}) for response, target in map(_ANSWERS[name], range(BATCH))]
    examples = [e for e in catalog.load("verifiers", name).EXAMPLES if e.score is not None]
    if not examples:
        raise UserError(f"{name}: has no EXAMPLES to be timed with; name another verifier")
    chosen = [examples[i % len(examples)] for i in range(BATCH)]
    if is_group_level(name):
        groups = [chosen[i : i + 8] for i in range(0, BATCH, 8)]
        return [Call(name, tuple(Member(e.response) for e in g), g[0].target, g[0].params) for g in groups]
    return [Call(name, (Member(_reasoned(e.response)),), e.target, e.params) for e in chosen]


def _reasoned(answer: str) -> str:
    """The answer after a short reasoning, unless it has its own."""
    return answer if "<" in answer else f"<think>{'We look at the figure. ' * 20}</think>{answer}"


def math_answer(i: int) -> tuple[str, str]:
    """A response that ends in the i-th expression, and the target: the same one where i is odd."""
    forms = (rf"\frac{{{i}}}{{7}}", rf"{i}\sqrt{{2}}", rf"x^2 + {i}x + 1", rf"({i}, {i + 1}]")
    answer, target = forms[i % 4], forms[i % 4] if i % 2 else forms[(i + 1) % 4]
    return _reasoned(rf"So \boxed{{{answer}}}."), target


def _boxes(i: int) -> tuple[str, Any]:
    boxes = [[10 * k + i % 5, 20, 10 * k + 90, 100 + i] for k in range(4)]
    answered = [{"bbox_2d": [x + i % 3, y, right, bottom], "label": "car"} for x, y, right, bottom in boxes]
    true = [{"bbox_2d": box, "label": "car"} for box in boxes]
    return _reasoned(json.dumps(answered)), true


_ANSWERS: dict[str, Callable[[int], tuple[str, Any]]] = {"math": math_answer, "dynamic_iou": _boxes}


def _math_verify(response: str, target: str) -> Any:
    from math_verify import parse, verify

    # Its timeouts use signals. They are off here, as in the verifier.
    gold = parse(f"${target}$", parsing_timeout=None)  # pyright: ignore[reportArgumentType]
    return verify(gold, parse(response, parsing_timeout=None), timeout_seconds=None)  # pyright: ignore[reportArgumentType]


def _coco_iou(response: str, target: list[dict[str, Any]]) -> Any:
    from pycocotools.mask import iou

    answered = json.loads(response[response.index("[") : response.rindex("]") + 1])
    corners = [[box["bbox_2d"] for box in boxes] for boxes in (answered, target)]
    said_xywh, true_xywh = (np.array([[x, y, r - x, b - y] for x, y, r, b in boxes], float) for boxes in corners)
    return iou(said_xywh, true_xywh, [0] * len(target))


def _levenshtein(response: str, target: str | list[str]) -> Any:
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.normalized_similarity(response, target if isinstance(target, str) else target[0])


_DIRECT: dict[str, Callable[[str, Any], Any]] = {"math": _math_verify, "dynamic_iou": _coco_iou, "ocr": _levenshtein}


# --- output -----------------------------------------------------------------------------------------------


def _print(speeds: Sequence[Speed]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("verifier", box=None)
    for title in ("answers/s", "isolated", "isolation costs", "library alone", "of library"):
        table.add_column(title, justify="right")
    for s in speeds:
        direct = s.direct_call_per_second
        compared = (f"{direct:,.0f}", f"{s.per_second / direct:.2f}x") if direct else ("", "")
        figures = (f"{s.per_second:,.0f}", f"{s.per_second_isolated:,.0f}", f"{s.isolation_cost:.0%}")
        table.add_row(s.verifier, *figures, *compared)
    Console().print(table)
