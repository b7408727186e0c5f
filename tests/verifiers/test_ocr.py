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
