"""Caption spans: the bugs of ViCrit's released scorer, kinds of errors, and captions without one."""

from statistics import fmean
from typing import Any

import pytest

from vlmrl import catalog
from vlmrl.verdict import Verdict

CAPTION = "Seven individuals stand by a red brick wall. A sign reads Westwood, and a low battery icon is shown."


def verify(response: str, target: Any, caption: str = CAPTION, **params: Any) -> Verdict:
    return catalog.load("verifiers", "caption_spans").verify(response, target, caption=caption, **params)


def score(response: str, target: Any, caption: str = CAPTION, **params: Any) -> float | None:
    return verify(response, target, caption, **params).score


@pytest.mark.parametrize(("wrong", "right", "said"), [
    ("Seven individuals", "Eight individuals", "seven"), ("Westwood", "Eastwood", r"\boxed{Westwood}"),
    ("low battery", "high battery", "a low battery"), ("red brick wall", "brick wall", "red"),
    ("a low battery icon", "a very low battery icon", "a low"),
])  # fmt: skip
def test_the_papers_examples(wrong: str, right: str, said: str) -> None:
    assert verify(said, {"wrong": wrong, "right": right}).score == 1.0


@pytest.mark.parametrize("said", [
    CAPTION, CAPTION.split(". ")[1], "a low battery sky", "slow", "low,", "battery", "low icon", "one of low or red",
    "none", "", "low high", "low\n" + CAPTION,
])  # fmt: skip
def test_one_changed_word_in_the_answer_is_not_enough(said: str) -> None:
    score = verify(said, {"wrong": "low battery", "right": "high battery"}).score
    assert score == (1.0 if said == "low," else 0.0)


def test_each_kind_of_error_has_its_part() -> None:
    target = {"wrong": "Westwood", "right": "Eastwood", "type": "text"}
    assert verify("Westwood", target).parts == {"echo": 0.0, "exact": 1.0, "type_text": 1.0}
    assert verify("red", target).parts["type_text"] == 0.0
    with pytest.raises(ValueError, match=r"colour.*color"):
        catalog.load("verifiers", "caption_spans").check_target(target | {"type": "colour"}, caption=CAPTION)
    for kind in catalog.load("verifiers", "caption_spans").TYPES:
        assert f"type_{kind}" in verify("Westwood", target | {"type": kind}).parts


@pytest.mark.parametrize("said", [
    "none", "None.", "No error.", "There are no errors in the caption.", "The caption is correct",
    "I see no mistakes",
    "<think>red?</think><answer>No error</answer>", "没有错误",
])  # fmt: skip
def test_a_clean_caption_must_be_called_clean(said: str) -> None:
    assert verify(said, "").score == 1.0
    assert verify(said, {"wrong": None}).parts["type_none"] == 1.0
    assert verify(said, {"wrong": "Westwood", "right": "Eastwood"}).score == 0.0


@pytest.mark.parametrize("said", ["Westwood", "red", CAPTION, "no red", "none or Westwood", "error", "", "not correct"])
def test_a_made_up_error_earns_nothing(said: str) -> None:
    assert verify(said, "").score == 0.0


def test_scripts_without_spaces() -> None:
    caption = "一只灰色的猫睡在沙发上。"
    target = {"wrong": "灰色的猫", "right": "灰色的狗"}
    assert verify("猫", target, caption).score == 1.0
    assert verify("灰色的猫", target, caption, slack=3).score == 1.0
    assert verify("灰色", target, caption).score == 0.0
    assert verify(caption, target, caption).score == 0.0


def test_layout_and_answer_weigh_nine_to_one() -> None:
    from vlmrl.rewards import composite
    from vlmrl.sample import Sample

    spec = {"verifier": "caption_spans", "target": {"wrong": "Westwood", "right": "Eastwood"}, "weight": 0.9,
            "params": {"caption": CAPTION}}  # fmt: skip
    sample = Sample.model_validate({
        "id": "1", "source": "vicrit", "task": "caption", "messages": [{"role": "user", "content": CAPTION}],
        "reward": [spec, {"verifier": "format", "target": "think_boxed", "weight": 0.1}],
    })  # fmt: skip
    told = {r"<think>x</think>\boxed{Westwood}": 1.0, r"\boxed{Westwood}": 0.9, r"<think>x</think>\boxed{red}": 0.1}
    for said, worth in told.items():
        assert composite.score(sample, said).score == pytest.approx(worth)


GREY_CAT = "One grey cat sits by a big red car, and its bone lies on the mat."


@pytest.mark.parametrize(("said", "right"), [
    ("cat", 1.0), ("grey cat", 1.0), ("One grey cat", 1.0), ("grey cat sits", 1.0), ("One grey cat sits", 0.0),
    (GREY_CAT, 0.0), ("grey sky", 0.0), ("a cat", 0.0), ("grey", 0.0), ("ca", 0.0), ("cat.", 1.0), ("", 0.0),
    ("cat cat", 0.0), ("<think>x</think>\\boxed{grey cat}", 1.0), ('["grey cat"]', 1.0), ("bone", 0.0),
])  # fmt: skip
def test_caption_spans_refuse_echo_and_substrings(said: str, right: float) -> None:
    assert score(said, {"wrong": "grey cat", "right": "grey dog"}, caption=GREY_CAT) == right


def test_removed_words_are_found_at_their_place() -> None:
    target = {"wrong": "a red car", "right": "a big red car"}
    caption = "There is a red car."
    assert score("a red", target, caption=caption) == 1.0
    assert score("red car", target, caption=caption) == 0.0
    at_end = {"wrong": "a car", "right": "a car outside"}
    assert score("car", at_end, caption="I see a car") == 1.0


