"""Markup: emphasis, quotes, fonts and formula delimiters in and around a text."""

import pytest

from vlmrl.reading.markup import fold, peeled, plain


@pytest.mark.parametrize(("text", "inner"), [
    ("**STOP**", "STOP"), ("***STOP***", "STOP"), ("*STOP*", "STOP"), ("__STOP__", "STOP"), ("_STOP_", "STOP"),
    ("`STOP`", "STOP"), ('"STOP"', "STOP"), ("“STOP”", "STOP"), ("‘it’s red’", "it’s red"),
    ("'it's red'", "it's red"),
    ("「停」", "停"), ("$x^2$", "x^2"), ("$$x$$", "x"), (r"\(x\)", "x"), (r"\[x\]", "x"),
    (r"\text{a \{b\}}", r"a \{b\}"),
    ("**5**.", "5"), ('**"STOP".**', "STOP"), (r"$\text{Blue}$.", "Blue"), ("5**", "5"), ("* red", "red"),
    ("3\n```", "3"),
])  # fmt: skip
def test_what_encloses_the_whole_is_peeled(text: str, inner: str) -> None:
    assert peeled(text) == inner


@pytest.mark.parametrize("text", [
    '"a" or "b"', "**a** and **b**", "$6", "$6 to $8", r"\text{a} and \text{b}", "it's 5'", "St.", "3 * 4", "a_b",
    "*",
    "**", '"', "", r"\(x\) or \(y\)", "[1, 2]", "(a)", "'a' 'b'",
])  # fmt: skip
def test_what_does_not_enclose_the_whole_stays(text: str) -> None:
    assert peeled(text) == text


@pytest.mark.parametrize(("text", "bare"), [
    ("There are **3** dogs.", "There are 3 dogs."), ("an *old* `cat`", "an old cat"),
    ("the _old_ cat", "the old cat"),
    (r"14\%", "14%"), (r"14,\!000", "14,000"), (r"32,\! 349", "32,349"), (r"14\,000", "14000"),
    ("14{,}000", "14,000"),
    (r"10 \text{ to } 20", "10 to 20"), (r"\left(140, 50\right)", "(140, 50)"),
    (r"about $x$ and \(y\)", "about x and y"),
    ("$5 and $6", "$5 and $6"), ("3 * 4 * 5", "3 * 4 * 5"), ("snake_case_name", "snake_case_name"),
    (r"\leftarrow", r"\leftarrow"),
    ("plain", "plain"),
])  # fmt: skip
def test_plain_drops_markup_inside(text: str, bare: str) -> None:
    assert plain(text) == bare


def test_fold_keeps_the_length() -> None:
    text = "“it’s” 30–39 — １２，３４５（％）\u00a0\u22125"
    assert fold(text) == '"it\'s" 30-39 - 12,345(%) -5'
    assert len(fold(text)) == len(text)
