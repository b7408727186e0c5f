"""What a text in words answers; what it leaves open, denies or takes back is no answer."""

import pytest

from vlmrl.reading.sentences import in_words, plain_bold, without_citations


@pytest.mark.parametrize(("text", "expected"), [
    ("There are 12 sequences that meet the three conditions.", "12"), ("We count.\nThere are twelve.", "12"),
    ("So **12** sequences meet 3 conditions.", "12"), ("The maximum is 14 when x = 3.", "14"),
    ("The minimum is 14, which occurs at x = 3.", "14"), ("The roots are 2 and -5.", "2, -5"),
    ("It is 60, not 30.", "60"),
    ("The solution is $x = 2$, $y = -1$.", "x = 2, y = -1"), ("The day is **Monday**.", "Monday"),
    ("The value of $x$ is twelve.", "12"), ("As figure 3 shows, it is 5.", "5"),
    ("In 2020, 5 people came.", r"5\text{ people}"),
])  # fmt: skip
def test_the_last_sentence_answers(text: str, expected: str) -> None:
    assert in_words(text) == expected


@pytest.mark.parametrize("text", [
    "It is not 5.", "It might be 5.", "It is 3 or 5 or so.", "It is at least 5.", "Is it 5?", "if x = 5 then",
    "the square root of 5", "5 squared", "It lies between 4 and 5.", "as step 5 shows us", "no idea at all",
])  # fmt: skip
def test_what_is_open_or_denied_or_calculated_with_is_no_answer(text: str) -> None:
    assert in_words(text) is None


@pytest.mark.parametrize(("text", "expected"), [
    ("12, since 3 of 4 rows are full.", "12"), ("8 (4 rows of 2)", "8"), ("5. Hmm, actually it is 7.", "7"),
    ("14 (option C).", "14"), ("probably 5", "5"), ("3/5\n\nIt was hard.", "3/5"), ("square pyramid.",
    "square pyramid."),
    ("unknown (maybe 5)", None), ("5 if n is even, else 6", None),
])  # fmt: skip
def test_after_a_cue_the_text_begins_with_its_answer(text: str, expected: str | None) -> None:
    assert in_words(text, cued=True) == expected


def test_bold_is_not_a_power() -> None:
    assert plain_bold("AB = **5**") == "AB = 5"
    assert plain_bold("2**3**2") == "2**3**2"


@pytest.mark.parametrize("text", [
    "x = 9, using (1) and (2)", "x = 9 by (1)", "x = 9, from (1), (2) and (3)", "x = 9 (from (1) and (2))",
    "By (1) and (2), x = 9", "x = 9, substituting (1) into (2)", "x = 9, using eq. (1) and eq. (2)",
    "x = 9 using $(1)$ and $(2)$", "x = 9, using Eqs. (1)-(2)",
])  # fmt: skip
def test_cited_equations_are_no_part_of_the_answer(text: str) -> None:
    assert without_citations(text) == "x = 9"


@pytest.mark.parametrize(
    "text", ["x = (1)", "from (0, 0) to (1, 2)", "6 divided by (2)", "the point (1)", "f(1) and f(2)"]
)
def test_other_numbers_in_parentheses_stay(text: str) -> None:
    assert without_citations(text) == text
