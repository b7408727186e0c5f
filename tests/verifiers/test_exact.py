"""Exact: each policy alone, what none of them may make equal, and the cue of an unmarked answer."""

from typing import Any

import pytest

from vlmrl import catalog

exact = catalog.load("verifiers", "exact")


def score(said: str, true: Any, **params: Any) -> float | None:
    return exact.verify(said, true, **params).score


@pytest.mark.parametrize("said", [
    "Paris", "paris", " PARIS\n", "Paris.", "**Paris**", '"Paris"', "(Paris)", "“Paris”", "Ｐａｒｉｓ",
    "ANSWER: Paris",
    "It rains a lot.\nAnswer: Paris\nSurely.", "The answer is Paris.", "**Answer:** Paris", "ANSWER:\nParis",
    r"\boxed{\text{Paris}}", "<think>London</think><answer>Paris</answer>", "答案：Paris。",
])  # fmt: skip
def test_texts_that_are_equal(said: str) -> None:
    assert score(said, "Paris") == 1.0


@pytest.mark.parametrize("said", [
    "Paris or London", "London or Paris", "Paris, London", "not Paris", "Paris, France", "Pari", "Paris Paris", "",
    "Answer: Paris or London", "The answer is not Paris", "<think>Paris", "Paris. Answer: London", "ＰＡＲＩ",
])  # fmt: skip
def test_texts_that_differ(said: str) -> None:
    assert score(said, "Paris") == 0.0


@pytest.mark.parametrize(("said", "true", "params"), [
    ("paris", "Paris", {"case": "keep"}),
    ("new york", "newyork", {"space": "collapse"}),
    ("new  york", "new york", {"space": "keep"}),
    ("Paris.", "Paris", {"punctuation": "keep"}),
    ("new-york", "new york", {"punctuation": "ends"}),
    ("the cat", "cat", {"articles": "keep"}),
    ("two", "2", {"words": "keep"}),
])  # fmt: skip
def test_what_a_policy_keeps(said: str, true: str, params: dict[str, str]) -> None:
    loose = {"case": "ignore", "space": "ignore", "punctuation": "ignore", "articles": "ignore", "words": "fold"}
    assert score(said, true, **params) == 0.0
    assert score(said, true, **loose) == 1.0


@pytest.mark.parametrize(("said", "true"), [
    ("1.5", "15"), ("-5", "5"), (".5", "5"), ("50%", "50"), ("+", "-"), ("Vitamin A", "Vitamin"), ("a", "the"),
    ("?", ""),
])  # fmt: skip
def test_no_policy_makes_these_equal(said: str, true: str) -> None:
    for punctuation in ("ends", "ignore"):
        assert score(said, true, punctuation=punctuation, space="ignore", words="fold") == 0.0
        assert score(true, said, punctuation=punctuation, space="ignore", words="fold") == 0.0


@pytest.mark.parametrize(("said", "true"), [
    ("Two", "2"), ("2", "two"), ("两个", "2"), ("三只", "three"), ("是的", "yes"), ("Yes.", "是"), ("没有", "no"),
    ("twenty-one", "21"), ("None", "0"),
])  # fmt: skip
def test_number_words_and_yes_no_words_fold(said: str, true: str) -> None:
    assert score(said, true, words="fold") == 1.0
    assert score(said, true) == 0.0
    assert score("健康", true, words="fold") == 0.0


def test_any_of_several_texts_is_accepted() -> None:
    assert score("NYC", ["New York", "nyc"]) == 1.0
    assert score("New York NYC", ["New York", "nyc"]) == 0.0


@pytest.mark.parametrize(("target", "params", "says"), [
    (7, {}, "7"), ([], {}, "text"), (["a", None], {}, "text"), ("<answer>a</answer>", {}, "markup"),
    ("a", {"case": "upper"}, "upper.*ignore, keep"), ("a", {"punctuation": "drop"}, "drop.*ends"),
])  # fmt: skip
def test_bad_targets_say_what_is_wrong(target: Any, params: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        exact.check_target(target, **params)
    assert exact.verify("a", target, **params).status == "bad_target"


@pytest.mark.parametrize(("said", "true"), [
    ("it’s red", "it's red"), ("it's red", "it’s red"), ("30–39", "30-39"), ("‘Paris’", "Paris"),
    ("__Paris__", "Paris"), ("**Answer: Paris**", "Paris"),
    ("### Final Answer\nParis", "Paris"), ('{"answer": "Paris"}', "Paris"),
    ("The answer to the question is Paris.", "Paris"), ("「巴黎」", "巴黎"),
    ("It is Paris.", "Paris"), ("Who?", "Who?"), ("- Paris", "Paris"), ("Final answer — Paris", "Paris"),
    ("In France, the capital is Paris.", "Paris"), ("The answer is Paris because it is the capital.", "Paris"),
    (r"\boxed{14\%}", "14%"), ("1，234", "1,234"),
    (r"$\frac{1}{2}$", r"\frac{1}{2}"), ('"Paris"', '"Paris"'), ("Answer: 5", "Answer: 5"),
])  # fmt: skip
def test_the_forms_in_which_models_print_a_text(said: str, true: str) -> None:
    assert score(said, true) == 1.0


@pytest.mark.parametrize("said", [
    "I don't think the answer is Paris", "Maybe the answer is Paris", r"\boxed{London} or \boxed{Paris}",
    "<answer>London</answer><answer>Paris</answer>",
    "Answer: Paris. Wait, London.", "It is not Paris.", "Is the answer Paris?", "Paris?", "Answer: Paris?",
    "The answer might be Paris.", "The capital is Paris or London",
    "Answer: Paris\nAnswer: London",
])  # fmt: skip
def test_what_is_doubted_denied_or_one_of_several(said: str) -> None:
    assert score(said, "Paris") == 0.0


def test_a_hyphen_between_words_is_a_space_or_nothing_where_punctuation_does_not_count() -> None:
    for said in ("well known", "wellknown", "Well-known!"):
        assert score(said, "well-known", punctuation="ignore") == 1.0
    assert score("new-york", "New York", punctuation="ignore") == 1.0
    assert score("well known", "well-known") == 0.0
    assert score("5", "-5", punctuation="ignore") == 0.0
