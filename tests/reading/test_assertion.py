"""What of a text its author stands by."""

from __future__ import annotations

import pytest

import vlmrl
from vlmrl.reading.assertion import asserted, is_asserted

NOTHING = [
    "Could the number of sides be 5?",
    "Is it 5?",
    "是 5 吗？",
    "If the reflections counted, there would be 5.",
    "If the reflections were counted, there would be 5 birds.",
    "Had we counted the centre, there would be 5.",
    "Without the shadow there would be 5.",
    "It would have been 5.",
    "The student claims that the answer is 5, which is wrong.",
    "Somebody might say 5, but that is wrong.",
    "I doubt that it is 5.",
    "I'm not convinced that the area is 5.",
    "The side cannot be 5.",
    "It is unlikely to be 5.",
    "If the last one counted, I'd say 5.",
    "Some believe it is 5; this is false.",
    "The caption says 5. That is a mistake.",
    "Tom says it is 5; he is mistaken.",
    "Some believe it is 5 - this is false.",
    "It is claimed that there are 5. The claim is false.",
    "Some believe it is 5: false.",
    "Many say 5; I disagree.",
    "It is 5. That is not right.",
    "It is not the case that it is 5.",
    "如果算上倒影，会有 5 个。",
    "边长不是 5。",
]
SOMETHING = [
    "If x = 2, then the answer is 5.",
    "If we add them, we get 5, so the answer is 5.",
    "If you look closely, there are 5.",
    "If I had to choose, I would say 5.",
    "So the answer would be 5.",
    "Is it 4? No, it is 5.",
    "The student claims that the answer is 6, which is wrong: it is 5.",
    "It is not 4 but 5.",
    "Some believe it is 4; this is false. It is 5.",
    "Others say 4. They are wrong. The answer is 5.",
    "It is 5. This is true.",
    "It is 5; the other claim is false.",
    "There is no doubt that it is 5.",
    "I am not sure, but it is 5.",
    "It is 5, otherwise the roof would fall.",
]


@pytest.mark.parametrize("text", NOTHING)
def test_what_is_asked_supposed_doubted_or_denied_is_not_asserted(text: str) -> None:
    assert "5" not in asserted(text)


@pytest.mark.parametrize("text", SOMETHING)
def test_what_the_author_concludes_stays(text: str) -> None:
    assert "5" in asserted(text)


@pytest.mark.parametrize("text", [*NOTHING, *SOMETHING])
@pytest.mark.parametrize("name", ["math", "counting", "numeric"])
def test_readers_of_numbers_agree_on_what_is_asserted(name: str, text: str) -> None:
    assert vlmrl.verifier(name)(text, 5).score == float(text in SOMETHING)


@pytest.mark.parametrize("text", [*NOTHING, *SOMETHING])
def test_readers_of_places_and_options_agree_on_what_is_asserted(text: str) -> None:
    true = float(text in SOMETHING)
    box = text.replace("5", "[10, 20, 50, 60]").replace("4", "[1, 2, 3, 4]").replace("6, which", "[1, 2, 3, 4], which")
    assert vlmrl.verifier("dynamic_iou")(box, [[10, 20, 50, 60]]).score == true
    span = text.replace("5", "from 10 to 20 seconds").replace("4", "from 1 to 2 seconds").replace(" 6,", " 1 to 2 s,")
    assert (vlmrl.verifier("temporal_iou")(span, [10, 20]).score or 0) == true
    letter = text.replace("5", "(B)").replace("4", "(A)").replace("6", "(C)")
    assert vlmrl.verifier("choice")(letter, "B").score == true


def test_a_cue_in_a_question_leads_to_no_answer() -> None:
    assert not is_asserted("Is the answer 5? I cannot tell.", 3)
    assert is_asserted("Is it 4? The answer is 5.", 9)


def test_wait_that_is_wrong_takes_back_what_stands_before_it() -> None:
    assert vlmrl.verifier("choice")("Answer: C\n\nWait, that is wrong. It should be B.", "C").score == 0


@pytest.mark.parametrize("said", ["No, if it were red, it would stop.", "No, without it the car would move."])
def test_a_counterfactual_explains_what_stands_before_it(said: str) -> None:
    assert vlmrl.verifier("yes_no")(said, "no").score == 1.0
