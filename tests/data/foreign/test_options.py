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
        "A. a cat|B. two dogs",
        "(A) a cat (B) two dogs",
        {"A": "a cat", "B": "two dogs"},
        {"label": ["A", "B"], "text": ONE_TWO},
        {"B": "two dogs", "A": "a cat", "C": None},
        {"label": ["B", "A"], "text": ONE_TWO[::-1]},
        [{"label": "A", "text": "a cat"}, {"label": "B", "text": "two dogs"}],
        [{"key": "A", "value": "a cat"}, {"key": "B", "value": "two dogs"}],
        [["A", "a cat"], ["B", "two dogs"]],
        ["(a) a cat", "(b) two dogs"],
        ["a) a cat", "b) two dogs"],
        ["a cat", "two dogs", None],
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
    with pytest.raises(UserError, match="1 is both the number of an option and the text of another"):
        converted(tmp_path, row(["1", "2"], 1), verifier="choice")


@pytest.mark.parametrize("answer", [1, "1", "1.", "(1)", "1. a cat", "a cat"])
@pytest.mark.parametrize("options", [["1. a cat", "2. two dogs"], {"1": "a cat", "2": "two dogs"}, ONE_TWO])
def test_numbered_options_count_from_one(tmp_path, options, answer) -> None:
    (sample,) = converted(tmp_path, row(options, answer, "Which?\n1. a cat\n2. two dogs"))
    assert sample.messages[0].content.endswith("\nA. a cat\nB. two dogs")
    assert score(sample, "A").score == 1.0
    assert score(sample, "B").score == 0.0


def test_numbers_that_are_the_options_are_not_their_labels(tmp_path) -> None:
    (sample,) = converted(tmp_path, row(["1.5 cm", "2.5 cm"], "2.5 cm"))
    assert sample.reward[0].params == {"choices": ["1.5 cm", "2.5 cm"]}


@pytest.mark.parametrize(
    "options", [{"A": "a cat", "C": "two dogs"}, ["a cat", None, "two dogs"], {"A": None, "B": "x"}]
)
def test_an_option_that_is_missing_between_others_is_an_error(tmp_path, options) -> None:
    with pytest.raises(UserError, match=r"rows.jsonl:1: options: .* is missing; correct the row"):
        converted(tmp_path, row(options))
    with pytest.raises(UserError, match="is missing; correct the row"):
        converted(tmp_path, {"question": "What?", "answer": "C", "A": "a cat", "B": None, "C": "two dogs"})


def test_two_columns_of_other_options_are_an_error(tmp_path) -> None:
    with pytest.raises(UserError, match="options and choices differ"):
        converted(tmp_path, row(ONE_TWO) | {"choices": ["a cat", "a cow"]})


@pytest.mark.parametrize("options", ["a cat or two dogs", ["a cat"], [["a cat", "two dogs"], ["a cow", "a hen"]]])
def test_what_is_no_list_of_options_is_an_error(tmp_path, options) -> None:
    with pytest.raises(UserError, match=r"rows.jsonl:1: options: expected a list of at least two texts, got"):
        converted(tmp_path, row(options))


@pytest.mark.parametrize("options", [None, [], "", "[]", [None, None], {"A": None, "B": None}])
def test_null_forms_are_no_options(tmp_path, options) -> None:
    assert converted(tmp_path, row(options, "a cow"))[0].reward[0].verifier == "exact"
