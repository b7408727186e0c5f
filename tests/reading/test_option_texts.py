"""Texts of options in an answer."""

import pytest

from vlmrl.reading.option_texts import named_in, normal, without_repeated

CITIES = {"A": "london", "B": "paris", "C": "new paris"}


def test_normal() -> None:
    assert normal(' "Ｐａｒｉｓ,  France." ') == "paris, france"


@pytest.mark.parametrize(("text", "several", "named"), [
    ("It is Paris, not London.", False, {"B"}), ("New Paris", False, {"C"}), ("Rome", False, None),
    ("London and Paris", True, {"A", "B"}), ("London or Paris", True, None), ("London or Paris", False, None),
    ("London? No. It is Paris.", False, {"B"}), ("not Paris", False, None), ("Parisian", False, None),
    ("London is wrong, so Paris", False, {"B"}),
])  # fmt: skip
def test_named_in(text: str, several: bool, named: set[str] | None) -> None:
    assert named_in(text, CITIES, several) == named


def test_without_repeated() -> None:
    listed = "A. London\nB) Paris\nSo B"
    assert without_repeated(listed, CITIES) == "So B"
    assert without_repeated("A. London\nSo A", CITIES) == "A. London\nSo A", "one line is an answer"
