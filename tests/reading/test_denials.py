"""Which values a text denies or rejects; a denial ends with its clause."""

from __future__ import annotations

import pytest

import vlmrl
from vlmrl.reading.denials import is_denied, is_rejected, may_deny

NUMBERS = ("math", "numeric", "counting")
REMARKS = [
    "5, which is not the same as 6", "5; 6 would be wrong", "5, not 6", "5 (not 6)", "5. It is not 6.",
    "5; 6 cannot be right.", "5, rather than 6", "5 instead of 6", "5, as 6 would be wrong",
    "5, because 6 is too many", "5: 6 is incorrect",
    "5, which isn't 6", "5, which is less than 6", "5, which differs from 6.", "6 is not the answer, 5 is.",
    "It is 5; 6 would be too many.", "The answer is 5, which is not the same as 6.", "Answer: 5; 6 would be wrong",
]  # fmt: skip
REJECTIONS = [
    "5 is not the answer", "5 isn't right.", "5 is clearly wrong.", "5 cannot be the answer", "5, which is wrong",
    "5 (wrong)", "5 - that is wrong", "5 does not fit", "5 is the wrong count.", "5 is never the answer",
    "5 dogs is not the right count", "**5** is not the answer", "$5$ would be wrong",
    "It is 5. No, 5 is not the answer.", "5 is too many", "5 is not 6",
]  # fmt: skip
JOINED = ["5 or 6 is wrong", "5 to 6 is wrong", "not 6 and 5", "not six and five", "neither 6 nor 5", "not 6, 5"]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("text", REMARKS)
def test_a_remark_about_another_value_does_not_cancel_the_answer(name: str, text: str) -> None:
    verify = vlmrl.verifier(name)
    assert (verify(text, 5).score, verify(text, 6).score) == (1.0, 0.0)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("text", REJECTIONS)
def test_a_rejected_value_is_not_the_answer(name: str, text: str) -> None:
    assert vlmrl.verifier(name)(text, 5).score == 0.0


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("text", JOINED)
def test_a_denial_reaches_all_values_that_are_joined(name: str, text: str) -> None:
    assert vlmrl.verifier(name)(text, 5).score == 0.0


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "text", ["5, 6 would be right", "5; no, it is 6", "5, but 6 would be right", "5 is wrong, it is 6"]
)
def test_the_value_that_replaces_another_is_the_answer(name: str, text: str) -> None:
    assert vlmrl.verifier(name)(text, 5).score == 0.0


def test_what_denies_and_what_rejects() -> None:
    assert is_denied("7, which is not 6", 16, 17)
    assert not is_denied("7, which is not 6", 0, 1)
    assert is_denied("6 is not prime", 0, 1), "so it is no answer here, but may be one elsewhere"
    assert not is_rejected("6 is not prime", 1)
    assert is_rejected("6 would be wrong; it is 7", 1)
    assert not is_rejected("6 dogs that are not red", 1)
    assert not may_deny("It is 5.")
