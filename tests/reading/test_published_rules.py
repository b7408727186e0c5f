"""The rules of MMMU and MathVista."""

import pytest

from vlmrl.reading.published_rules import letter, right_in_mathvista, right_in_mmmu


@pytest.mark.parametrize(("said", "true", "right"), [
    ("The throughput is 60 Mbps.", "60", True), ("The throughput is 61 Mbps.", "60", False),
    ("so it is a cat", "cat", True), ("cat\nso it is a dog", "cat", False), ("1,234.0", "1234", True),
    ("60.004", "60", True), ("x = 3", "3", True),
])  # fmt: skip
def test_mmmu(said: str, true: str, right: bool) -> None:
    assert right_in_mmmu(said, true) == right


@pytest.mark.parametrize(("said", "true", "choices", "answer_type", "right"), [
    ("B", "50", ["40", "50"], "text", True), ("(a)", "50", ["40", "50"], "text", False),
    ("50 or so", "50", ["40", "50"], "text", True), ("3.7", "3", None, "integer", True),
    ("x", "3", None, "integer", False),
    ("3.146", "3.15", None, "float", True), ("3.1", "3.15", None, "float", False),
    ("1e999", "3", None, "integer", False),
    ("[1, 2]", "[1, 2]", None, "list", True), ("[1,2]", "[1, 2]", None, "list", False),
])  # fmt: skip
def test_mathvista(said: str, true: str, choices: list[str] | None, answer_type: str, right: bool) -> None:
    assert right_in_mathvista(said, true, choices, answer_type, 2) == right


def test_letter() -> None:
    assert [letter(i) for i in range(3)] == ["A", "B", "C"]
