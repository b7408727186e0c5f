"""Choice: which option, or which set of options, does the answer commit to?

An answer that keeps several options open ("A or B") names none and scores 0, as does one that names none. How
an answer is read: `vlmrl.reading.options`.

    vlmrl check choice
"""

from __future__ import annotations

from typing import Any

from vlmrl.reading import options
from vlmrl.verdict import Example, Verdict, bad_target, unparsed

_CITIES = {"choices": ["London", "Paris", "Berlin"]}

EXAMPLES = [
    Example("B", "B", 1.0),
    Example("<think>A?</think><answer>(B)</answer>", "B", 1.0),
    Example("I first said ANSWER: A but ANSWER: C is correct.", "C", 1.0),
    Example("The answer is for sure D, it can't be A or B", "D", 1.0),
    Example("It is Paris.", "B", 1.0, _CITIES),
    Example("Answer: b", "Paris", 1.0, _CITIES),
    Example("The answer is C. A is too small.", "C", 1.0),
    Example(r"\boxed{\frac{1}{2}}", "A", 1.0, {"choices": ["$1/2$", "$1/3$"]}),
    Example("Answer: B. Hmm, actually it is C.", "B", 0.0),
    Example("It could be B.", "B", 0.0),
    Example("A or B", "A", 0.0),
    Example("London or Paris", "A", 0.0, _CITIES),
    Example("Answer: A, C", ["A", "C"], 1.0),
    Example("Answer: AC", "A,C", 1.0, {"multiple": True}),
    Example("Answer: A", ["A", "C"], 0.0),
    Example("A", "B", 0.0),
    Example("no idea, sorry", "B", 0.0),
    Example("D", "D", None, _CITIES),
]


def verify(response: str, target: Any, *, choices: Any = None, multiple: bool = False) -> Verdict:
    """1 if the options the answer commits to are exactly those of `target`, else 0.

    `target`: a letter or the text of an option; several as a list (or, with `multiple`, as "A,C").
    `choices`: the options' texts, a list or an object by letter; without them every letter is an option.
    `multiple`: the answer may name several options ("AC" then means two).
    """
    try:
        true = options.letters(target, choices, multiple)
    except ValueError as error:
        return bad_target(str(error))
    said = options.read(response, choices, multiple or len(true) > 1)
    if not said:
        return unparsed("the answer commits to no option")
    shown = ",".join(sorted(said))
    return Verdict(float(said == true), answer=shown, why="" if said == true else f"{shown}, not {target}"[:100])


def gold(target: Any, *, choices: Any = None, multiple: bool = False, **_: Any) -> str:
    """The letters."""
    return "Answer: " + ", ".join(sorted(options.letters(target, choices, multiple)))


def check_target(target: Any, *, choices: Any = None, multiple: bool = False, **_: Any) -> None:
    """ValueError unless every target is a letter or a text of the options."""
    options.letters(target, choices, multiple)
