"""Counting: which number an answer commits to, and what leaves several open."""

from typing import Any

import pytest

from vlmrl import catalog
from vlmrl.verdict import Verdict


def verify(response: str, target: Any, **params: Any) -> Verdict:
    return catalog.load("verifiers", "counting").verify(response, target, **params)


def score(response: str, target: Any, **params: Any) -> float | None:
    return verify(response, target, **params).score


@pytest.mark.parametrize("said", [
    "3", " 3\n", "**3**", "three", "Three.", "<answer>3</answer>", "There are 3 dogs, so 3.", "3.0",
    "Of 10 boxes, 3 are open.", "I count 1, 2, 3. So 3.", "<think>2 or 4?</think>3", "３", "There are three of them",
    "I see 3 dogs (two black, one white).", "one, two, three: 3 dogs",
    "<think>x</think>\n<answer>\nThere are 3.\n</answer>\n",
])  # fmt: skip
def test_counts_that_are_right(said: str) -> None:
    assert score(said, 3) == 1.0


@pytest.mark.parametrize("said", [
    "2 or 3", "3 or 2", "between 0 and 3", "a correct number between 0 and 3", "2-3", "2 to 3", "at least 3",
    "3 or more", "more than 3", "1, 2, 3", "not 3", "[number]", "-3", "3.5", "13", "3rd", "<think>3",
    "maybe 2, maybe 3", "3 (or 4)", "<3", "up to 3",
])  # fmt: skip
def test_counts_that_hedge_or_err(said: str) -> None:
    assert score(said, 3) == 0.0


@pytest.mark.parametrize("said", [
    "3 dogs: one left, two right", "There are 3 dogs in the image: 2 black and 1 white.",
    "3 dogs. Two sleep and one barks.",
    "There are 3 dogs:\n- 2 black\n- 1 white", "There are 3 dogs:\n1. a black one\n2. a white one\n3. a small one",
    "3 dogs. Two of them are black, one is white.", "There are 3 dogs, 2 of which are black.",
    "3 of the 10 animals are dogs.",
    "Answer: 3\n\n2 black, 1 white", "The answer is 3. There are 5 cats.",
    "3\n\nExplanation: I see 2 black dogs and 1 more.",
    "2 black + 1 white = 3 dogs", "Black: 2\nWhite: 1\nTotal: 3", "1. black\n2. white\n3. small\n\n**Answer: 3**",
    "共有三只狗，两只黑的，一只白的。", "图中有3只狗，其中2只是黑色，1只是白色。", "三只", "答案：三",
    "<answer>三只狗</answer>", r"\boxed{3\text{ dogs}}",
    "There are 3 dogs at 10:30.", "3 dogs, 2 on the left and 1 on the right.", "三只狗，左边两只，右边一只。",
    "Answer: 2 + 1 = 3",
    "Answer: 2 black dogs and 1 white dog, so 3.", "There are 3 dogs; 2 are black and 1 is white.",
    "Wait, 2? There is one more, so 3.", '{"count": 3}',
])  # fmt: skip
def test_a_total_may_be_followed_by_its_parts(said: str) -> None:
    assert score(said, 3) == 1.0
    assert score(said, 1) == score(said, 2) == 0.0


def test_a_number_of_each_is_no_total() -> None:
    assert score("There are six dogs: three on each side.", 6) == 1.0
    assert score("There are six dogs: three on each side.", 3) == 0.0


@pytest.mark.parametrize(("said", "true"), [
    ("a dozen eggs", 12), ("two dozen", 24), ("half a dozen", 6), ("十二", 12), ("二十三个", 23),
    ("一百零五", 105), ("两只", 2), ("一个", 1),
    ("没有狗。", 0), ("No dogs.", 0), ("I don't see any dogs.", 0), ("No dogs are visible.", 0),
    ("There aren't any dogs.", 0), ("There is a dog.", 1),
    ("There is a single dog.", 1),
])  # fmt: skip
def test_words_for_counts(said: str, true: int) -> None:
    assert score(said, true) == 1.0


@pytest.mark.parametrize("said", [
    "over 3", "3+", "almost 3", "nearly three", "close to 3", "as many as 3", "just under 3", "3-ish", "Is it 3?",
    "3?",
    "It could be 3.", "There may be 3 dogs", "about 3", "around three", "~3", "超过3只", "至少三只", "大约3只",
    "3只以上", "三只左右", "三四只", "两三只",
    "3. Wait, actually 4.", "The answer is 3. No, it is 4.", "3, 2, 1", "Figure 3", "3 million",
    r"\boxed{3} or \boxed{4}", "一样", "第三只",
    "3 dozen", "about a dozen",
])  # fmt: skip
def test_hedges_corrections_and_other_numbers_are_no_count(said: str) -> None:
    assert score(said, 3) == 0.0


@pytest.mark.parametrize(
    "said", ["I cannot see any", "There is no way to tell.", "no idea", "There is a lot of dogs", "没有办法判断"]
)
def test_a_refusal_is_no_count(said: str) -> None:
    assert score(said, 0) == score(said, 1) == 0.0


def test_an_approximation_counts_where_there_is_a_tolerance() -> None:
    assert score("about 101", 100, tolerance=0.05) == 1.0
    assert score("over 101", 100, tolerance=0.05) == 0.0


def test_count_tolerance_is_a_share() -> None:
    assert score("105", 100, tolerance=0.05) == 1.0
    assert score("106", 100, tolerance=0.05) == 0.0
    assert score("1", 0, tolerance=0.05) == 0.0


@pytest.mark.parametrize("said", ["3 oder 4", "3 ou 4", "3 o 4", "3 или 4", "3或4", "3还是4", "3 or 4"])
def test_alternatives_are_open_in_other_languages_too(said: str) -> None:
    for target in (3, 4):
        assert catalog.load("verifiers", "counting").verify(said, target).score == 0.0
