"""What did the model answer: marked spans and numbers, in any text."""

from fractions import Fraction

import pytest

from vlmrl.reading.answers import Answer, extract, find_numbers, parse_number


@pytest.mark.parametrize(("response", "answer"), [
    ("3", Answer("3", False)),
    ("<think>1 + 2</think> 3 ", Answer("3", False)),
    ("1 + 2</think>3", Answer("3", False)),
    ("<think>\\boxed{2}</think><answer>3</answer>", Answer("3", True)),
    ("<answer>2</answer> no, <ANSWER> 3 </ANSWER>", Answer("3", True)),
    ("<answer>3", Answer("3", True)),
    ("<answer></answer>", Answer("", True)),
    ("<answer>so <|begin_of_box|>3<|end_of_box|></answer>", Answer("3", True)),
    (r"\boxed{2} then \boxed{\frac{1}{3}}.", Answer(r"\frac{1}{3}", True)),
    (r"\boxed{a \boxed{3}", Answer("3", True)),
    (r"\boxed{\{3\}}", Answer(r"\{3\}", True)),
    ("```json\n[3]\n```", Answer("[3]", False)),
    ("<think>still at it", None),
    ("", Answer("", False)),
])  # fmt: skip
def test_extract(response: str, answer: Answer | None) -> None:
    assert extract(response) == answer


@pytest.mark.parametrize(("text", "values"), [
    ("1,234.5 and -3", [Fraction("1234.5"), -3]), ("３ − 2 is −1", [3, 2, -1]), ("3-4", [3, 4]),
    ("A3 3x4 3rd 1.2.3", []),
    ("twenty-one", [21]), ("A hundred and five", [105]), ("two hundred seventy six", [276]), ("thirteenth", []),
    ("有3只狗", [3]), ("9" * 5000, []), (".5", [Fraction(1, 2)]), ("zero", [0]),
])  # fmt: skip
def test_find_numbers(text: str, values: list[Fraction]) -> None:
    assert [number.value for number in find_numbers(text)] == values


def test_numbers_know_their_place() -> None:
    text = "of twenty-one dogs, 3 sleep"
    assert [text[number.start : number.end] for number in find_numbers(text)] == ["twenty-one", "3"]


def test_parse_number_wants_the_whole_text() -> None:
    assert parse_number(" 1,000. ") == 1000
    assert parse_number("3 dogs") is None
    assert parse_number("3 4") is None
    assert parse_number("1" * 5000) is None
