"""Layouts: white space never matters, each tag stands once, and nothing stands outside."""

import pytest

from vlmrl import catalog

SECTIONS = {
    "think_answer": "<think>{}</think>|<answer>{}</answer>",
    "answer": "<answer>{}</answer>",
    "observe_think_answer": "<observe>{}</observe>|<think>{}</think>|<answer>{}</answer>",
    "info_think_answer": "<info>{}</info>|<think>{}</think>|<answer>{}</answer>",
    "think_answer_boxed": "<think>{}</think>|<answer>{}\\boxed{{5}}</answer>",
    "think_answer_box_tokens": "<think>{}</think>|<answer>{}<|begin_of_box|>5<|end_of_box|></answer>",
    "think_boxed": "<think>{}</think>|{}\\boxed{{5}}",
    "think_box_tokens": "<think>{}</think>|{}<|begin_of_box|>5<|end_of_box|>",
    "boxed": "{}\\boxed{{5}}",
    "box_tokens": "{}<|begin_of_box|>5<|end_of_box|>",
}


def score(response: str, layout: str) -> float | None:
    return catalog.load("verifiers", "format").verify(response, layout).score


def test_every_layout_is_tried_here() -> None:
    assert SECTIONS.keys() == catalog.load("verifiers", "format").LAYOUTS.keys()


def fill(layout: str, inside: str, between: str) -> str:
    return (
        "".join(SECTIONS[layout].replace("<|", "\1").replace("|>", "\2").replace("|", between).format(*[inside] * 3))
        .replace("\1", "<|")
        .replace("\2", "|>")
    )


@pytest.mark.parametrize("layout", SECTIONS)
@pytest.mark.parametrize("space", ["", " ", "\n", "\r\n\n", "\t "])
def test_newlines_and_spaces_do_not_matter(layout: str, space: str) -> None:
    """V-Triune and Temporal-R1 want newlines just so; GLM's fails on a trailing space."""
    said = fill(layout, f"{space}line one\nline two{space}", space)
    assert score(f"{space}{said}{space}", layout) == 1.0


@pytest.mark.parametrize("layout", SECTIONS)
def test_each_tag_once(layout: str) -> None:
    said = fill(layout, "x", "")
    assert score(said, layout) == 1.0
    assert score(said + said, layout) == 0.0
    assert score(said + "</think>", layout) == 0.0 or layout in ("boxed", "box_tokens")
    assert score("<answer>" + said, layout) == 0.0 or layout in ("boxed", "box_tokens")
    assert score(said[:-8], layout) == 0.0
    assert score("", layout) == 0.0


@pytest.mark.parametrize(("response", "layout", "right"), [
    ("<think>\n\n</think>\n<answer>5</answer>", "think_answer", 1.0),  # TON: a thought that was skipped
    ('<think>x</think><answer>{"start_time": 1.5, "end_time": 3}</answer>\n', "think_answer", 1.0),  # Temporal-R1
    ('<think>x</think><answer>{"end_time": "3", "start_time": "1.5"}</answer>', "think_answer", 1.0),
    ("<info>a\nb</info>\n\n<think>c</think><answer>5</answer>", "info_think_answer", 1.0),  # Visionary-R1: no DOTALL
    ("<think>a<observe>b</observe>c</think><answer>5</answer>", "observe_think_answer", 1.0),
    ("<think>a</think><observe>b</observe><answer>5</answer>", "observe_think_answer", 0.0),
    ("<think>a</think><answer><observe>b</observe>5</answer>", "observe_think_answer", 0.0),
    ("x<think>a<observe>b</observe>c</think><answer>5</answer>", "observe_think_answer", 0.0),
    ("<think>a</think><answer>5</answer>\\boxed{5}", "think_answer_boxed", 0.0),
    ("<think>a</think><answer>\\boxed{ }</answer>", "think_answer_boxed", 0.0),
    ("<think>a</think><answer>\\boxed{5}</answer>", "think_boxed", 0.0),
    ("<think>a</think><answer><|begin_of_box|>5<|end_of_box|><|end_of_box|></answer>", "think_answer_box_tokens", 0.0),
    ("<think>a</think><answer><|end_of_box|>5<|begin_of_box|></answer>", "think_answer_box_tokens", 0.0),
    ("<think>a</think><|begin_of_box|>5<|end_of_box|>", "think_answer_box_tokens", 0.0),
])  # fmt: skip
def test_layouts_in_particular(response: str, layout: str, right: float) -> None:
    assert score(response, layout) == right


@pytest.mark.parametrize(("response", "layout", "skipped"), [
    ("<think>\n\n</think><answer>5</answer>", "think_answer", 1.0),  # as TON's demonstrations have it
    ("<think></think>\\boxed{5}", "think_boxed", 1.0),
    ("<think>\n\n</think>5", "think_answer", 1.0),
    ("<think>\na\n</think><answer>5</answer>", "think_answer", 0.0),
    ("<think> </think><think>a</think><answer>5</answer>", "think_answer", 0.0),
    ("<answer>5</answer>", "think_answer", 0.0),
    ("<think></think><answer>5</answer>", "answer", None),
])  # fmt: skip
def test_a_skipped_thought_is_counted_beside_the_score(response: str, layout: str, skipped: float | None) -> None:
    verdict = catalog.load("verifiers", "format").verify(response, layout)
    assert verdict.parts.get("skipped_thought") == skipped


@pytest.mark.parametrize("layout", SECTIONS)
@pytest.mark.parametrize(("name", "target"), [("temporal_iou", [10, 20]), ("choice", "B"), ("counting", 3),
                                              ("grounded_qa", {"choice": "B", "spans": [10, 20]}), ("ocr", "a b"),
                                              ("math", "1/2")])  # fmt: skip
def test_wrapping_keeps_an_answer_right(layout: str, name: str, target: object) -> None:
    verifier = catalog.load("verifiers", name)
    gold = verifier.gold(target)
    wrapped = catalog.load("verifiers", "format").wrap(gold, layout)
    if not ("boxed" in layout and "\\boxed" in gold):  # two boxes are no layout
        assert score(wrapped, layout) == 1.0
    assert verifier.verify(wrapped, target).score == 1.0


@pytest.mark.parametrize("response", [
    "<think>a</think><answer>b", "<think>a<answer>b</answer></think>", "x<think>a</think><answer>b</answer>",
    "<think>a</think><answer>b</answer>x", "<think>a</think><think>b</think><answer>c</answer>",
    "<think>a</think><answer></answer>", "<THINK>a</THINK><answer>b</answer>",
])  # fmt: skip
def test_layouts_that_are_broken(response: str) -> None:
    assert score(response, "think_answer") == 0.0


def test_format_parts_tell_which_tag_is_missing() -> None:
    parts = catalog.load("verifiers", "format").verify("<answer>2</answer>", "think_answer").parts
    assert parts == {"think": 0.0, "answer": 1.0, "skipped_thought": 0.0}


@pytest.mark.parametrize("nothing", ["\u200b", "\u2060\ufeff", "\u00a0 \n", "\x07", "\ufe0f"])
def test_what_cannot_be_seen_is_not_an_answer(nothing: str) -> None:
    for layout in ("answer", "think_answer", "think_boxed"):
        module = catalog.load("verifiers", "format")
        assert module.verify(module.wrap(nothing, layout), layout).score == 0.0
        assert module.verify(module.wrap("3", layout), layout).score == 1.0
