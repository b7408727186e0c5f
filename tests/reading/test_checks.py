"""Checks of parameters and targets."""

from typing import Any

import pytest

from vlmrl.reading.checks import literal, no_target, one_of


def test_one_of() -> None:
    one_of("metric", "iou", ("iou", "f1"))
    with pytest.raises(ValueError, match=r"^metric 'giou' is unknown; use one of iou, f1$"):
        one_of("metric", "giou", ("iou", "f1"))


@pytest.mark.parametrize("target", ["", 0, False, [], "x" * 99])
def test_no_target(target: object) -> None:
    no_target(None, "length")
    with pytest.raises(ValueError, match=r"length needs none; leave it out$"):
        no_target(target, "length")


@pytest.mark.parametrize(("target", "value"), [
    ("[32, 48, 128, 144]", [32, 48, 128, 144]), (" [2.0, 5.0] ", [2.0, 5.0]), ("(140, 50)", [140, 50]),
    ("{'bbox_2d': [1, 2, 3, 4]}", {"bbox_2d": [1, 2, 3, 4]}), ("[{'Position': (1, 2), 'Confidence': None}]",
    [{"Position": [1, 2], "Confidence": None}]), ("a cup", "a cup"), ("[1, 2", "[1, 2"), ("[x]", "[x]"), ("", ""),
    ("{1, 2}", "{1, 2}"), ("[" * 9999, "[" * 9999), ([1, 2], [1, 2]), (3, 3), (None, None),
])  # fmt: skip
def test_literal(target: Any, value: Any) -> None:
    assert literal(target) == value
