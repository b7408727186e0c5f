"""Draws: the cases that `blind_tasks` makes its tasks of, one from a seeded generator, and grids of blind guesses.

temporal = moment(metric="boundary")(Random(7))   -> Case("When does it happen?", [7.3, 19.0], {...})
spans()[0](temporal)                              -> "0 - 10"
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple


class Case(NamedTuple):
    """One question as a policy meets it."""

    prompt: str
    target: Any
    params: Mapping[str, Any] = {}


Guess = Callable[[Case], str]


def constant(text: str) -> Guess:
    return lambda _: text


def boxes(labels: Sequence[str] = ()) -> Callable[[], Sequence[Guess]]:
    """Boxes on a grid of an 84-pixel image, but for the whole; also with a label, of the asked colour."""

    def labelled(place: list[int], label: str) -> Guess:
        return lambda case: json.dumps([{"bbox_2d": place, "label": f"{case.prompt.split()[2]} {label}"}])

    plain = [constant(json.dumps(place)) for place in _places(0, 21, 42, 63, 84)]
    return lambda: plain + [labelled(place, label) for place in _places(0, 28, 56, 84) for label in labels]


def _places(*lines: int) -> list[list[int]]:
    sides = list(itertools.combinations(lines, 2))
    return [[x1, y1, x2, y2] for x1, x2 in sides for y1, y2 in sides if x2 - x1 + y2 - y1 < 2 * lines[-1]]


def spans() -> Sequence[Guess]:
    """Time spans on a grid of a minute, but for the whole."""
    return [constant(f"{a} - {b}") for a, b in _PLACES]


_PLACES = [(a, b) for a, b in itertools.combinations(range(0, 61, 10), 2) if b - a < 60] + [(15, 45), (5, 55), (12, 48)]


def pixels() -> Sequence[Guess]:
    return [constant(f"({x}, {y})") for x in range(125, 1000, 125) for y in range(125, 1000, 125)]


def caption_words() -> Sequence[Guess]:
    def word(place: int) -> Guess:
        return lambda case: case.params["caption"].split()[place % len(case.params["caption"].split())]

    return [*(word(place) for place in range(8)), constant("none")]


_COLORS = ("red", "green", "blue", "yellow")
_THINGS = ("cat", "dog", "lamp", "chair", "bottle", "bicycle")
CITIES = ("London", "Paris", "Berlin", "Madrid", "Rome", "Vienna", "Oslo", "Lisbon")
SHAPES = ("circle", "square", "triangle")


def choice(random: Random, letter: str) -> Case:
    choices = random.sample(CITIES, 4)
    prompt = "Which city is it? " + " ".join(f"{name}. {city}" for name, city in zip("ABCD", choices, strict=True))
    return Case(prompt, letter, {"choices": choices})


def several_choices(random: Random) -> Case:
    target = sorted(random.sample("ABCD", random.randint(1, 3)))
    return Case("Which of A, B, C, D are true?", target, {"multiple": True})


def chart_value(random: Random) -> Case:
    value = random.choice((random.randint(0, 100), round(random.uniform(0, 100), 1), random.randint(1990, 2025)))
    return Case("What is the value of the highest bar?", str(value), {"relative": 0.025})


def chart_answer(rule: str) -> Callable[[Random], Case]:
    def draw(random: Random) -> Case:
        answer = random.choice((str(random.randint(1, 100)), random.choice(_COLORS), random.choice(CITIES)))
        return Case("What is the value, or the name, of the highest bar?", answer, {"rule": rule})

    return draw


def scene(random: Random) -> str:
    place = random.choice(("left of", "behind", "under", "next to"))
    first, second = random.sample(_THINGS, 2)
    return f"a {random.choice(_COLORS)} {first} {place} a {random.choice(_COLORS)} {second}"


def caption(random: Random) -> Case:
    """A caption with one wrong word; a quarter of them have none."""
    words = scene(random).split()
    caption = f"One sees {' '.join(words)} in the picture."
    prompt = f"{caption} Which words are wrong?"
    if random.random() < 0.25:
        return Case(prompt, {"wrong": "", "right": ""}, {"caption": caption})
    wrong = words[random.choice((1, 2))]
    others = [word for word in (*_COLORS, *_THINGS) if word != wrong]
    return Case(prompt, {"wrong": wrong, "right": random.choice(others)}, {"caption": caption})


def _span(random: Random) -> list[float]:
    """A moment of 3 to 30 seconds in a video of a minute."""
    length = random.uniform(3, 30)
    start = random.uniform(0, 60 - length)
    return [round(start, 1), round(start + length, 1)]


def moment(**params: Any) -> Callable[[Random], Case]:
    return lambda random: Case("When does it happen?", _span(random), {"duration": 60, **params})


def two_moments(random: Random) -> Case:
    a, b, c, d = sorted(random.sample(range(61), 4))
    return Case("When does it happen?", [[a, b], [c, d]], {"duration": 60, "metric": "matched"})


def grounded(combine: str) -> Callable[[Random], Case]:
    def draw(random: Random) -> Case:
        target = {"choice": random.choice("ABCD"), "spans": [_span(random)]}
        return Case("Which of A, B, C, D happens, and when?", target, {"combine": combine, "duration": 60})

    return draw


def grounded_grid() -> Sequence[Guess]:
    return [constant(f"{letter}, {a} - {b}") for letter in "ABCD" for a, b in _PLACES]


def rotated(random: Random) -> Case:
    target = [random.randint(25, 59), random.randint(25, 59), random.randint(15, 45), random.randint(15, 45)]
    params = {"image_size": [84, 84], "metric": "iou", "threshold": 0.0}
    return Case("Locate the sign.", [*target, random.randint(0, 30)], params)


def button(metric: str) -> Callable[[Random], Case]:
    def draw(random: Random) -> Case:
        x, y = random.randint(0, 840), random.randint(0, 940)
        box = {"bbox_2d": [x, y, x + random.randint(40, 160), y + random.randint(20, 60)]}
        return Case("Click the button.", box, {"metric": metric, "image_size": [1000, 1000]})

    return draw


def rubric(random: Random) -> Case:
    color, thing = random.choice(_COLORS), random.choice(_THINGS)
    rivals = [word for word in (*_COLORS, *_THINGS) if word not in (color, thing)]
    rules: list[dict[str, Any]] = [{"name": "thing", "contains": thing}, {"name": "color", "contains": color}]
    rules.append({"name": "no other", "lacks": rivals, "weight": 0, "veto": 1})
    return Case("Describe the picture.", {"criteria": rules, "gold": f"It shows a {color} {thing}."})


def open_answer(random: Random) -> Case:
    question = "What is shown?"
    return Case(question, {"question": question, "answer": f"The old harbour of {random.choice(CITIES)}"})


def described(random: Random) -> Case:
    question = "How many dogs are there?"
    target = {"question": question, "answer": random.randint(1, 9), "verifier": "counting"}
    return Case(question, target, {"reply": "unknown"})


def _direction(random: Random) -> list[float]:
    return [round(random.gauss(0, 1), 3) for _ in range(8)]


def embedding(random: Random) -> Case:
    return Case("Describe the goal.", {"goal": _direction(random), "baseline": _direction(random)})