def test_a_caption_without_error() -> None:
    for said in ("none", "No error.", "There is no error", "<answer>None</answer>"):
        assert score(said, {"wrong": None, "right": None}, caption=GREY_CAT) == 1.0
        assert score(said, "red car", caption=GREY_CAT) == 0.0
    assert score("grey cat", "", caption=GREY_CAT) == 0.0


def test_one_word_captions_and_echo_rate() -> None:
    assert score("cat", {"wrong": "cat", "right": "dog"}, caption="cat") == 1.0
    assert verify(GREY_CAT, "red car", caption=GREY_CAT).parts["echo"] == 1.0
    assert verify("red car", "red car", caption=GREY_CAT).parts == {"echo": 0.0, "exact": 1.0}


WALL = {"wrong": "red brick wall", "right": "blue brick wall"}


@pytest.mark.parametrize("said", [
    "Answer: red", "**Answer:** red brick wall", "**red**", "“red brick”", "`red`",
    r"\boxed{\text{red}}", '{"answer": "red"}', "答案：red",
    'The incorrect phrase is "red brick wall".', "The wrong word is red.",
    "The error is: **red brick wall**", 'The word "red" is incorrect.',
    'The phrase that contradicts the image is "red brick wall", because the wall is blue.',
    "'red' should be 'blue'", '"red" → "blue"',
    '"red" does not match the image.', 'The wrong part is "red": it is blue.',
    '**Incorrect phrase:** "red"\n**Correct:** blue', "描述中错误的是“red”。",
    "Answer: red brick wall\n\nThe wall is blue.", "错误的短语是“red”。", "Incorrect phrase: red brick wall",
])  # fmt: skip
def test_ways_to_point_at_a_phrase(said: str) -> None:
    assert score(said, WALL) == 1.0


@pytest.mark.parametrize("said", [
    'The incorrect phrase is not "red".', '"red" is correct.', '"red" or "Westwood"',
    'The error is "red" or "Westwood".',
    'The incorrect phrase is "Westwood", not "red".', '"Westwood" → "red"', r"\boxed{red} or \boxed{Westwood}",
    "I doubt the answer is red",
    'The error is "red". Or it is "low battery".', 'The error is "Seven individuals stand by a red brick wall"',
    "No errors found",
    "<answer>red</answer> <answer>Westwood</answer>",
])  # fmt: skip
def test_a_phrase_that_is_denied_or_one_of_several_earns_nothing(said: str) -> None:
    assert score(said, WALL) == 0.0


@pytest.mark.parametrize("said", [
    "No errors found", "No errors were detected in the caption.", r"\boxed{\text{None}}", "**None**",
    "Answer: none", "No incorrect phrase", "N/A",
    "The description matches the image.", "Everything is correct.", "There is nothing wrong with the caption.",
    "All correct.", "There are no mistakes.",
])  # fmt: skip
def test_ways_to_say_that_nothing_is_wrong(said: str) -> None:
    assert score(said, "") == 1.0
    assert score(said, WALL) == 0.0


@pytest.mark.parametrize(
    "said",
    [
        "There are errors.",
        "The caption is incorrect.",
        "I cannot tell.",
        "no idea",
        "The caption does not match the image.",
    ],
)
def test_other_statements_do_not_say_that_nothing_is_wrong(said: str) -> None:
    assert score(said, "") == 0.0


def test_typographic_quotes_and_dashes_of_a_caption() -> None:
    shown = "It’s a man’s “blue” hat – worn by 30–39 people."
    assert score("man's", {"wrong": "man’s", "right": "woman’s"}, shown) == 1.0
    assert score("30-39", {"wrong": "30–39", "right": "20–29"}, shown) == 1.0


def test_no_blind_window_pays_more_than_the_best_word_to_guess() -> None:
    """With the defaults that users get, on the shortest captions that are trained on."""
    rows = [s.reward[0] for s in catalog.load("recipes", "synthetic").build(200, sources=["caption"])]
    captions = [str(row.params["caption"]) for row in rows]

    def mean(answers: list[str]) -> float:
        pairs = zip(rows, captions, answers, strict=True)
        return fmean(verify(text, row.target, caption=caption).score or 0.0 for row, caption, text in pairs)

    words = {word for caption in captions for word in caption.split()}
    places = range(min(len(caption.split()) for caption in captions))
    honest = max(
        *(mean([word] * len(rows)) for word in words),
        *(mean([caption.split()[place] for caption in captions]) for place in places),
    )
    windows = [slice(-n, None) for n in (2, 3, 4)] + [slice(n) for n in (1, 2, 3, 4)]
    for window in windows:
        assert mean([" ".join(caption.split()[window]) for caption in captions]) <= honest, window


@pytest.mark.parametrize(
    "denied", ["does not match the image is", "doesn't fit the picture is:", "is not in the image is"]
)
def test_the_phrase_that_does_not_match_leads_to_the_answer(denied: str) -> None:
    shown = "A brown dog sits on a red mat."
    assert score(f"The phrase that {denied} **brown dog**.", "brown dog", shown) == 1.0
    assert score(f"The phrase that {denied} **red mat**.", "brown dog", shown) == 0.0


@pytest.mark.parametrize(
    "said", ["The phrase that matches the image is brown dog.", "The correct phrase is brown dog."]
)
def test_what_is_said_to_be_right_is_no_error(said: str) -> None:
    assert score(said, "brown dog", "A brown dog sits on a red mat.") == 0.0
