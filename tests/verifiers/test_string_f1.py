"""String F1: worked values of the SQuAD and ROUGE papers, symmetry, and texts without words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmrl import catalog

string_f1 = catalog.load("verifiers", "string_f1")

LAZY_DOG = "The quick brown fox jumps over the lazy dog"
LOG = "The quick brown dog jumps on the log."


def score(said: str, true: Any, metric: str = "f1") -> float:
    verdict = string_f1.verify(said, true, metric=metric)
    assert verdict.score is not None
    return verdict.score


def f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize(("said", "true", "metric", "value"), [
    # Lin 2004, section 3.1: S1 "police killed the gunman" against S2 and S3.
    ("police kill the gunman", "police killed the gunman", "rougeL", 3 / 4),
    ("the gunman kill police", "police killed the gunman", "rougeL", 2 / 4),
    ("police kill the gunman", "police killed the gunman", "rouge2", 1 / 3),
    ("the gunman kill police", "police killed the gunman", "rouge2", 1 / 3),
    # The example of the rouge-score package.
    (LOG, LAZY_DOG, "rouge1", f1(6 / 8, 6 / 9)),
    (LOG, LAZY_DOG, "rougeL", f1(5 / 8, 5 / 9)),
    (LOG, LAZY_DOG, "rouge2", f1(2 / 7, 2 / 8)),
    (LOG, LAZY_DOG, "rouge", (f1(6 / 8, 6 / 9) + f1(2 / 7, 2 / 8) + f1(5 / 8, 5 / 9)) / 3),
    # SQuAD: bags of words, without articles and punctuation.
    ("the brown fox", "a quick brown fox", "f1", 0.8),
    ("fox, fox!", "fox", "f1", f1(1 / 2, 1)),
    ("<think>a b c</think>the fox", ["dog", "brown fox"], "f1", f1(1, 1 / 2)),
])  # fmt: skip
def test_worked_values(said: str, true: Any, metric: str, value: float) -> None:
    assert score(said, true, metric) == pytest.approx(value)


def test_yes_and_no_are_whole_answers_as_in_hotpotqa() -> None:
    assert score("Yes.", "yes") == 1.0
    for said, true in [("yes it is", "yes"), ("yes", "no"), ("yes", "yes it is"), ("noanswer at all", "noanswer")]:
        assert score(said, true) == 0.0


@given(st.text("ab c.", max_size=20), st.text("ab c.", max_size=20), st.sampled_from(string_f1.METRICS))
def test_symmetric_and_one_on_itself(a: str, b: str, metric: str) -> None:
    assert score(a, b, metric) == pytest.approx(score(b, a, metric))
    assert score(a, a, metric) == 1.0


@pytest.mark.parametrize("metric", string_f1.METRICS)
def test_texts_without_words_and_of_one_word(metric: str) -> None:
    assert score("fox", "Fox", metric) == 1.0
    assert score("the", "a", metric) == score("?", "!", metric) == score("?", "", metric) == 0.0
    assert score("fox", "", metric) == score("", "fox", metric) == 0.0


def test_numbers_keep_their_signs() -> None:
    assert score("1.5", "15") == score("-5", "5") == score(".5", "5") == 0.0


def test_chinese_characters_are_words() -> None:
    assert score("一只红色的狗", "一只黑色的狗") == pytest.approx(5 / 6)
    assert score("一只红色的狗", "一只黑色的狗", "rougeL") == pytest.approx(5 / 6)


def test_an_answer_that_lists_everything_earns_little() -> None:
    words = " ".join(f"word{i}" for i in range(60))
    assert score(f"{words} fox", "fox") < 0.05
    assert score("fox " * 1000, "fox") == 0.0


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ValueError, match=r"bleu.*f1, rouge1"):
        string_f1.check_target("a", metric="bleu")


@pytest.mark.parametrize("said", [
    "Answer: a red car", "**Answer:** a red car", "“A red car.”", r"\boxed{\text{a red}\text{ car}}",
    "The answer is: **a red car**",
    "### Final Answer\na red car", '{"answer": "a red car"}',
    "Answer: a red car\n\nIt is parked on the left of the road.",
])  # fmt: skip
def test_what_leads_to_the_text_and_encloses_it_is_not_read(said: str) -> None:
    assert score(said, "a red car") == 1.0


@pytest.mark.parametrize(
    "said", ["The answer is not yes", "yes or no", r"\boxed{yes} or \boxed{no}", "I don't think the answer is yes"]
)
def test_hedges_and_denials_earn_nothing_for_yes(said: str) -> None:
    assert score(said, "yes") == 0.0
