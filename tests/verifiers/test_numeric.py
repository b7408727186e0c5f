"""Numeric: the ways to write one number, the ways to hedge, tolerances, percent, units, years."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmrl import catalog

numeric = catalog.load("verifiers", "numeric")


def score(said: str, true: Any, **params: Any) -> float | None:
    return numeric.verify(said, true, **params).score


@pytest.mark.parametrize(("said", "true"), [
    ("1,234.5", 1234.5), (r"1\,234", 1234), ("1{,}234", 1234), ("１２", 12), ("−3", -3), ("**42**", 42), ("3.", 3),
    (r"$\frac{3}{4}$", 0.75), (r"-\frac{1}{2}", -0.5), ("½", "0.5"), ("1½", 1.5), ("1 1/2", 1.5), ("1/3", "2/6"),
    ("three quarters", 0.75), ("two and a half", 2.5), ("a hundred and five", 105), ("two hundred thousand", 200_000),
    ("2.5 million", 2.5e6), ("1.5e3", 1500), ("1.5 × 10³", 1500), (r"6.02\times10^{23}", "6.02e23"), ("1e-3", 0.001),
    (r"10^{3}", 1000), ("-$5", -5), ("x = 3", 3), ("2 + 3 = 5", 5), ("not 3 but 5", 5), ("5 (approx. 4.98)", 5),
    ("3 apples and 4 pears, so 7 in total.", 7), ("Step 3: 4", 4), ("The difference between 7 and 3 is 4", 4),
    ("The answer is 42, as shown in step 3.", 42), ("Answer: 42\nBecause 3 and 4", 42), ("about 5", 5), ("5!", 5),
    ("<think>3 or 4</think>It is 4.", 4), ("7", [5, 7]),
])  # fmt: skip
def test_numbers_that_are_right(said: str, true: Any) -> None:
    assert score(said, true) == 1.0


@pytest.mark.parametrize(("said", "true"), [
    ("3 or 4", 4), ("3 or 4", 3), ("3-5", 5), ("3 to 5", 5), ("from 3 through 5", 5), ("between 3 cm and 5 cm", 5),
    ("a correct number between 0 and 10", 10), ("at least 3", 3), ("3 or more", 3), ("3+", 3), ("more than 3", 3),
    ("> 3", 3), ("1, 2, 3", 3), ("not 3", 3), ("maybe 2, maybe 3", 3), ("3 (or 4)", 3), ("3 ± 1", 3), ("3 ± 1", 1),
    ("The answer is 5. Or 6.", 5), ("The answer is 5 or 6", 5), ("answer: 5, 6", 5), ("3, or perhaps even 4", 4),
    ("12:30", 30), ("3/4/2020", 2020), ("3 / 4 / 5", 5), ("3 * 4", 4), ("3 + 4", 4), ("√2", 2), (r"\sqrt{2}", 2),
    ("2^10", 10), ("5π", 5), (r"\frac{1}{0}", 0), ("[number]", 3), ("3rd", 3), ("<think>3", 3), ("9" * 500, 9),
    ("1e99", 1), ("15", 1.5), ("-5", 5),
])  # fmt: skip
def test_numbers_that_hedge_or_err(said: str, true: Any) -> None:
    assert score(said, true) == 0.0


@pytest.mark.parametrize(("said", "true"), [
    ("3 dogs: one left, two right", 3), ("Answer: 42\n\nIn 2014 it was 40.", 42), ("2.5M", 2.5e6),
    ("250万", 2.5e6), ("四十二", 42), ("a dozen", 12),
    ("minus 5", -5), ("negative five", -5), ("14,\\!000", 14000), ("**5**.", 5), ("50 - 8 = 42", 42),
    ("{\"answer\": 42}", 42),
])  # fmt: skip
def test_numbers_in_the_forms_of_models(said: str, true: Any) -> None:
    assert score(said, true) == 1.0


@pytest.mark.parametrize("said", [
    "over 42", "almost 42", "nearly 42", "just under 42", "It could be 42.", "Is it 42?", "超过42", "42以上",
    "大于42", "min. 42",
    "42. Wait, actually 43.",
    "The answer is 42. No, it is 43.", r"\boxed{42} or \boxed{43}", "42: 20 + 23", "41–42",
])  # fmt: skip
def test_bounds_questions_and_corrections_commit_to_nothing(said: str) -> None:
    assert score(said, 42) == 0.0


def test_tolerances_are_inclusive_and_the_larger_one_counts() -> None:
    assert score("105", 100, relative=0.05) == 1.0
    assert score("105.01", 100, relative=0.05) == 0.0
    assert score("1.3", 1, relative=0.3) == 1.0, "0.3 is meant as the decimal number"
    assert score("-105", -100, relative=0.05) == 1.0
    assert score("0.1", 0, relative=0.5) == 0.0, "a share of zero is nothing"
    assert score("0.1", 0, absolute=0.1) == 1.0
    assert score("103", 100, relative=0.01, absolute=5) == 1.0
    assert score("0.333", "1/3") == 0.0
    assert score("0.333", "1/3", absolute=0.001) == 1.0


@given(
    st.fractions(min_value=-2000, max_value=2000, max_denominator=100), st.integers(-2000, 2000), st.floats(0, 1),
    st.floats(0, 1),
)  # fmt: skip
def test_a_wider_tolerance_never_takes_a_point_away(said: Fraction, true: int, a: float, b: float) -> None:
    narrow, wide = sorted((a, b))
    text = f"{said.numerator}/{said.denominator}"
    assert (score(text, true, relative=narrow) or 0) <= (score(text, true, relative=wide) or 0)


def test_years_are_exact_as_in_the_chart_reward_of_glm() -> None:
    chart = {"relative": 0.025}
    assert score("102", 100, **chart) == 1.0
    assert score("103", 100, **chart) == 0.0
    for said, true, right in [(2001, 2000, 0), (2000, 2000, 1), (-1001, -1000, 0), (999, 1000, 1), (3001, 3000, 1)]:
        assert score(str(said), true, **chart) == right
    assert score("2000.5", 2000, **chart) == 1.0, "only whole numbers are years"
    assert score("2001", 2000, exact_years=False, **chart) == 1.0


@pytest.mark.parametrize(("said", "true", "either", "share", "ignore"), [
    ("50%", 0.5, 1, 1, 0), ("50%", 50, 1, 0, 1), ("0.5", "50%", 1, 1, 0), ("50", "50%", 1, 0, 1),
    ("50 percent", "50%", 1, 1, 1), ("0.5%", "50%", 0, 0, 0), ("50", 0.5, 0, 0, 0), (r"50\%", "1/2", 1, 1, 0),
])  # fmt: skip
def test_percent(said: str, true: Any, either: float, share: float, ignore: float) -> None:
    assert score(said, true) == either
    assert score(said, true, percent="share") == share
    assert score(said, true, percent="ignore") == ignore


@pytest.mark.parametrize(("said", "true"), [
    ("roughly 7.55N", "7.55N"), (r"\boxed{0.5\,\text{m}}", "0.5 m"), ("5 centimeters", "5 cm"), ("5 dollars", "$5"),
    (r"60^\circ", "60°"), ("5 meters per second", "5 m/s"), ("5m²", "5 m^2"), ("$5 million", "$5,000,000"),
    ("5 dogs are there", "5 dogs"),
])  # fmt: skip
def test_units_that_agree(said: str, true: str) -> None:
    assert score(said, true, unit="require") == 1.0


@pytest.mark.parametrize(("said", "true"), [
    ("5 m", "5 cm"), ("5 km/h", "5 km"), ("5 m", "5 m^2"), ("€5", "$5"), ("5 mW", "5 MW"), ("5 kg", "5 g"),
])  # fmt: skip
def test_units_that_differ(said: str, true: str) -> None:
    assert score(said, true) == 0.0
    assert score(said, true, unit="ignore") == 1.0


def test_a_missing_unit() -> None:
    for said in ("5", "5.", "It is 5 since the ruler says so"):
        assert score(said, "5 cm") == 1.0
        assert score(said, "5 cm", unit="require") == 0.0
    assert score("5 cm", 5, unit="require") == 1.0, "the target has none"


@pytest.mark.parametrize(("target", "params", "says"), [
    ("many", {}, "many"), ("3 or 4", {}, "3 or 4"), ("3, 4", {}, "3, 4"), ("12:30", {}, "12:30"), ("", {}, "number"),
    ([], {}, "empty"), (True, {}, "bool"), (float("inf"), {}, "1e30"), (5, {"unit": "convert"}, r"convert.*agree"),
    (5, {"percent": "yes"}, r"yes.*either"), (5, {"relative": -1}, r"relative -1"),
])  # fmt: skip
def test_bad_targets_say_what_is_wrong(target: Any, params: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        numeric.check_target(target, **params)
    assert numeric.verify("5", target, **params).status == "bad_target"


@pytest.mark.parametrize("said", [
    r"9.8\ \text{m/s}^2", r"$9.8\,\mathrm{m/s^2}$", r"9.8~\text{m}/\text{s}^2", "9.8 m / s²",
])  # fmt: skip
def test_units_with_a_power_outside_of_the_font(said: str) -> None:
    assert score(said, "9.8 m/s^2") == 1.0
    assert score(said, "9.8 m/s") == 0.0
