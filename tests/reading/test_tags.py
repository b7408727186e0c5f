"""Tags, LaTeX and emphasis around coordinates."""

import pytest

from vlmrl.reading.tags import plain


@pytest.mark.parametrize(("text", "words"), [
    (r"**car**：\text{at} $\left(1,\, 2\right)$", "car:at (1, 2 )"),
    ("1. <box>(1,2),(3,4)</box>", '• {"bbox": [(1,2),(3,4)]}'),
    ("<|box_start|>(1,2)<|box_end|>", '{"bbox": [(1,2)]}'),
    ("<point>1 2</point>", "[1 2]"),
    ("<quad>1 2</quad>", "[1 2]"),
    ('<points x1="1" y1="2" x2="3%" y2="4%" alt="a">a</points>', "[[1, 2], [3%, 4%]]"),
    ("- a\n* b\n2) c", "• a • b • c"),
    ("1 * 2", "1 * 2"),
    (r"\{1, 2\}", "{1, 2 }"),
    (r"10 \to 20\%", "10 to 20%"),
    ("【1、2】", "[1,2]"),
    ("-5", "-5"),
    ("", ""),
])  # fmt: skip
def test_plain(text: str, words: str) -> None:
    assert plain(text).split() == words.split()
