"""Choice: what commits to an option and what does not, in free text, behind cues, in marks, by text."""

from typing import Any

import pytest

from vlmrl import catalog
from vlmrl.reading import options

FOUR = ["first", "second", "third", "fourth"]
CITIES = ["London", "Paris", "Berlin", "Rome"]


def score(response: str, target: Any, **params: Any) -> float | None:
    return catalog.load("verifiers", "choice").verify(response, target, **params).score


@pytest.mark.parametrize("response", [
    "'B'", "(b)", "{B}", "option b", "[B]", "B - second", "I would choose B.", "I'd go with B", "I think B", "So B",
    "Therefore, B is correct.", "The answer must be B", "### Final Answer\n\n**B**", "#### B", "Answer B",
    r"\boxed{\textbf{(B)}\ second}", r"\boxed{\text{B. second}}", "A is wrong. B is right.", "A is incorrect, so B",
    "Not A. B.", "Not A, C, or D, so B", "B rather than A", "B instead of A", "D is not the answer, B is",
    "A: no\nB: yes\nC: no\nD: no\nSo B", "A. first\nB. second\nC. third\nD. fourth\nAnswer: B",
    "Options: (A), (B), (C). The correct one is (B).", "I considered (A) and (C). Therefore (B).",
    "(A) looks right but (B) fits. Therefore, option (B) is the correct answer.", 
    "B\n\nExplanation: A and C are wrong.",
    "选B", "故选B", "B选项正确", "我认为答案是B，不是A", "（B）", "I think it is second because first is wrong",
])  # fmt: skip
def test_what_commits_to_an_option(response: str) -> None:
    assert score(response, "B", choices=FOUR) == 1.0


@pytest.mark.parametrize("response", [
    "It cannot be B", "B is wrong", "B is not correct", "B is false", "Everything but B", "all except B", "B? No.",
    "Is it B?", "Answer: anything but B", "Vitamin B is good", "grade: B+", "Plan B", "B12", "not second",
    "The answer is not second", "neither first nor second", "Answer: B, but C could be right too",
    "Answer: B; C is also possible", "Answer: B or maybe C", "Answer: A|B|C|D", "Answer: A, B", "A B C D", "ABCD",
    r"\boxed{A}, \boxed{B}", r"\boxed{A} or \boxed{B}", r"\boxed{A} \boxed{B}",
    "<answer>A</answer> or <answer>B</answer>",
    "(A) first (B) second", "A. first\nB. second\nC. third\nD. fourth", "A) first B) second C) third D) fourth",
    "first or second", "secondary", "Answer: [LETTER]", "<answer></answer>", "E", "I", "Be careful", "<think>B",
])  # fmt: skip
def test_what_commits_to_none_or_another(response: str) -> None:
    assert score(response, "B", choices=FOUR) == 0.0


@pytest.mark.parametrize(("response", "right"), [
    ("The capital is Paris, not London.", 1.0), ("Not London but Paris", 1.0), ("London is wrong; Paris", 1.0),
    ("I like London more. The one in the picture is Paris.", 1.0), ("Parisian", 0.0), ("London, Paris", 0.0),
    ("Answer: Paris (B)", 1.0), ("Paris is nice, so is London", 0.0),
])  # fmt: skip
def test_options_by_text(response: str, right: float) -> None:
    assert score(response, "B", choices=CITIES) == right


@pytest.mark.parametrize(("response", "right"), [
    ("The answer is A, and C.", 1.0), ("选AC", 1.0), ("first and third", 1.0), (r"\boxed{A} and \boxed{C}", 1.0),
    ("A is right. C is right. B is wrong. D is wrong.", 1.0), ('["A","C"]', 1.0), ("Answer: (A)(C)", 1.0),
    ("Answer: A or C", 0.0), ("Answer: A,C,E", 0.0), ("A maybe C", 0.0), ("Answer: A,B,C", 0.0), ("C", 0.0),
])  # fmt: skip
def test_several_options(response: str, right: float) -> None:
    assert score(response, ["A", "C"], choices=FOUR, multiple=True) == right


def test_articles_and_pronouns_are_no_options() -> None:
    for response in ("A dog is in the picture", "The answer is A dog", "Answer is a dog", "I would say so"):
        assert options.read(response) == frozenset()
    assert options.read("A is correct here") == {"A"}
    assert options.read("Answer: I") == {"I"}


def test_targets_by_letter_text_and_sentence() -> None:
    for target in (
        "B",
        "b",
        "(B)",
        "Paris",
        "paris.",
        "B. Paris",
        "After all\nthe answer is B",
        r"\boxed{B}, the answer is B",
    ):
        assert options.letters(target, CITIES) == {"B"}
    for target in ("Tokyo", "E", "Paris or London", "", 2, []):
        with pytest.raises(ValueError, match="target"):
            options.letters(target, CITIES)


