"""Boxes: read, compared, matched."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.reading.boxes import Box, iou_matrix, match, parse_boxes
from vlmrl.reading.places import MAX_PLACES

SIDE = st.floats(1, 500)


def box_strategy() -> st.SearchStrategy[list[float]]:
    return st.tuples(SIDE, SIDE, SIDE, SIDE).map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]])


@given(a=st.lists(box_strategy(), min_size=1, max_size=4), b=st.lists(box_strategy(), min_size=1, max_size=4))
def test_iou_is_symmetric_bounded_and_one_on_itself(a: list[list[float]], b: list[list[float]]) -> None:
    first, second = np.array(a), np.array(b)
    iou_NM = iou_matrix(first, second)
    assert iou_NM.shape == (len(a), len(b))
    np.testing.assert_allclose(iou_NM, iou_matrix(second, first).T)
    assert (iou_NM >= 0).all()
    assert (iou_NM <= 1 + 1e-9).all()
    assert (np.diag(iou_matrix(first, first)) == 1.0).all()


def test_iou_of_known_boxes() -> None:
    a = np.array([[100.0, 100, 300, 300]])
    np.testing.assert_allclose(iou_matrix(a, np.array([[200.0, 200, 400, 400], [300, 100, 400, 300]])), [[1 / 7, 0]])


def test_match_is_optimal_where_greedy_is_not() -> None:
    assert sorted(match(np.array([[0.9, 0.8], [0.8, 0.0]]))) == [(0, 1), (1, 0)]
    assert match(np.array([[0.9, 0.8], [0.8, 0.0]]), least=0.85) == [(0, 0)]
    assert match(np.zeros((2, 3))) == []


def test_match_takes_a_least_score_per_row() -> None:
    scores = np.array([[0.8, 0.0], [0.0, 0.8]])
    assert match(scores, np.array([[0.7], [0.9]])) == [(0, 0)]


ONE = Box((1.0, 2.0, 3.0, 4.0))


@pytest.mark.parametrize(("text", "boxes"), [
    ("[]", []),
    ("```json\n[ ]\n```", []),
    ("[1, 2, 3, 4]", [ONE]),
    ("[[1, 2, 3, 4], [5, 6, 7.5, 8]]", [ONE, Box((5.0, 6.0, 7.5, 8.0))]),
    ('{"box": [1, 2, 3, 4]}', [ONE]),
    ('{"objects": [{"bbox": ["1", "2", "3", "4"], "label": "a cat"}]}', [Box(ONE.coords, "a cat")]),
    ("It is at [1, 2, 3, 4].", [ONE]),
    ("(1, 2), (3, 4)", [ONE]),
    ("[{'bbox_2d': [1, 2, 3, 4], 'label': 'dog's toy'}, {'bbox_2d': [5, 6", [Box(ONE.coords, "dog's toy")]),
    ('[{"bbox_2d": [1, 2, 3, 4]}, {"bbox_2d": [1, 2, 3, 4]}]', [ONE]),
    ('[{"bbox_2d": [1, 2, 3, 4]}, {"bbox_2d": [3, 2, 1, 4]}, {"bbox_2d": [1, 2, NaN, 4]}]', [ONE]),
    ("[[1, 2, 3, 4], [1, 2, 3, 1e999]]", [ONE]),
    ("<ref>a cat</ref><box>(1,2),(3,4)</box>", [Box(ONE.coords, "a cat")]),
    ("<ref>a cat</ref><box>[[1, 2, 3, 4], [5, 6, 7.5, 8]]</box>",
     [Box(ONE.coords, "a cat"), Box((5.0, 6.0, 7.5, 8.0), "a cat")]),
    ("<|object_ref_start|>a<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|><|object_ref_start|>b"
     "<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|>", [Box(ONE.coords, "a"), Box(ONE.coords, "b")]),
    ("[3, 2, 1, 4]", None), ("[1, 2, 3]", None), ("[1, 2, 3, 4, 5]", None), ('[{"label": "x"}]', None), ("none", None),
    ("", None), ("[true, 2, 3, 4]", None),
])  # fmt: skip
def test_parse_boxes(text: str, boxes: list[Box] | None) -> None:
    assert parse_boxes(text) == boxes


def test_parse_boxes_is_bounded() -> None:
    many = str([[i, 0, i + 1, 1] for i in range(5000)])
    assert len(parse_boxes(many) or []) == MAX_PLACES
