"""The formulas in a sentence are read whole, with their units; number words become digits."""

import pytest

from vlmrl.reading.formulas import formulas, in_digits


@pytest.mark.parametrize(("sentence", "expected"), [
    ("The area equals 9π - 18.", ["9π - 18"]), ("Thus x = 1 + √2", ["x = 1 + √2"]), ("3 + 5 = 8 apples", ["3 + 5 = 8"]),
    ("the line y = 2x + 1, and 5", ["y = 2x + 1", "5"]), ("It takes 1 1/2 hours", [r"1 1/2\text{ hours}"]),
    ("$5$ cm, not 25 cm².", [r"5\text{ cm}", r"25\text{ cm}²"]),
    ("25 million people", [r"25\text{ million}\text{ people}"]),
    ("the point (2, -1).", ["(2, -1)"]), ("the set {1, 2, 3}.", ["{1, 2, 3}"]), (r"\( x = 3 \) holds", [" x = 3 "]),
    ("from $5 and $10", ["$5", "$10"]), ("about 12.5%", ["12.5%"]), 
    ("共有3种方法", ["3"]), ("the 3rd of the 2-digit", []),
    ("a ratio of 3 to 1", ["3 : 1"]), ("**x² + 1**", ["x² + 1"]), ("no numbers here", []),
])  # fmt: skip
def test_formulas_are_whole(sentence: str, expected: list[str]) -> None:
    assert [span.text for span in formulas(sentence)] == expected


@pytest.mark.parametrize(("sentence", "expected"), [
    ("twelve of the three sides", "twelve of the three sides"), ("twelve sides", "12 sides"), ("two thirds", "2/3"),
    ("five and a half", "5 1/2"), ("two million", "2 million"), ("one of them", "one of them"),
    ("twenty-one", "21"), ("the three rules", "the three rules"),
])  # fmt: skip
def test_number_words_become_digits_unless_they_refer_to_something_known(sentence: str, expected: str) -> None:
    assert in_digits(sentence) == expected
