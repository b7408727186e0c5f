"""Published rules: how MMMU and MathVista compare an answer in words with the true one.

    right_in_mmmu("The throughput is 60 Mbps.", "60")                        -> True
    right_in_mathvista("B", "50°", ["40°", "50°", "80°"], "text", 2)         -> True

They are kept as published (arXiv 2311.16502, arXiv 2310.02255), so that benchmark figures can be compared; both reward
guesses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_CUES = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_NUMBER = re.compile(
    r"-?\b\d{1,3}(?:,\d{3})+\b|-?\d+(?:\.\d+)?e[+-]?\d+|-?(?:\d+\.\d+|\.\d+|\d+\b)(?!e[+-]?\d+)(?![,\d])"
)


def right_in_mmmu(said: str, true: str) -> bool:
    """MMMU's rule for open answers: the true text in a phrase after a cue, or the true number among those there."""
    phrases = _phrases(said)
    numbers = [number for phrase in phrases for number in _NUMBER.findall(phrase)]
    found = {form for text in phrases + numbers for form in _forms(text)}
    return any(
        form in found or (isinstance(form, str) and any(isinstance(text, str) and form in text for text in found))
        for form in _forms(true)
    )


def _phrases(text: str) -> list[str]:
    """The shortest text after a cue in each line; the whole text if there is none."""
    text = text.strip().strip(".").lower()
    lines = text.split("\n")
    phrases = []
    for number, line in enumerate(lines, 1):
        cues = (*_CUES, "=") if number == len(lines) else _CUES
        tails = [line.rpartition(cue)[2].strip() for cue in cues if cue in line]
        if tails and min(tails, key=len) not in ("", *":,.!?;'"):
            phrases.append(min(tails, key=len))
    return phrases or [text]


def _forms(text: str) -> list[str | float]:
    """A number rounded to two places; a letter with a space on either side; any other text in lower case."""
    text = text.strip().lower()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        return [f" {text}", f"{text} "] if len(text) == 1 else [text]


def right_in_mathvista(said: str, true: str, choices: Sequence[str] | None, answer_type: str, decimals: int) -> bool:
    """MathVista's rule for an extracted answer: `choices`, the options' texts, or what `answer_type` says.

    The option of that letter, or the one nearest in spelling; a whole number cut (`integer`), a decimal one rounded
    to `decimals` places (`float`), a `text` or a `list` as it stands.
    """
    if choices:
        return _nearest_choice(said.strip(), choices) == true
    value, truth = (_value(text.strip(), answer_type, decimals) for text in (said, true))
    return value is not None and value == truth


def letter(index: int) -> str:
    """A for the first option."""
    return chr(ord("A") + index)


def _value(said: str, answer_type: str, decimals: int) -> str | float | None:
    """The number or text that an answer stands for; None if it has to be a number and is not."""
    if answer_type in ("text", "list"):
        return said
    try:
        value = float(said)
        return int(value) if answer_type == "integer" else round(value, decimals)
    except (ValueError, OverflowError):
        return None


def _nearest_choice(said: str, choices: Sequence[str]) -> str:
    from rapidfuzz.distance import Levenshtein

    bracketed = re.search(r"\(([a-zA-Z])\)", said)
    answer = bracketed[1].upper() if bracketed else said
    letters = [letter(index) for index in range(len(choices))]
    if answer in letters:
        return choices[letters.index(answer)]
    return min(choices, key=lambda choice: Levenshtein.distance(answer, choice))
