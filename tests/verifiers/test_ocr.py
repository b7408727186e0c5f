"""OCR: each metric with its options of case, space and punctuation."""

from typing import Any

import pytest

from vlmrl import catalog
from vlmrl.verdict import Verdict


def verify(response: str, target: Any, **params: Any) -> Verdict:
    return catalog.load("verifiers", "ocr").verify(response, target, **params)


def score(response: str, target: Any, **params: Any) -> float | None:
    return verify(response, target, **params).score


def test_ocr_policies() -> None:
    assert score("new york", "NEW YORK") == 1.0
    assert score("new york", "NEW YORK", case="keep") == pytest.approx(1 / 8)
    assert score("newyork", "new york") == pytest.approx(7 / 8), "word segmentation counts"
    assert score("newyork", "new york", space="ignore") == 1.0
    assert score("ｎｅｗ", "new") == 1.0
    assert score("cafe\u0301", "café") == 1.0
    assert score("", "") == score("", "", metric="wer") == 1.0
    assert score("Hello Wrold", ["bye", "Hello World"], metric="anls") == pytest.approx(0.82, abs=5e-3)
    assert score("ab", "abcd", metric="anls") == 0.0, "ANLS: a distance of one half is too far"
    assert score("a b c d e", "a b", metric="wer") == 0.0, "never below zero"


def test_ocr_refuses_unknown_params() -> None:
    with pytest.raises(ValueError, match=r"cer.*edit, anls, wer"):
        catalog.load("verifiers", "ocr").check_target("a", metric="cer")


@pytest.mark.parametrize("said", [
    "Answer: STOP", '"STOP"', "“STOP”", "**STOP**", "`STOP`", "```\nSTOP\n```",
    "The text reads: STOP", 'The sign says "STOP".', "It says **STOP**.",
    "The text in the image is: STOP", "Text: STOP", "**Answer:** STOP",
    r"\boxed{\text{STOP}}", '{"text": "STOP"}', "图中的文字是：STOP", "ＳＴＯＰ",
    '"STOP" is written on the sign.', "Sure! The text is:\n\n**STOP**", "牌子上写着“STOP”。", "> STOP", "《STOP》",
    "<think>It reads S...</think>The answer is “STOP”.",
])  # fmt: skip
def test_what_leads_to_the_text_and_encloses_it_is_not_read(said: str) -> None:
    assert score(said, "STOP") == 1.0


@pytest.mark.parametrize("text", [
    'Answer: the text "STOP"', "The sign says go", "Question: 5? Answer: 6", '"Quoted" text', "$5.99", "a_b_c",
    "Result: 5", "**bold**", "it’s 10–18 h",
])  # fmt: skip
def test_a_text_with_such_marks_is_read_as_it_stands(text: str) -> None:
    assert score(text, text) == 1.0


@pytest.mark.parametrize("said", [
    "I cannot read the text.", '"STOP" or "SHOP"',
    "STOP, SHOP, SLOT", 'The sign says "STOP" or "SHOP".', r"\boxed{STOP} \boxed{SHOP}",
    'It might say "STOP".', 'I see "STOP" and "SHOP".', 'The sign does not say "STOP".',
    "I don't think the text reads STOP", "Answer: STOP. Or is it SHOP?",
])  # fmt: skip
def test_hedges_and_denials_are_no_reading(said: str) -> None:
    assert score(said, "STOP", metric="anls") == 0.0
