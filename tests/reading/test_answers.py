"""What did the model answer: marked spans and numbers, in any text."""

from fractions import Fraction

import pytest

from vlmrl.reading.answers import Answer, extract, marked
from vlmrl.reading.markup import fold, plain
from vlmrl.reading.numbers import find_numbers, parse_number


@pytest.mark.parametrize(("response", "answer"), [
    ("3", Answer("3", False)),
    ("<think>1 + 2</think> 3 ", Answer("3", False)),
    ("1 + 2</think>3", Answer("3", False)),
    ("<think>\\boxed{2}</think><answer>3</answer>", Answer("3", True)),
    ("<answer>2</answer> no, <ANSWER> 3 </ANSWER>", Answer("3", True)),
    ("<answer>3", Answer("3", True)),
    ("<answer></answer>", Answer("", True)),
    ("<answer>so <|begin_of_box|>3<|end_of_box|></answer>", Answer("3", True)),
    (r"\boxed{2} then \boxed{\frac{1}{3}}.", Answer(r"\frac{1}{3}", True)),
    (r"\boxed{a \boxed{3}", Answer("3", True)),
    (r"\boxed{\{3\}}", Answer(r"\{3\}", True)),
    ("```json\n[3]\n```", Answer("[3]", False)),
    ("<think>still at it", None),
    ("", Answer("", False)),
])  # fmt: skip
def test_extract(response: str, answer: Answer | None) -> None:
    assert extract(response) == answer


@pytest.mark.parametrize("response", [
    "Answer: 3", "**Answer:** 3", "**Answer: 3**", "**Answer**: 3", "answer=3", "The answer is **3**.", "ANSWER: `3`",
    "**Final Answer**\n\n3", "### Final Answer\n3", "## Answer:\n**3**", "Let me count.\n#### 3",
    "Result: **5**\nAnswer: 3",
    "The answer to the question is: $3$", "My answer was \\(3\\)", "答案：3", "【答案】３", "正确答案是 **3**。",
    "Ａｎｓｗｅｒ：3",
    '{"answer": 3}', '```json\n{"Final Answer": "3", "why": "three"}\n```', '"The answer is 3"',
    "Answer:\n```\n3\n```",
    "```\nAnswer: 3\n```", "```python\ncount = 4\n```\nThe answer is 3", "<answer>**Answer:** 3</answer>",
])  # fmt: skip
def test_a_cue_leads_to_the_answer(response: str) -> None:
    answer = extract(response)
    assert answer
    assert answer.cued
    assert fold(answer.text).rstrip(".。") == "3"


@pytest.mark.parametrize(
    ("response", "text"),
    [
        ("Answer: B. Hmm, actually it is C.", "B. Hmm, actually it is C."),
        ("**Answer: C**\n\nA is **too small**.", "C\n\nA is **too small**."),
        ("The answer is not 3", "not 3"),
        ("Answer: 2. No. The answer is 3 or 4", "3 or 4"),
    ],
)
def test_what_follows_a_cue_is_kept_in_full(response: str, text: str) -> None:
    assert extract(response) == Answer(text, marked=False, cued=True)


@pytest.mark.parametrize("response", [
    "I do not think the answer is 3", "I doubt that the correct answer is 3", "I don't know whether the answer is 3",
    "Maybe the answer is 3", "an answer", "The answers differ: 3", "What is the answer?", "answer:",
    "the answer is **",
])  # fmt: skip
def test_a_cue_that_asserts_nothing_leads_nowhere(response: str) -> None:
    answer = extract(response)
    assert answer
    assert not answer.cued


@pytest.mark.parametrize(("response", "text"), [
    (r"\boxed{\text{Blue}}", "Blue"), (r"\boxed{3}\n\n\boxed{3}", "3"), (r"\boxed{3} or \boxed{4}", "3 or 4"),
    (r"$\boxed{3}$, $\boxed{4}$", "3, 4"), (r"\boxed{3}: first. \boxed{4}", "4"),
    (r"<|begin_of_box|>$\text{Blue}$<|end_of_box|>", "Blue"), ("<answer>The answer is 3</answer>", "3"),
])  # fmt: skip
def test_boxes_and_tags(response: str, text: str) -> None:
    answer = extract(response.replace("\\n", "\n"))
    assert answer
    assert answer.marked
    assert answer.text == text


def test_marked_keeps_the_answer_as_it_stands() -> None:
    assert marked('<answer>"**STOP**"</answer>') == Answer('"**STOP**"', True)
    assert marked("Answer: 3") == Answer("Answer: 3", False)


@pytest.mark.parametrize("piece", [
    "answer", "answer is ", "answer to ", "#### ", "#### x", " ", "\n", "**", "*", "_a", "$", "{", "\\boxed{",
    "\\text{",
    '"', "```", "{\"answer\": [", "答案", "not ", "# * ", "or ",
])  # fmt: skip
def test_a_hostile_text_is_read_in_linear_time(piece: str) -> None:
    """Quadratic time would be minutes."""
    text = piece * (400_000 // len(piece))
    for hostile in (text, f"answer {text}x", f"<answer>{text}", f'{{"answer{text}}}', f"**{text}**"):
        extract(hostile)
        plain(hostile)


@pytest.mark.parametrize(("text", "values"), [
    ("1,234.5 and -3", [Fraction("1234.5"), -3]), ("３ − 2 is −1", [3, 2, -1]), ("3-4", [3, 4]),
    ("A3 3x4 3rd 1.2.3", []),
    ("twenty-one", [21]), ("A hundred and five", [105]), ("two hundred seventy six", [276]), ("thirteenth", []),
    ("有3只狗", [3]), ("9" * 5000, []), (".5", [Fraction(1, 2)]), ("zero", [0]),
])  # fmt: skip
def test_find_numbers(text: str, values: list[Fraction]) -> None:
    assert [number.value for number in find_numbers(text)] == values


def test_numbers_know_their_place() -> None:
    text = "of twenty-one dogs, 3 sleep"
    assert [text[number.start : number.end] for number in find_numbers(text)] == ["twenty-one", "3"]


def test_parse_number_wants_the_whole_text() -> None:
    assert parse_number(" 1,000. ") == 1000
    assert parse_number("3 dogs") is None
    assert parse_number("3 4") is None
    assert parse_number("1" * 5000) is None
