"""Language mix: GLM's rule on long paragraphs, and the share of a language's script."""

import pytest

from vlmrl import catalog

CHINESE, ENGLISH = "这张图里有一只猫。" * 7, "The cat sleeps on the mat now. " * 29  # 56 characters, 203 words


def score(response: str, target: str | None = None) -> float | None:
    return catalog.load("verifiers", "language_mix").verify(response, target).score


@pytest.mark.parametrize(("response", "right"), [
    (CHINESE + "\n\n" + ENGLISH, 0.0), (ENGLISH + "\n \n" + CHINESE, 0.0),
    (CHINESE + "\n" + ENGLISH, 1.0),  # one paragraph, mostly English
    (CHINESE[:54] + "\n\n" + ENGLISH, 1.0), (CHINESE + "\n\n" + ENGLISH[:-40], 1.0),
    (CHINESE + "\n\n" + CHINESE, 1.0), (ENGLISH + "\n\n" + ENGLISH, 1.0),
    (CHINESE + " the cat sleeps here" + "\n\n" + ENGLISH, 1.0),  # 56 of 73 letters are Chinese: under 80 %
])  # fmt: skip
def test_long_paragraphs_in_two_languages(response: str, right: float) -> None:
    assert score(response) == right


@pytest.mark.parametrize(("response", "language", "share"), [
    ("The cat is grey.", "en", 1.0), ("The cat is 灰", "en", 0.75), ("Кот серый, grey", "ru", 2 / 3),
    ("猫は灰色です", "ja", 1.0), ("猫是灰色", "ja", 1.0), ("猫は灰", "zh", 2 / 3), ("고양이는 회색", "ko", 1.0),
    ("<think>因为</think><answer>B</answer>", "zh", 1.0), (r"设 $\sin x = y$，则 $x > \text{two}$", "zh", 1.0),
    ("```\nprint(1)\n```\n这是代码", "zh", 1.0), ("42", "zh", 1.0), ("Le château est à gauche", "fr", 1.0),
    ("The cat", "zh", 0.0), ("القط رمادي", "ar", 1.0),
])  # fmt: skip
def test_the_share_of_the_languages_script(response: str, language: str, share: float) -> None:
    assert score(response, language) == pytest.approx(share)


def test_unknown_languages_are_refused() -> None:
    with pytest.raises(ValueError, match=r"english.*en, de"):
        catalog.load("verifiers", "language_mix").check_target("english")
    assert score("The cat", "english") is None


@pytest.mark.parametrize("nothing", [".", "...", "\u200b", "?!", "---"])
def test_a_response_that_says_nothing_earns_nothing(nothing: str) -> None:
    assert catalog.load("verifiers", "language_mix").verify(nothing).score == 0.0
    assert catalog.load("verifiers", "language_mix").verify("42").score == 1.0
