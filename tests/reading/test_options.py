"""Options: what a response commits to, and what a target names. Free text: tests/verifiers/test_choice.py."""

from typing import Any

import pytest

from vlmrl.reading.options import letters, read

CITIES = ["London", "Paris", "New Paris"]


@pytest.mark.parametrize(("response", "choices", "multiple", "said"), [
    ("The answer is for sure D, it can't be A or B", None, False, "D"), ("It is Paris.", CITIES, False, "B"),
    ("New Paris", CITIES, False, "C"), ("Answer: AC", None, True, "AC"), ("A or B", None, False, ""),
    ("<answer>A</answer> Answer: B", None, False, "B"), ("Answer: B <answer>A</answer>", None, False, "A"),
    ("<think>B", None, False, ""), ("D", CITIES, False, ""),
])  # fmt: skip
def test_read(response: str, choices: Any, multiple: bool, said: str) -> None:
    assert read(response, choices, multiple) == set(said)


@pytest.mark.parametrize(("target", "choices", "multiple", "named"), [
    ("Paris", CITIES, False, "B"), ("b", CITIES, False, "B"), ("(B) Paris", CITIES, False, "B"),
    (["A", "Paris"], CITIES, False, "AB"), ("A,C", None, True, "AC"), ("X", {"X": "yes", "Y": "no"}, False, "X"),
    ("no", {"X": "yes", "Y": "no"}, False, "Y"),
])  # fmt: skip
def test_letters(target: Any, choices: Any, multiple: bool, named: str) -> None:
    assert letters(target, choices, multiple) == set(named)


@pytest.mark.parametrize(("target", "choices", "says"), [
    ("Rome", CITIES, "none of the options A, B, C"), ([], CITIES, "empty list"), (3, CITIES, "none of the options"),
    ("A", "ABC", "neither a list"), ("A", {}, "neither a list"), ("A", {"one": "x"}, "single letters"),
])  # fmt: skip
def test_letters_refuses(target: Any, choices: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        letters(target, choices)
