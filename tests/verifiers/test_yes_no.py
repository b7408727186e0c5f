"""Yes or no: the ways to commit, and the ways to keep both open."""

from typing import Any

import pytest

from vlmrl import catalog

yes_no = catalog.load("verifiers", "yes_no")


@pytest.mark.parametrize(("said", "true"), [
    ("Yes", "yes"), ("**Yes**", "yes"), ("no", "no"), ("No, there isn't.", "no"), ("No there is not", "no"),
    ("Yes it is", "yes"), ("I would say no.", "no"), ("So yes, it is", "yes"), ("It is true.", "yes"),
    ("The statement is false", "no"), ("Answer: No\nThe light is yellow", "no"), ("No. The man says yes.", "no"),
    ("<think>yes</think><answer>No</answer>", "no"), ("The answer is: **No**", "no"), ("No - it is red", "no"),
    ("Yes, no dog is visible", "yes"), ('"Yes"', "yes"), (r"\boxed{\text{No}}", "no"), ("是的，图中有一只狗", "yes"),
    ("否", "no"), ("没有", "no"), ("答案：是", "yes"), ("Ｙｅｓ", "yes"),
])  # fmt: skip
def test_commitments(said: str, true: str) -> None:
    other = {"yes": "no", "no": "yes"}[true]
    assert yes_no.verify(said, true).score == 1.0
    assert yes_no.verify(said, other).score == 0.0


@pytest.mark.parametrize("said", [
    "yes or no", "yes and no", "Yes, no", "yes/no", "yes no yes no", "yes. no.", "No. Yes.", "Yes. Actually, no.",
    "Yes, or maybe no", "Yes but no", "I cannot say yes or no", "either yes or no", "The answer is yes or no",
    "Answer: yes / no", "neither yes", "not yes", "It isn't true", "no idea", "No way to tell", "not sure", "maybe",
    "There is a dog", "There is no dog", "know", "yesno", "是否", "", "<think>yes",
])  # fmt: skip
def test_answers_that_commit_to_neither(said: str) -> None:
    for true in ("yes", "no"):
        verdict = yes_no.verify(said, true)
        assert (verdict.score, verdict.status) == (0.0, "unparsed")


@pytest.mark.parametrize(("target", "gold"), [
    ("Yes", "yes"), (True, "yes"), ("true", "yes"), ("是", "yes"), ("NO", "no"), (False, "no"), ("否", "no"),
])  # fmt: skip
def test_forms_of_the_target(target: Any, gold: str) -> None:
    assert yes_no.gold(target) == gold


@pytest.mark.parametrize("target", ["maybe", "yes no", "", 1, None, ["yes"]])
def test_bad_targets_say_what_is_wrong(target: Any) -> None:
    with pytest.raises(ValueError, match="neither yes nor no"):
        yes_no.check_target(target)


@pytest.mark.parametrize("said", [
    "**Answer: Yes**", "### Final Answer\nYes", '{"answer": true}', '```json\n{"answer": "Yes"}\n```',
    "<|begin_of_box|>Yes<|end_of_box|>", "“Yes.”",
    "Final Answer: \\boxed{\\text{Yes}}", "Yes\n\nThere is no cat.",
])  # fmt: skip
def test_the_forms_in_which_models_print_yes(said: str) -> None:
    assert yes_no.verify(said, "yes").score == 1.0


@pytest.mark.parametrize("said", [
    "It could be yes.", "I don't think the answer is yes.", "Is the answer yes?", "I doubt that it is true.",
    r"\boxed{no} or \boxed{yes}",
    "<answer>no</answer><answer>yes</answer>", "Perhaps yes", "I am not sure it is true",
])  # fmt: skip
def test_what_is_doubted_or_asked(said: str) -> None:
    assert yes_no.verify(said, "yes").score == 0.0


@pytest.mark.parametrize("said", ["Bus No. 5", "It is the No. 12 tram.", "Bus no. 5 stops here."])
def test_the_number_of_something_is_no_answer(said: str) -> None:
    assert yes_no.verify(said, "no").score == 0.0


def test_a_number_after_the_answer() -> None:
    assert yes_no.verify("No. 3 people are standing.", "no").score == 1.0


def test_a_condition_that_turns_the_answer_leaves_it_open() -> None:
    assert catalog.load("verifiers", "yes_no").verify("yes, unless no", "yes").score == 0.0
