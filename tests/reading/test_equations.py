"""What a chain of equations answers, and what it is given to."""

import pytest

from vlmrl.reading.equations import answer_of, same_name


@pytest.mark.parametrize(("text", "name", "values"), [
    ("x = 3", "x", ["3"]), (r"\frac{BD}{DC} = \frac{2}{3}", r"\frac{BD}{DC}", [r"\frac{2}{3}"]), ("2x = 6", "", []),
    ("1 + 2 = 3", "", ["3", "1 + 2"]), (r"e^{i\pi} = -1", "", ["-1"]), ("3 + 5 = 9", "", ["9"]),
    (r"4\sqrt{3} \approx 6.93", "", [r"4\sqrt{3}", "6.93"]),
    (r"\angle 1 = 60", r"\angle 1", ["60"]), ("a + b = 6", "", []),
    (r"x = \frac{9}{4} = 2.25", "x", ["2.25", r"\frac{9}{4}"]), (r"\theta = 60", r"\theta", ["60"]),
    (r"\angle 1 + \angle 2 = 180", r"\angle 1 + \angle 2", ["180"]),
    ("99 \\approx 100", "", ["99"]), ("x < 3", "", []), ("10^{400} = 5", "", ["5"]), ("5", "", ["5"]),
])  # fmt: skip
def test_answer_of(text: str, name: str, values: list[str]) -> None:
    assert answer_of(text) == (name, values)


def test_a_value_is_given_to_one_name() -> None:
    assert all(same_name(*names) for names in (("x", "x"), ("", "x"), ("y", "f(x)")))
    assert not any(same_name(*names) for names in (("x", "y"), ("f(x)", "g(x)")))
