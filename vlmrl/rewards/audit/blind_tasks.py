"""Blind tasks: seeded draws of what data sets ask, and the answers of an honest policy that does not look.

    for task in tasks("temporal_iou"): task.cases, task.guesses

A case is a prompt, its target and the verifier's parameters. A guess is an answer of the asked form that commits to
one value: any of the answers that are right for some case of the task, or one of a grid (boxes and spans that are
not the whole image or video; the words of a shown caption). The best one of them over all cases is the honest blind
guess: what a verifier pays for knowing the data set and nothing else.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any

from vlmrl import catalog
from vlmrl.reading import answers
from vlmrl.rewards.audit import blind_cases
from vlmrl.rewards.audit.blind_cases import Case, Guess

CASES = 32
SEED = 7


@dataclass(frozen=True)
class Task:
    """A distribution of targets for one verifier."""

    verifier: str
    about: str
    cases: Sequence[Case]
    grid: Sequence[Guess] = ()
    open: str = ""
    """Why its rule lets probes earn more: a rule of an evaluation, say, that its users must keep as published."""
    floor: float = 0.0
    """What any text may earn: partial credit by chance, where there are too few cases to know better."""

    @cached_property
    def golds(self) -> list[str]:
        """The different right answers, the most frequent first."""
        gold = catalog.load("verifiers", self.verifier).gold
        return [text for text, _ in Counter(gold(c.target, **c.params) for c in self.cases).most_common()]

    @cached_property
    def plain(self) -> list[str]:
        """The same without boxes, tags and lead-ins, as they stand in hedges."""
        marked = [answers.extract(gold) for gold in self.golds]
        return [answer.text for answer in marked if answer]

    @property
    def has_one_answer(self) -> bool:
        """Whether the EXAMPLES of a verifier have one right answer, so that writing it blindly is always right."""
        return self.floor > 0 and len(self.golds) == 1

    @property
    def guesses(self) -> list[Guess]:
        """The honest blind answers."""
        return [*(blind_cases.constant(gold) for gold in self.golds), *self.grid]


def tasks(verifier: str) -> list[Task]:
    """The tasks of a verifier; of one that is not listed here, a task of the targets of its EXAMPLES."""
    if verifier not in _TASKS:
        return [_of_examples(verifier)]
    return [make(verifier) for make in _TASKS[verifier]]


def _of_examples(verifier: str) -> Task:
    examples = [e for e in catalog.load("verifiers", verifier).EXAMPLES if e.score is not None]
    different = {json.dumps([e.target, e.params], default=repr): Case("", e.target, e.params) for e in examples}
    targets = f"{len(different)} targets" if len(different) > 1 else "one target"
    return Task(verifier, f"the {targets} of its EXAMPLES", list(different.values()), floor=0.1)


_Maker = Callable[[str], Task]
"""Makes the task, given the verifier's name."""


def _drawn(
    about: str, draw: Callable[[Random], Case], grid: Callable[[], Sequence[Guess]] = tuple, open: str = ""
) -> _Maker:
    def make(verifier: str) -> Task:
        random = Random(SEED)
        return Task(verifier, about, [draw(random) for _ in range(CASES)], grid(), open)

    return make


def _balanced(about: str, answers: Sequence[str], ask: Callable[[Random, str], Case]) -> _Maker:
    """Each answer equally often."""

    def make(verifier: str) -> Task:
        random = Random(SEED)
        return Task(verifier, about, [ask(random, answers[i % len(answers)]) for i in range(CASES)])

    return make


def _recipe(
    about: str, source: str, difficulty: int, params: Mapping[str, Any], grid: Callable[[], Sequence[Guess]] = tuple
) -> _Maker:
    """The synthetic recipe's samples, judged with `params` instead of theirs where the two differ."""

    def make(verifier: str) -> Task:
        built = catalog.load("recipes", "synthetic").build(CASES, seed=SEED, sources=[source], difficulty=difficulty)
        shown = ((sample.messages[0].content.replace("<image>", ""), sample.reward[0]) for sample in built)
        cases = [Case(prompt, spec.target, spec.params | params) for prompt, spec in shown]
        return Task(verifier, about, cases, grid())

    return make


