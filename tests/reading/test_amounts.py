"""Amounts in free text, with their units."""

import pytest

from vlmrl.reading.amounts import amounts, plain, same_unit, without_asides


@pytest.mark.parametrize(("text", "values"), [
    ("三百万, 250万, 1.5亿", [3_000_000, 2_500_000, 150_000_000]), ("三个和十二只, 一百零五人", [3, 12, 105]),
    ("两三个", [2, 3]),
    ("a dozen, two dozen", [12, 24]), ("half a dozen", [6]), ("2.5M, 3 m", [2_500_000, 3]), ("minus 5", [-5]),
    ("7 minus 5", [7, 5]),
    ("一样, 统一, 第三个", []),
])  # fmt: skip
def test_amounts(text: str, values: list[int]) -> None:
    assert [amount.value for amount in amounts(plain(text))] == values


def test_percent() -> None:
    amount = amounts(plain("5 %"))[0]
    assert amount.percent


def test_asides() -> None:
    assert without_asides("3 dogs (two black, one white)").split() == ["3", "dogs"]
    assert without_asides("3 dogs (or 4)") == "3 dogs (or 4)"
    assert without_asides("(3)") == "(3)"


@pytest.mark.parametrize(("said", "true", "may_lack", "same"), [
    (("cm",), ("cm",), False, True), (("m",), ("cm",), True, False), ((), ("cm",), True, True),
    ((), ("cm",), False, False),
    (("apple",), (), False, True), (("because",), ("cm",), True, True), (("m", "per", "s"), ("m",), True, False),
])  # fmt: skip
def test_same_unit(said: tuple[str, ...], true: tuple[str, ...], may_lack: bool, same: bool) -> None:
    assert same_unit(said, true, may_lack) == same
