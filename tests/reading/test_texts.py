"""Plain texts: targets, and what prose answers."""

from typing import Any

import pytest

from vlmrl.reading.texts import answer_cue, check_texts, is_unmarked, readings, true_texts


def test_true_texts() -> None:
    assert true_texts("Paris") == ["Paris"]
    assert true_texts(["Paris", "City of Light"]) == ["Paris", "City of Light"]


@pytest.mark.parametrize("target", [None, 3, [], ["a", 3], {"a": "b"}])
def test_what_is_not_a_text(target: Any) -> None:
    with pytest.raises(ValueError, match="give a string or a list of strings"):
        true_texts(target)


@pytest.mark.parametrize("text", ["<answer>a</answer>", r"\boxed{a}", "<think>a", "a</think>b"])
def test_marked_texts_are_refused(text: str) -> None:
    assert not is_unmarked(text)
    with pytest.raises(ValueError, match="markup"):
        check_texts(["plain", text])
    check_texts([" plain ", "x < y"])


@pytest.mark.parametrize(("text", "after"), [
    ("The answer is 7", "7"), ("ANSWER: 7", "7"), ("answer is: 7", " 7"), ("答案是7", "7"),
    ("the answers are 7", None),
])  # fmt: skip
def test_answer_cue(text: str, after: str | None) -> None:
    cue = answer_cue(r"\s+is\b").search(text)
    assert (cue and text[cue.end() :]) == after


def test_readings_are_the_whole_and_the_line_after_the_last_cue() -> None:
    text = "The answer is Rome. No, the answer is Paris.\nI am sure."
    assert readings(text) == [text, "Paris."]
    assert readings("Paris") == ["Paris"]
