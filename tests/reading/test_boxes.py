"""Boxes: read, converted, compared, matched."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.reading.boxes import MAX_BOXES, Box, answer_scale, convert, iou_matrix, match, parse_boxes
from vlmrl.reading.location_tokens import spell_out

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


def test_convert_there_and_back() -> None:
    boxes = np.array([[64.0, 48, 320, 240]])
    relative = convert(boxes, "pixels", "relative_1000", source_size=(640, 480))
    np.testing.assert_allclose(relative, [[100, 100, 500, 500]])
    np.testing.assert_allclose(convert(relative, "relative_1000", "pixels", target_size=(320, 240)), boxes / 2)
    np.testing.assert_allclose(convert(relative, "relative_1000", "relative_1"), [[0.1, 0.1, 0.5, 0.5]])


@pytest.mark.parametrize("size", [None, [640], [0, 480], "ab", 5, [float("nan"), 2]])
def test_convert_says_what_size_it_needs(size: object) -> None:
    with pytest.raises(ValueError, match="image_size"):
        convert(np.zeros((1, 4)), "pixels", "relative_1", source_size=size)  # pyright: ignore[reportArgumentType]


def test_match_takes_a_least_score_per_row() -> None:
    scores = np.array([[0.8, 0.0], [0.0, 0.8]])
    assert match(scores, np.array([[0.7], [0.9]])) == [(0, 0)]


@pytest.mark.parametrize(("frame", "scale"), [
    (("pixels", None, None, None), (1, 1)), (("relative_1", None, None, [9, 9]), (1, 1)),
    (("pixels", [640, 480], None, [320, 120]), (0.5, 0.25)),
    (("relative_1000", [640, 480], "pixels", None), (0.64, 0.48)),
    (("pixels", [200, 100], "relative_100", None), (0.5, 1.0)),
])  # fmt: skip
def test_answer_scale(frame: tuple, scale: tuple[float, float]) -> None:
    assert answer_scale(*frame) == pytest.approx(scale)


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
    assert len(parse_boxes(many) or []) == MAX_BOXES


def test_location_tokens_state_their_own_grid() -> None:
    text = spell_out(
        "<loc0512><loc0000><loc0768><loc0256> cat ; <loc0000><loc0512><loc0512><loc1023> big dog", (1000, 500)
    )
    assert parse_boxes(text) == [
        Box((0.0, 250.0, 250.0, 375.0), "cat"),
        Box((500.0, 0.0, 999.0234375, 250.0), "big dog"),
    ]
    kosmos = "<phrase>a snowman</phrase><object><patch_index_0044><patch_index_0863></object>"
    # Patch 44 is row 1, column 12; patch 863 row 26, column 31: the middles of both, of 32.
    assert parse_boxes(spell_out(kosmos, (32, 32))) == [Box((12.5, 1.5, 31.5, 26.5), "a snowman")]
    one_row = "<object><patch_index_0000><patch_index_0003></object>"
    assert parse_boxes(spell_out(one_row, (32, 32))) == [Box((0.0, 0.0, 4.0, 1.0))]
    assert spell_out(kosmos, None) == kosmos
