"""Option letters in a piece of an answer."""

import pytest

from vlmrl.reading.option_letters import (
    adds_another,
    at_start,
    leading,
    loose,
    run_together,
    stands_as_answer,
    without_negated,
)

FOUR = dict.fromkeys("ABCD", "")


@pytest.mark.parametrize(("text", "several", "said"), [
    ("B) because", False, {"B"}), ("(b)", False, {"B"}), ("A, B", False, set()), ("A, B", True, {"A", "B"}),
    ("A or B", True, set()), ("AC", True, {"A", "C"}), ("A cat", False, None), ("because", False, None),
    ("E", False, None), ("B, E.", False, set()),
])  # fmt: skip
def test_at_start(text: str, several: bool, said: set[str] | None) -> None:
    assert at_start(text, FOUR, several) == said


def test_loose_letters_are_no_articles_or_pronouns() -> None:
    assert loose("It is B, as A is too small", FOUR) == {"A", "B"}
    assert loose("A cat and I", FOUR) == set()
    assert loose("Is it B?", FOUR) == set()


@pytest.mark.parametrize(
    ("text", "left"), [("B, not A", "B,"), ("B is wrong. C", ". C"), ("neither A nor B: C", ": C")]
)
def test_without_negated(text: str, left: str) -> None:
    assert without_negated(text).strip() == left


@pytest.mark.parametrize(("text", "letter"), [
    ("B.", "B"), ("(b)", "B"), ("B because", "B"), ("B", "B"), ("But", ""), ("B cats", ""),
])  # fmt: skip
def test_leading(text: str, letter: str) -> None:
    assert leading(text) == letter


def test_run_together() -> None:
    assert run_together("AC", FOUR) == {"A", "C"}
    assert run_together("AE", FOUR) == set()


def test_stands_as_answer() -> None:
    assert stands_as_answer("B", "so B")
    assert not stands_as_answer("B", "vitamin B helps")


def test_adds_another() -> None:
    assert adds_another({"A"}, "A. Or B.", FOUR)
    assert adds_another({"A"}, "A; maybe B", FOUR)
    assert not adds_another({"A"}, "A, not B", FOUR)
