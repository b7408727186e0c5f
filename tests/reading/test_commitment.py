"""Which places of a text are its answer, and whether it says that there is none."""

import re

import pytest

from vlmrl.reading.commitment import committed, says_none


@pytest.mark.parametrize(("text", "kept"), [
    ("<1>", [0]), ("<1>, <2>", [0, 1]), ("<1> or <2>", None), ("<1>, maybe <2>", None), ("<1>或<2>", None),
    ("not <1>", []), ("not <1>, but <2>", [1]), ("It is not at <1>, it is at <2>.", [1]),
    ("<1> is wrong. It is <2>.", [1]),
    ("I have no doubt that it is at <1>.", [0]), ("The man not wearing a hat is at <1>.", [0]),
    ("<1> is the man who does not wear a hat.", [0]), ("I don't think it is at <1>", []), ("<1> is the wrong one.", []),
    ("It is at <1>, not in the corner.", [0]), ("<1> isn't it.", []), ("<1>不是", []),
    ("<1> instead of <2>", [0]), ("<1> rather than <2>", [0]), ("not <1>, rather <2>", [1]),
    ("<1> not <2>", [0]), ("There is none at <1>", []), ("It doesn't happen in <1>", []), ("不在<1>", []),
    ("<1>. Wait, no: <2>", [1]), ("<1>? No, <2>", [1]), ("First <1>, actually <2>", [1]), ("from <1> to", None),
    ("<1> to.", None), ("<1>. The other is <2>.", [0]), ("<1>\n(note: from <2> to <3>)", [0]),
    ("a <1>. The b is <2>.", [0, 1]),
    ("<1>\n\nThe cup is left of the one at <2>", [0]), ("<1>\n<2>", [0, 1]),
    ("<1> is another; the right one is <2>", [0, 1]),
])  # fmt: skip
def test_committed(text: str, kept: list[int] | None) -> None:
    spans = [match.span() for match in re.finditer(r"<\d>", text)]
    assert committed(text, spans) == kept


def test_the_last_sentence_counts_where_it_is_asked_for() -> None:
    text = "a <1>. The b is <2>."
    assert committed(text, [(2, 5), (16, 19)], last=True) == [1]
    assert committed("none", []) is None


@pytest.mark.parametrize("text", [
    "none", "None.", "N/A", "No objects", "No objects found.", "**None**".strip("*"),
    "There are no cars in the image.",
    "There aren't any cars.", "There is no such moment.", "The cup is not visible.",
    "The event does not occur in the video.",
    "I don't see any cars in the image.", "The image does not contain any cars.", "Nothing", "没有汽车",
    "图像中没有汽车。",
])  # fmt: skip
def test_says_none(text: str) -> None:
    assert says_none(text)


@pytest.mark.parametrize("text", [
    "", "No", "No idea", "I don't know", "not sure", "I cannot see the image.", "No image was provided.",
    "The image is not clear",
    "The car is not moving.", "There is a car.", "No way to tell", "There is no reason to think so",
    "No objects or maybe one",
    "There are no cars, only dogs.", "There are no other cars.", "It is not clear whether the cup is visible.",
    "No. 5",
    "No problem, here it is", "I cannot tell whether there are any objects.", "The answer is not shown", "no " * 200,
])  # fmt: skip
def test_says_not_none(text: str) -> None:
    assert not says_none(text)
