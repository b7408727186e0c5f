"""Structures: JSON, and what looks like it."""

from typing import Any

import pytest

from vlmrl.reading.structures import bare, from_text, group, is_empty, is_flat, is_pairs, numbers, percents, whole


@pytest.mark.parametrize(("text", "values"), [
    ("[1, 2]", [[1, 2]]), ("(1, 2)", [[1.0, 2.0]]), ("[1 2]", [[1.0, 2.0]]),
    ("[(1, 2), (3, 4)]", [[[1.0, 2.0], [3.0, 4.0]]]),
    ("{'a': [1], 'b': 'it's'}", [{"a": [1.0], "b": "it's"}]), ("(x=1, y=2)", [{"x": 1.0, "y": 2.0}]),
    ("(1, 2, button='left')", [[1.0, 2.0]]), ("[012, 3]", [[12.0, 3.0]]), ("[1/2, 3]", [[1.0, "/", 2.0, 3.0]]),
    ("[x, 2]", [["x", 2.0]]), ("[[1, 2], [3, 4], [5", [[1.0, 2.0], [3.0, 4.0]]), ("[1, 2", []), ("[]", [[]]),
])  # fmt: skip
def test_group(text: str, values: list[Any]) -> None:
    assert group(text, 0).values == values


def test_a_group_ends_where_its_bracket_closes() -> None:
    assert group("at (1, 2), (3, 4)", 3)[:2] == ([[1.0, 2.0]], 9)
    assert group("(see 1)", 0).words
    assert not group("(x=1)", 0).words
    assert group("[" * 3000, 0).end == 3000


def test_whole_and_from_text() -> None:
    assert whole("[1, 2]") == [1, 2]
    assert whole("[1, 2] there") is None
    assert whole("[" * 100_000) is None
    assert from_text(" 1, 2 ") == [1.0, 2.0]
    assert from_text("(1, 2)") == [[1.0, 2.0]]
    assert from_text("1, 2 cups") is None


def test_per_cent_is_a_share_of_the_extent() -> None:
    assert percents(bare("50%, 25 %"), (640, 480)) == [320.0, 120.0]
    assert numbers(percents(bare("50%, 25%"), None)) is None


def test_kinds_of_lists() -> None:
    assert numbers(["1", 2.5]) == [1.0, 2.5]
    assert [numbers(value) for value in ([True], [float("nan")], ["x"], "12", [1e9])] == [None] * 5
    assert is_flat([1])
    assert not is_flat([])
    assert is_pairs([[1, 2], [3, 4]])
    assert not is_pairs([[1, 2], [3]])
    assert [is_empty(value) for value in ([], [[]], {}, {"a": []}, {"a": [1]}, {"a": 1}, [1], None)] == [
        *[True] * 4, *[False] * 4]  # fmt: skip
