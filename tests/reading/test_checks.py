"""Checks of parameters and targets."""

import pytest

from vlmrl.reading.checks import no_target, one_of


def test_one_of() -> None:
    one_of("metric", "iou", ("iou", "f1"))
    with pytest.raises(ValueError, match=r"^metric 'giou' is unknown; use one of iou, f1$"):
        one_of("metric", "giou", ("iou", "f1"))


@pytest.mark.parametrize("target", ["", 0, False, [], "x" * 99])
def test_no_target(target: object) -> None:
    no_target(None, "length")
    with pytest.raises(ValueError, match=r"length needs none; leave it out$"):
        no_target(target, "length")
