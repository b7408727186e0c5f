"""Members of a group: length and correctness."""

from vlmrl.reading.members import correct, length
from vlmrl.verdict import Member


def test_length_is_in_tokens_or_else_in_words_and_marks() -> None:
    assert length(Member("one, two", tokens=7)) == 7
    assert length(Member("one, two", tokens=0)) == 0
    assert length(Member("one, two!")) == 4
    assert length(Member(" \n")) == 0


def test_correct_is_what_the_other_verifiers_put_above_the_bound() -> None:
    scores = [Member("", score=score) for score in (1.0, 0.5, 0.0, None)]
    assert correct(scores) == [True, False, False, None]
    assert correct(scores, above=0.2) == [True, True, False, None]
    assert correct([Member("a"), Member("b")]) == [True, True], "nothing else judges"