HOSTILE = [
    *("not A ", "A or ", "(A) ", "A" + " " * 50, "\n", " ", "answer: ", "# answer", "A,", "n't ", "A is wrong ", "A)"),
    *("first ", "not first ", r"\boxed{A} and ", "<answer>A</answer> or ", "选", "A))))", "maybe "),
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_long_responses_are_read_in_linear_time(piece: str) -> None:
    for response in (piece * 20_000, "not A" + piece * 20_000 + "or B", "answer: A" + piece * 20_000):
        for params in ({}, {"choices": FOUR}, {"multiple": True}):
            assert score(response, "B", **params) in (0.0, 1.0)


PLACES = ["London", "Paris", "Berlin", "New Paris"]


@pytest.mark.parametrize("said", [
    "B", "b", "(B)", "B.", "B) Paris", "**B**", "Answer: B", "answer is (b)", "<answer>B</answer>", r"\boxed{B}",
    r"\boxed{\text{Paris}}", "Paris", "the city of Paris", '{"choice": "b"}', "ANSWER: B, not C",
    "B because A is wrong", "It's not A, so I think it's B", "答案：B，因为A是错的", "I said A.\nAnswer: B",
    "B, I think", "I think A is wrong, B is right",
])  # fmt: skip
def test_choices_that_are_right(said: str) -> None:
    assert score(said, "B", choices=PLACES) == 1.0
    assert score(said, "paris", choices=PLACES) == 1.0


@pytest.mark.parametrize("said", [
    "A or B", "A, B", "A/B", "B or C", "Answer: A B C D are all plausible", "Answer: [LETTER]", "any of them", "",
    "London or Paris",
    "A capital city", "Answer: B or maybe C", "B. Or C.", "Answer: B; maybe C",
     "New Paris", "not B", "ANSWER: (see the diagram above)", "E", "(A) or (B)",
])  # fmt: skip
def test_choices_that_hedge_or_err(said: str) -> None:
    assert score(said, "B", choices=PLACES) == 0.0


def test_several_options_need_the_exact_set() -> None:
    for said in ("A, C", "AC", "C and A", "(A, C)", "Answer: A,C", "Answer: AC"):
        assert score(said, ["A", "C"]) == 1.0
    for said in ("A", "A, B, C", "C"):
        assert score(said, ["A", "C"]) == 0.0


@pytest.mark.parametrize("response", [
    "The answer is B. A is too small.", "The answer: B, it doesn't make sense for it to be A or C",
    "B. A and C are close.",
    "ANSWER: (B) A and C, then D", "**Answer: B**\n\nOption A is wrong. Option C is too hot.",
    "B, since neither A nor C fits.",
    '{"answer": "B", "reason": "A is too hot"}', "{'answer': 'B'}", "The answer is: `B`", "Answer: \\(B\\)",
    "‘B. second’", "Ａｎｓｗｅｒ：Ｂ",
    "Answer: B\n\nReason: although A is close, it's not correct.", "B. Although C is also small, it is round.",
    "B; A, C and D can be ruled out.", "B. Wait, let me check A again. A is too small. Yes, B.",
    r"<|begin_of_box|>\text{B}<|end_of_box|>",
    "\\boxed{B}\n\n\\boxed{B}",
])  # fmt: skip
def test_an_explanation_may_name_other_letters(response: str) -> None:
    assert score(response, "B", choices=FOUR) == 1.0


@pytest.mark.parametrize("response", [
    "Answer: B. Hmm, actually it is C.", "B... no, C.", "B. Sorry, I meant C.",
    "Answer: B\n\nWait, that is wrong. It should be C.",
    "second. Wait, it is third", "It could be B.", "It could possibly be second.", "It may be B", "Perhaps second",
    "I don't think the answer is B.", "I'm not sure whether it is B.", "I doubt that it is second",
    "Answer: A is correct. Or B.", "B, but I'm not certain; it could be C", "Answer: B or Answer: C",
    "Answer: C or Answer: B",
    "<answer>A</answer>\n<answer>B</answer>", "A\nB\nC\nD", "The answer is A. B is too small.",
])  # fmt: skip
def test_what_is_corrected_doubted_or_merely_explained(response: str) -> None:
    assert score(response, "B", choices=FOUR) == 0.0


@pytest.mark.parametrize(("response", "choices"), [
    ("<answer>$8</answer>", ["$6", "$8"]), ("It costs $8.", ["$6", "$8"]),
    (r"\boxed{\frac{1}{3}}", [r"\frac{1}{2}", r"\frac{1}{3}"]),
    (r"The answer is $\dfrac{1}{3}$.", ["$1/2$", "$1/3$"]), ("x^3", ["$x^2$", "$x^3$"]), (r"\(x^{3}\)", ["x²", "x³"]),
    ("weight", ["A) none", "B) weight"]), ("狗", ["（A）猫", "（B）狗"]), ("15cm", ["10 cm", "15 cm"]),
    ("It is 15 cm long.", ["10cm", "15cm"]),
    ("12000", ["1,200", "12,000"]), (r"\boxed{60^\circ}", ["45°", "60°"]), ("60", ["45°", "60°"]),
    ("four", ["3", "4"]),
    (r"$1.5 \times 10^4$ J", ["1.5 × 10^3 J", "1.5 × 10^4 J"]), ("<answer>B and C</answer>", ["A", "B and C"]),
    ("Answer: B and C", ["only A", "B and C"]), ("A dog", ["A cat", "A dog"]),
    ("这是上海。", ["北京", "上海"]), ("π", ["$2$", r"$\pi$"]), ("【B】", ["x", "y"]),
])  # fmt: skip
def test_texts_of_options_in_other_spellings(response: str, choices: list[str]) -> None:
    assert score(response, "B", choices=choices) == 1.0
    assert score(response, "A", choices=choices) == 0.0


@pytest.mark.parametrize(("response", "choices"), [
    ("at least 4", ["3", "4"]), ("between 3 and 4", ["3", "4"]), ("4 or more", ["3", "4"]),
    ("15", ["15 cm", "15 m"]), ("115 cm", ["10 cm", "15 cm"]),
    ("not 15 cm", ["10 cm", "15 cm"]), ("120,000", ["1,200", "12,000"]),
])  # fmt: skip
def test_numbers_that_name_no_option(response: str, choices: list[str]) -> None:
    assert score(response, "A", choices=choices) == 0.0
    assert score(response, "B", choices=choices) == 0.0


_PHASES = ["mitosis", "meiosis", "osmosis"]


@pytest.mark.parametrize(
    "response", ["A. meiosis", "so (A) meiosis", "Answer: A (meiosis)", "A) osmosis, as water moves"]
)
def test_a_letter_with_the_text_of_another_option_names_none(response: str) -> None:
    assert [score(response, letter, choices=_PHASES) for letter in "ABC"] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("response", [
    "A. Mitosis. Meiosis makes gametes.", "A. Unlike meiosis, mitosis keeps the number.", "I would choose A",
    "The cell is undergoing **A. mitosis**", "No doubt remains: it's A!",
])  # fmt: skip
def test_a_letter_with_its_own_text_or_an_explanation_is_that_option(response: str) -> None:
    assert score(response, "A", choices=_PHASES) == 1.0


def test_a_letter_in_bold_with_its_text_needs_no_choices() -> None:
    assert score("The cell is undergoing **A. prophase**", "A") == 1.0
    assert score("**A. prophase** comes before **B. metaphase**", "A") == 0.0


@pytest.mark.parametrize(
    ("response", "expected"), [("Animal cell", 1.0), ("The animal cell", 1.0), ("Plant cell", 0.0)]
)
def test_articles_of_option_texts_do_not_count(response: str, expected: float) -> None:
    assert score(response, "A", choices=["an animal cell", "a plant cell"]) == expected


COLOURS = ["red", "green", "blue"]


@pytest.mark.parametrize("said", [
    "B: red or green", "B. green or red", "(B) green or blue", "Answer: B: red or green", "B (red or green)",
    "B: green/red",
    "B. It is red or green.", "B: green, or maybe blue", r"\boxed{B: red or green}", "B, green, possibly red",
    "B; red or green",
])  # fmt: skip
def test_an_explanation_that_offers_two_options_names_none(said: str) -> None:
    assert score(said, "B", choices=COLOURS) == 0.0


@pytest.mark.parametrize("said", [
    "B, the red one", "B (the red one)", "B. The red one.", "B, which is red", "B, that is, red", "B = red",
    "B, the red car",
    "Answer: B, the red one", "B. It is red.", r"\boxed{B, the red one}", "So B, the red one", "B, a red one",
])  # fmt: skip
def test_an_explanation_that_is_the_text_of_another_option_names_none(said: str) -> None:
    assert score(said, "B", choices=COLOURS) == 0.0


@pytest.mark.parametrize("said", [
    "B: green, not red", "B: green because it is not red or blue", "B: green, neither red nor blue",
    "B: green or so it seems",
    "B, the green one", "B, since the red one is smaller", "B, next to the red one", "B, because red is too dark",
    "B. The red one is behind the tree, the green one is in front.", "B, the green one beside the red one",
    "B. The light is green, red or blue would look different.", "B, a green one", "B: green (not red or blue)",
])  # fmt: skip
def test_an_explanation_may_mention_other_options(said: str) -> None:
    assert score(said, "B", choices=COLOURS) == 1.0


def test_an_option_may_be_an_alternative_or_extend_another() -> None:
    assert score("B: red or green", "B", choices=["blue", "red or green"]) == 1.0
    assert score("B. Either red or green", "B", choices=["red", "either red or green"]) == 1.0
    assert score("B: red or green", "B") == 1.0, "without texts it may be that of B"
    assert score("B, the red car", "B", choices=["red", "red car"]) == 1.0
    assert score("B, a dog", "B", choices=["cat", "dog"]) == 1.0
