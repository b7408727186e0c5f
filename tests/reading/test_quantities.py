"""Numbers with their percent sign and unit."""

from fractions import Fraction

import pytest

from vlmrl.reading.notation import clean
from vlmrl.reading.quantities import equal_quantities, is_unit, quantity, vulgar_fraction, without_unit


def read(text: str):
    found = quantity(clean(text))
    assert found is not None, text
    return found


@pytest.mark.parametrize(("text", "value"), [
    (r"3 \frac{1}{2}", Fraction(7, 2)), ("1,234.5", Fraction(2469, 2)), (r"0.1\overline{6}", Fraction(1, 6)),
    ("-3", -3), ("1.5e3", 1500), (r"2 \times 10^{3}", 2000), ("(7)", 7), ("½", Fraction(1, 2)),
    ("2 million", 2_000_000),
])  # fmt: skip
def test_value(text: str, value: Fraction) -> None:
    assert read(text).value == value


@pytest.mark.parametrize("text", ["5x", "5 plus", r"\frac{1}{0}", "", "x", "1.2.3", "3 or 4"])
def test_what_is_no_quantity(text: str) -> None:
    assert quantity(clean(text)) is None


def test_units_of_one_kind_convert() -> None:
    metres, feet, seconds = read("3 m"), read("5 ft"), read("3 s")
    assert metres.kind == feet.kind == frozenset({("meter", 1)})
    assert seconds.kind != metres.kind
    assert equal_quantities(read("100 cm"), read("1 m"), 0.0)
    assert not equal_quantities(read("100 cm"), read("2 m"), 0.0)
    assert not equal_quantities(read("3 s"), read("3 m"), 0.0)


def test_tolerance_is_for_decimals() -> None:
    assert equal_quantities(read("3.0001"), read("3"), 1e-3)
    assert not equal_quantities(read("3.01"), read("3"), 1e-3)
    assert not equal_quantities(read("1001"), read("1000"), 1e-2), "both are written exactly"


@pytest.mark.parametrize(("percent", "equal"), [("either", [True, True]), ("share", [True, False]),
                                                ("number", [False, True])])  # fmt: skip
def test_percent(percent: str, equal: list[bool]) -> None:
    said = read(r"5\%")
    assert [equal_quantities(said, read(true), 1e-9, percent) for true in ("0.05", "5")] == equal


def test_without_unit() -> None:
    text, unit = without_unit(clean(r"25\pi\text{ cm}"))
    assert text.replace(" ", "") == r"25\pi"
    assert unit is not None
    assert unit.kind == frozenset({("meter", 1)})
    assert without_unit("25x") == ("25x", None)


@pytest.mark.parametrize(("text", "bare"), [
    (r"2\sqrt{5} m", r"2\sqrt{5}"), (r"2\sqrt{5} m/s", r"2\sqrt{5}"), (r"9\pi m^2", r"9\pi"), (r"9\pi cm^{2}", r"9\pi"),
    (r"\sqrt{2} s", r"\sqrt{2}"),
])  # fmt: skip
def test_a_unit_of_one_letter_stands_apart_from_a_value_without_names(text: str, bare: str) -> None:
    assert without_unit(text)[0] == bare


@pytest.mark.parametrize(
    "text", [r"2\sqrt{5}m", r"2x m", r"2\sqrt{5} n", r"9\pi r", r"2\sqrt{5} \cdot m", r"\sqrt{5 m}"]
)
def test_a_letter_that_may_be_a_name_is_no_unit(text: str) -> None:
    assert without_unit(text) == (text, None)


def test_words_and_characters() -> None:
    assert [is_unit(word) for word in ("cm", "hours", "cat")] == [True, True, False]
    assert vulgar_fraction("½", "{}/{}") == "1/2"
    assert vulgar_fraction("x", "{}/{}") == "x"
