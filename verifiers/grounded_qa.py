"""Grounded video question: is the choice right, and do the answered time spans show why?

    sum        choice_share * right + (1 - choice_share) * IoU        (Temporal-RLT, arXiv 2506.01908: both rewards)
    product    right * IoU: a right choice for a wrong reason earns nothing

`right` is 1 or 0 (how choices are read: `vlmrl.reading.options`), IoU that of `temporal_iou` (how spans are read:
`vlmrl.reading.timespans`). The spans stand in a `<glue>` or `<time>` section after the thinking, or in the answer
beside the choice: "B, 10 - 20", `{"choice": "B", "start_time": 10, "end_time": 20}`. A half that is missing or left
open counts 0. A layout reward belongs to `format`.

Part `acc_gqa`: the choice is right and at least half of the answered time is true (Acc@GQA of NExT-GQA, arXiv
2309.01327).

    vlmrl check grounded_qa
"""

from __future__ import annotations

import re
from typing import Any

from vlmrl.reading import answers, options, timelines, timespans
from vlmrl.reading.timelines import Span, Timeline
from vlmrl.verdict import Example, Verdict, bad_target, unparsed

_B = {"choice": "B", "spans": [[10, 20]]}
EXAMPLES = [
    Example("<think>A?</think><answer>B</answer><glue>[[10, 20]]</glue>", _B, 1.0),
    Example('{"choice": "B", "start_time": 10, "end_time": "00:20"}', _B, 1.0),
    Example("Answer: B, from 10 to 15 seconds", _B, 0.75),
    Example("Answer: B, from 10 to 15 seconds", _B, 0.5, {"combine": "product"}),
    Example("Answer: B, from 10 to 15 seconds", _B, 0.6, {"choice_share": 0.2}),
    Example("A, 10 - 20", _B, 0.5),
    Example("A, 10 - 20", _B, 0.0, {"combine": "product"}),
    Example("B", _B, 0.5),
    Example("B, 10-20 or 30-40", _B, 0.5),
    Example("A or B, 10 - 20", _B, 0.5),
    Example("I do not know.", _B, 0.0),
    Example("B, 10 - 20", {"choice": "B", "spans": [[20, 10]]}, None),
    Example("B, 10 - 20", [10, 20], None),
]

_SECTION = re.compile(r"<(glue|time)>([^<]*)</\1>", re.IGNORECASE)


def verify(
    response: str,
    target: Any,
    *,
    combine: str = "sum",
    choice_share: float = 0.5,
    choices: Any = None,
    unit: str = "seconds",
    answer_unit: str | None = None,
    duration: float | None = None,
) -> Verdict:
    """Scores choice and spans together by `combine`: `sum`, with `choice_share` of it for the choice, or `product`.

    `target`: `{"choice": a letter, an option's text or a list of them, "spans": as in temporal_iou}`. `choices`: the
    options' texts, a list or an object by letter. `unit`, `answer_unit`, `duration`: as in `temporal_iou`.
    """
    timeline = Timeline(unit, duration, answer_unit)
    try:
        check_target(target, combine=combine, choice_share=choice_share, choices=choices, **timeline._asdict())
    except ValueError as error:
        return bad_target(str(error))
    true_choice, true_spans = _true(target, choices, timeline)
    said_choice = options.read(response, choices, multiple=len(true_choice) > 1)
    said_spans = _said_spans(response, timeline)
    if not said_choice and said_spans is None:
        return unparsed("neither a choice nor a time span in the answer", ("choice", "iou", "acc_gqa"))
    right = float(said_choice == true_choice)
    iou = 0.0 if said_spans is None else timelines.iou(said_spans, true_spans)
    score = right * iou if combine == "product" else choice_share * right + (1 - choice_share) * iou
    parts = {"choice": right, "iou": iou, "acc_gqa": right * _mostly_true(said_spans, true_spans)}
    shown = f"{','.join(sorted(said_choice)) or '-'} {timelines.written(said_spans or [], Timeline())}"
    return Verdict(min(1.0, score), parts=parts, answer=shown)


def gold(
    target: Any,
    *,
    choices: Any = None,
    unit: str = "seconds",
    answer_unit: str | None = None,
    duration: float | None = None,
    **_: Any,
) -> str:
    """The letters and the true spans."""
    timeline = Timeline(unit, duration, answer_unit)
    choice, spans = _true(target, choices, timeline)
    return f"{', '.join(sorted(choice))}, {timelines.written(spans, timeline)}"


def check_target(
    target: Any,
    *,
    combine: str = "sum",
    choice_share: float = 0.5,
    choices: Any = None,
    unit: str = "seconds",
    answer_unit: str | None = None,
    duration: float | None = None,
) -> None:
    """ValueError unless the target has a choice among the options, and spans inside the video."""
    if combine not in ("sum", "product"):
        raise ValueError(f"combine {combine!r} is unknown; use sum or product")
    if not isinstance(choice_share, (int, float)) or not 0 <= choice_share <= 1:
        raise ValueError(f"choice_share {choice_share!r} is not between 0 and 1")
    _true(target, choices, Timeline(unit, duration, answer_unit))


def _true(target: Any, choices: Any, timeline: Timeline) -> tuple[frozenset[str], list[Span]]:
    if not isinstance(target, dict) or not {"choice", "spans"} <= target.keys():
        raise ValueError(f"target {str(target)[:60]!r}: expected {{'choice': ..., 'spans': [[start, end], ...]}}")
    true_choice = options.letters(target["choice"], choices)
    spans = timelines.true_spans(target["spans"], timeline)
    if not spans:
        raise ValueError("target spans are empty; without a moment to find, use `choice`")
    return true_choice, spans


def _said_spans(response: str, timeline: Timeline) -> list[Span] | None:
    text = answers.after_thinking(response)
    answer = answers.marked(response)
    if text is None or answer is None:
        return None
    sections = _SECTION.findall(text)
    return timespans.parse(sections[-1][1] if sections else answers.unfenced(answer.text), timeline)


def _mostly_true(said: list[Span] | None, true: list[Span]) -> float:
    length = timelines.total(said or [])
    return float(length > 0 and timelines.overlap(said or [], true) >= 0.5 * length)
