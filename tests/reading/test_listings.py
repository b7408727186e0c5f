"""Listings: members, brackets and labels of a clean text."""

import pytest

from vlmrl.reading.listings import is_matrix, listing, matrix_rows, squeezed


@pytest.mark.parametrize(("text", "members", "brackets"), [
    (r"\{1, 2\}", ["1", "2"], "{}"), ("(1, 2)", ["1", "2"], "()"), ("[0, 1)", ["0", "1"], "[)"),
    ("1, 2", ["1", "2"], ""),
    ("2x + 1", ["2x + 1"], ""), ("(x + 1)", ["(x + 1)"], ""), ("f(1, 2), 3", ["f(1, 2)", "3"], ""),
    (r"x = 3 \pm \sqrt{2}", [r"x = 3+\sqrt{2}", r"x = 3-\sqrt{2}"], ""),
    (r"{1}\cup{2,3}", ["1", "2", "3"], "{}"), ("A(1, 2)", ["1", "2"], "()"), ("1,234", ["1,234"], ""),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", ["1", "2"], "()"),
])  # fmt: skip
def test_members(text: str, members: list[str], brackets: str) -> None:
    found = listing(text)
    assert (found.members, found.brackets) == (members, brackets)


def test_labels() -> None:
    assert listing("x = 1, y = 2").labels == ["x", "y"]
    assert listing("x = 1, 2").labels == ["x", ""]


def test_matrices() -> None:
    square = r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"
    assert is_matrix(square)
    assert not is_matrix(square + square)
    assert matrix_rows(square) == [[], ["1", "2"], ["3", "4"]]
    assert matrix_rows(r"\begin{vmatrix}1&2\end{vmatrix}") == [["kind v"], ["1", "2"]]


def test_squeezed() -> None:
    assert squeezed(r"\{ a , 1 2 \text{ cm}\}") == "{a,1 2cm}"
