"""Relaxed: ChartQA's 5 %, and the published open-answer rules of MMMU and MathVista."""

from typing import Any

import pytest

from vlmrl import catalog

relaxed = catalog.load("verifiers", "relaxed")


def score(said: str, true: Any, **params: Any) -> float | None:
    return relaxed.verify(said, true, **params).score


@pytest.mark.parametrize(("said", "true"), [
    ("105", "100"), ("95", "100"), ("-105", -100), ("$1,040", 1000), ("5.2%", "5%"), ("5%", "0.05"), ("0", "0.0"),
    ("1e3", "1000"), ("five", "5"), (".52", ".5"), ("Blue", "blue"), ("The answer is 42.", 42),
    ("Answer: 42\nok", 42),
    ("<think>7</think><answer>42</answer>", "41"), ("42", ["blue", "41"]), ("[2014, Blue]", "[2014, 'blue']"),
    ("2014, 104", "[2014, 100]"),
])  # fmt: skip
def test_right_in_chartqa(said: str, true: Any) -> None:
    assert score(said, true) == 1.0


@pytest.mark.parametrize(("said", "true"), [
    ("105.1", "100"), ("94.9", "100"), ("-100", "100"), ("0.01", "0"), ("5%", "5"), ("100%", "0.94"),
    ("blue sky", "blue"), ("100 or 200", "100"), ("95 105", "100"), ("between 95 and 105", "100"), ("", "100"),
    ("[100]", "[100, 200]"),
    ("[200, 100]", "[100, 200]"), (".5", "5"), ("nan", "5"), ("1e99", "5"), ("100", "one hundred items"),
    ("inf", "5"),
])  # fmt: skip
def test_wrong_in_chartqa(said: str, true: Any) -> None:
    assert score(said, true) == 0.0


def test_percent_tolerance_and_years_are_params() -> None:
    assert [score("5%", "5", percent=policy) for policy in ("share", "ignore", "either")] == [0.0, 1.0, 1.0]
    assert [score("5%", "0.05", percent=policy) for policy in ("share", "ignore", "either")] == [1.0, 0.0, 1.0]
    assert [score("102", "100", tolerance=tolerance) for tolerance in (0.0, 0.02)] == [0.0, 1.0]
    assert [score("2015", "2014", exact_years=exact) for exact in (False, True)] == [1.0, 0.0]


@pytest.mark.parametrize(("said", "true", "right"), [
    # A number among those said, after rounding to two places; a number is no substring.
    ("3 rows, so 0.956", "0.963", 1), ("It weighs 1,200.001 g", "1200", 1), ("1600", "60", 0), ("1.5e2 Hz", "150", 1),
    # The shortest phrase after a cue, on every line; "=" counts on the last line only.
    ("It is big, so it is the red ball.", "red ball", 1), ("I see a red ball\nso it is blue", "red ball", 0),
    ("x = ball\nthis is no match", "ball", 0), ("x = ball", "ball", 1),
    # Without a cue the whole text; a letter needs a space beside it.
    ("Step b", "B", 1), ("abc", "B", 0), ("A red ball", ["cube", "ball"], 1),
])  # fmt: skip
def test_mmmu_open(said: str, true: Any, right: float) -> None:
    assert score(said, true, rule="mmmu_open") == right


ANGLES = {"rule": "mathvista", "choices": ["40°", "50°", "100°"]}


@pytest.mark.parametrize(("said", "true", "params", "right"), [
    ("B", "50°", ANGLES, 1), ("(b) because", "50°", ANGLES, 1), ("50", "50°", ANGLES, 1), ("b", "40°", ANGLES, 1),
    ("A", "50°", ANGLES, 0), ("D", "50°", ANGLES, 0),
    ("18.0", "18", {"answer_type": "integer"}, 1), ("18.9", "18", {"answer_type": "integer"}, 1),
    ("18 apples", "18", {"answer_type": "integer"}, 0), ("1e999", "18", {"answer_type": "integer"}, 0),
    ("0.166", "0.17", {"answer_type": "float", "decimals": 2}, 1),
    ("0.164", "0.17", {"answer_type": "float", "decimals": 2}, 0),
    ("[1, 2]", "[1, 2]", {"answer_type": "list"}, 1), ("1, 2", "[1, 2]", {"answer_type": "list"}, 0),
])  # fmt: skip
def test_mathvista(said: str, true: str, params: dict[str, Any], right: float) -> None:
    assert score(said, true, **({"rule": "mathvista"} | params)) == right


@pytest.mark.parametrize(("target", "params", "says"), [
    ("", {}, "empty"), ([], {}, "NoneType"), (None, {}, "NoneType"), (True, {}, "bool"),
    ("x", {"rule": "vqa"}, "vqa.*chartqa"),
    ("60°", ANGLES, "60°.*choices"), ("18.5 m", {"rule": "mathvista", "answer_type": "integer"}, "18.5 m"),
    ("this is it", {"rule": "mmmu_open"}, "this is it"), ("5", {"tolerance": 5}, "tolerance 5"),
    ("5", {"percent": "x"}, "percent"),
])  # fmt: skip
def test_bad_targets_say_what_is_wrong(target: Any, params: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        relaxed.check_target(target, **params)
    assert relaxed.verify("5", target, **params).status == "bad_target"


@pytest.mark.parametrize(("said", "true"), [
    (r"\boxed{\text{Blue}}", "blue"), (r"\boxed{14\%}", "14%"), (r"\boxed{14\%}", "0.14"),
    (r"\boxed{14,\!000}", "14000"), (r"\boxed{\$14}", "14"),
    ("**Answer: Blue**", "blue"), ("### Final Answer\nBlue", "blue"), ('{"answer": "Blue"}', "blue"),
    ("14，000", 14000), ("30–39", "30-39"),
    ("it’s red", "it's red"), ("答案是蓝色。", "蓝色"), ("The answer is Blue because it is the tallest.", "blue"),
    ("The value is 14.", 14), ("≈ 14", 14), ("about 14", 14),
    ("Based on the chart, the value for 2015 is 14%.", "14%"),
    ("\\boxed{14}\n\n\\boxed{14}", 14),
])  # fmt: skip
def test_the_forms_in_which_models_print_an_answer(said: str, true: Any) -> None:
    assert score(said, true) == 1.0


@pytest.mark.parametrize("said", [
    "over 14", "14+", "almost 14", r"\boxed{14} or \boxed{20}", r"\boxed{20}, \boxed{14}", "The answer is not 14",
    "I doubt the answer is 14",
    "Answer: 14. Wait, no, 20.", "<answer>20</answer><answer>14</answer>", "It is not 14.", "13–15",
])  # fmt: skip
def test_hedges_denials_and_corrections_are_wrong(said: str) -> None:
    assert score(said, 14) == 0.0