_PLAIN = Case("Describe the picture.", None)
_MMMU = "MMMU's published rule takes any number or word of an answer as the answer; it is for evaluation"
_LAYOUTS = ("think_answer", "think_boxed")
_LABELLED = blind_cases.boxes(blind_cases.SHAPES)
_TASKS: dict[str, Sequence[_Maker]] = {
    "counting": [_recipe("0 to 5 shapes of a colour (synthetic)", "counting", 1, {})],
    "dynamic_iou": [
        _recipe("one box, its IoU (synthetic)", "grounding", 1, {}, blind_cases.boxes()),
        _recipe("one box, IoU from 0.5 on", "grounding", 1, {"metric": "iou", "threshold": 0.5}, blind_cases.boxes()),
        _recipe("labelled boxes, mixture, any IoU", "grounding", 3, {}, _LABELLED),
        _recipe("labelled boxes, F1 at IoU 0.5", "grounding", 3, {"metric": "f1", "threshold": 0.5}, _LABELLED),
        _recipe("labelled boxes, AP at IoU 0.5", "grounding", 3, {"metric": "map_50"}),
    ],
    "polygon_iou": [_drawn("one rotated box, its IoU", blind_cases.rotated, blind_cases.boxes())],
    "point": [
        _drawn("a button on a screen, hit or not", blind_cases.button("hit"), blind_cases.pixels),
        _drawn("a button on a screen, OSWorld's distance", blind_cases.button("osworld"), blind_cases.pixels),
    ],
    "ocr": [
        _recipe("2 to 4 letters, edit similarity (synthetic)", "ocr", 1, {}),
        _recipe("2 to 5 letters, ANLS", "ocr", 2, {"metric": "anls"}),
    ],
    "math": [_recipe("sums of two digits (synthetic)", "math", 1, {})],
    "caption_spans": [
        _recipe("one wrong word of 7 (synthetic)", "caption", 1, {}, blind_cases.caption_words),
        _drawn("one wrong word, or none in a quarter", blind_cases.caption, blind_cases.caption_words),
    ],
    "numeric": [_drawn("values of a chart, within 2.5 %", blind_cases.chart_value)],
    "choice": [
        _balanced("one of 4 cities", "ABCD", blind_cases.choice),
        _drawn("1 to 3 of 4 letters", blind_cases.several_choices),
    ],
    "yes_no": [_balanced("yes or no", ("yes", "no"), lambda _, answer: Case("Is it red?", answer))],
    "exact": [_balanced("one of 8 cities", blind_cases.CITIES, lambda _, answer: Case("Which city?", answer))],
    "relaxed": [
        _drawn("numbers, colours, cities: `chartqa`", blind_cases.chart_answer("chartqa")),
        _drawn("numbers, colours, cities: `mmmu_open`", blind_cases.chart_answer("mmmu_open"), open=_MMMU),
    ],
    "string_f1": [
        _drawn("one sentence of a scene", lambda random: Case("Describe the picture.", blind_cases.scene(random)))
    ],
    "temporal_iou": [
        _drawn("a moment in a minute, IoU", blind_cases.moment(), blind_cases.spans),
        _drawn(
            "a moment in a minute, less the whole video's", blind_cases.moment(discount_whole=True), blind_cases.spans
        ),
        _drawn("a moment in a minute, Time-R1", blind_cases.moment(metric="boundary"), blind_cases.spans),
        _drawn("two moments in a minute, matched", blind_cases.two_moments, blind_cases.spans),
    ],
    "grounded_qa": [
        _drawn("one of 4 letters and a moment, sum", blind_cases.grounded("sum"), blind_cases.grounded_grid),
        _drawn("one of 4 letters and a moment, product", blind_cases.grounded("product"), blind_cases.grounded_grid),
    ],
    "rubric": [_drawn("a colour and a thing; a rival word is a veto", blind_cases.rubric)],
    "judge": [_drawn("an open question (without an endpoint)", blind_cases.open_answer)],
    "caption_answerability": [_drawn("how many; the reader says unknown", blind_cases.described)],
    "clip_similarity": [_drawn("embeddings of 8 numbers", blind_cases.embedding)],
    "format": [_drawn(layout, lambda _, layout=layout: _PLAIN._replace(target=layout)) for layout in _LAYOUTS],
    "language_mix": [_drawn("English asked", lambda _: _PLAIN._replace(target="en"))],
    "length": [_drawn("no target", lambda _: _PLAIN)],
    "repetition": [_drawn("no target", lambda _: _PLAIN)],
    "brevity_bonus": [_drawn("no target", lambda _: _PLAIN)],
}
