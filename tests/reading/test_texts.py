"""Plain texts: targets, and what prose answers."""

from typing import Any

import pytest

from vlmrl.reading.texts import check_texts, is_unmarked, readings, true_texts


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


@pytest.mark.parametrize(("response", "texts"), [
    ("Paris", ["Paris"]),
    ("**Answer:** Paris\n\nIt is on the Seine.", [
        "**Answer:** Paris\n\nIt is on the Seine.", "Answer: Paris\n\nIt is on the Seine.",
        "Paris\n\nIt is on the Seine.", "Paris\n\nIt is on the Seine", "Paris",
    ]),
    (r"\boxed{\text{grey} cat}", [r"\text{grey} cat", "grey cat"]),
    ("\"STOP\"", ["\"STOP\"", "STOP"]),
    ("<think>Paris", []),
])  # fmt: skip
def test_readings_are_the_whole_what_follows_the_cue_and_its_first_line(response: str, texts: list[str]) -> None:
    assert readings(response) == texts


@pytest.mark.parametrize(
    ("response", "text"),
    [
        ('The sign says "STOP".', "STOP"),
        ("The text in the image reads: STOP", "STOP"),
        ("It is blue.", "blue"),
        ("The number on the jersey is 23.", "23"),
        ("图中的文字是：停车", "停车"),
        ("Text: STOP", "STOP"),
        ("The answer is Blue because it is tall.", "Blue"),
        ('{"text": "STOP"}', "STOP"),
        ("### Text in the image\nSTOP", "STOP"),
        ("## Transcription\n\nSTOP", "STOP"),
    ],
)
def test_a_short_statement_is_read_like_a_cue(response: str, text: str) -> None:
    assert readings(response)[-1] == text


@pytest.mark.parametrize(
    "response",
    [
        'The sign does not say "STOP".',
        "Nobody says STOP",
        "I doubt the sign says STOP",
        "### Not the text\nSTOP",
        "There is no sign",
    ],
)
def test_a_denial_states_nothing(response: str) -> None:
    assert readings(response) == [response]
