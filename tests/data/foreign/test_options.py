"""Options of other toolkits: read from every form, parameters of the verifier, and in the prompt exactly once."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.converted import converted

from vlmrl import UserError
from vlmrl.rewards.composite import score

ONE_TWO = ["a cat", "two dogs"]


def row(options: Any, answer: Any = "B", question: str = "What is it?") -> dict[str, Any]:
    return {"question": question, "answer": answer, "options": options}


@pytest.mark.parametrize(
    "options",
    [
        ONE_TWO,
        str(ONE_TWO),
        '["a cat", "two dogs"]',
        ["A. a cat", "B. two dogs"],
        ["(A) a cat", "(B) two dogs"],
        ["A) a cat", "B) two dogs"],
        "A. a cat\nB. two dogs",
        {"A": "a cat", "B": "two dogs"},
        {"label": ["A", "B"], "text": ONE_TWO},
    ],
)
def test_options_in_every_form(tmp_path, options) -> None:
    (sample,) = converted(tmp_path, row(options))
    assert sample.messages[0].content == "What is it?\nA. a cat\nB. two dogs"
    assert sample.reward[0].params == {"choices": ONE_TWO}
    assert score(sample, "<answer>two dogs</answer>").score == 1.0


def test_options_in_columns_of_letters(tmp_path) -> None:
    (sample,) = converted(tmp_path, {"question": "What?", "answer": "B", "A": "a cat", "B": "two dogs", "C": None})
    assert sample.reward[0].params == {"choices": ONE_TWO}


@pytest.mark.parametrize(
    "question", ["Is it a cat or two dogs?", "What?\n(A) a cat\n(B) two dogs", "What? A: a cat; B: two  dogs"]
)
def test_options_that_the_prompt_shows_are_not_repeated(tmp_path, question) -> None:
    (sample,) = converted(tmp_path, row(ONE_TWO, question=question))
    assert sample.messages[0].content == question


@pytest.mark.parametrize(("answer", "letter"), [(1, "B"), ("1", "B"), ("two dogs", "two dogs"), ("(B)", "(B)")])
def test_the_answer_is_a_letter_an_index_or_a_text(tmp_path, answer, letter) -> None:
    (sample,) = converted(tmp_path, row(ONE_TWO, answer))
    assert sample.reward[0].target == letter
    assert score(sample, "B").score == 1.0


def test_an_index_that_is_also_a_text_is_an_error(tmp_path) -> None:
    with pytest.raises(UserError, match="1 is both the index of an option and the text of another"):
        converted(tmp_path, row(["1", "2"], 1), verifier="choice")
