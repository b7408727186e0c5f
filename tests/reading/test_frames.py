"""Frames: the coordinates of target and answer, and what takes one to the other."""

import inspect
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.reading import boxes
from vlmrl.reading.frames import COORDS, Frame, declared, framed, written
from vlmrl.verdict import Shape


@pytest.mark.parametrize(("frame", "scale"), [
    (("pixels", None, None, None), (1, 1)), (("relative_1", None, None, [9, 9]), (1, 1)),
    (("pixels", [640, 480], None, [320, 120]), (0.5, 0.25)),
    (("relative_1000", [640, 480], "pixels", None), (0.64, 0.48)),
    (("pixels", [200, 100], "relative_100", None), (0.5, 1.0)),
])  # fmt: skip
def test_scale(frame: tuple, scale: tuple[float, float]) -> None:
    assert Frame(*frame).scale == pytest.approx(scale)


def test_to_the_answer_and_back() -> None:
    frame = Frame("pixels", [640, 480], "relative_1000")
    target_N4 = np.array([[64.0, 48, 320, 240], [0, 0, 640, 480]])
    answer_N4 = frame.to_answer(target_N4)
    np.testing.assert_allclose(answer_N4, [[100, 100, 500, 500], [0, 0, 1000, 1000]])
    np.testing.assert_allclose(frame.from_answer(answer_N4), target_N4)
    resized = Frame("pixels", [640, 480], "pixels", [320, 120])
    np.testing.assert_allclose(resized.to_answer(np.array([64.0, 48])), [32, 12])
    np.testing.assert_allclose(resized.from_answer(np.array([32.0, 12, 16, 6])), [64, 48, 32, 24])


def test_pixels_of_the_target() -> None:
    place_2 = np.array([0.5, 0.25])
    np.testing.assert_allclose(Frame("relative_1", [200, 80]).to_pixels(place_2), [100, 20])
    np.testing.assert_allclose(Frame("relative_1").to_pixels(place_2), place_2)
    np.testing.assert_allclose(Frame("pixels", [200, 80]).to_pixels(place_2), place_2)


@pytest.mark.parametrize(("frame", "extent", "answer_extent"), [
    (Frame(), None, None), (Frame("pixels", [640, 480]), (640, 480), (640, 480)),
    (Frame("relative_1000", None, "pixels"), (1000, 1000), None),
    (Frame("relative_1", [640, 480], "pixels", [64, 48]), (1, 1), (64, 48)),
    (Frame("pixels", [640, 480], "relative_100"), (640, 480), (100, 100)),
])  # fmt: skip
def test_extents(frame: Frame, extent: Any, answer_extent: Any) -> None:
    assert (frame.extent, frame.answer_extent) == (extent, answer_extent)


@pytest.mark.parametrize(("params", "says"), [
    ({"coords": "inches"}, "^coords 'inches' is unknown; use one of pixels, relative_1000"),
    ({"answer_coords": "miles"}, "^answer_coords 'miles' is unknown"),
    ({"answer_coords": "relative_1"}, "^image_size is missing"),
    ({"answer_size": [9, 9]}, "^image_size is missing"),
    *(({"image_size": size}, "image_size .* is not") for size in ([640], [0, 480], "ab", 5, [float("nan"), 2], [])),
    *(({"image_size": [9, 9], "answer_size": size}, "is not") for size in ([640], [True, 480], "ab", 5)),
])  # fmt: skip
def test_check_says_what_is_wrong(params: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Frame(**params).check()


def test_check_inside() -> None:
    frame = Frame("pixels", [640, 480])
    frame.check_inside("box", (0, 0), (640, 480))
    Frame().check_inside("box", (9999, 9999))
    with pytest.raises(ValueError, match=r"^box outside the image \(640 x 480 pixels\)"):
        frame.check_inside("box", (0, 0), (640, 481))


def test_answer_text_has_location_tokens_in_the_answers_coordinates() -> None:
    text = Frame("pixels", [640, 480], "relative_1").answer_text(
        "<answer><loc0512><loc0000><loc0768><loc0256></answer>"
    )
    assert boxes.parse_boxes(text) == [boxes.Box((0.0, 0.5, 0.25, 0.75))]
    assert Frame().answer_text("<think>still at it") == ""


def test_a_framed_function_takes_the_fields_of_a_row() -> None:
    @framed
    def function(response: str, *, metric: str = "iou", frame: Frame, evaluation: bool = False) -> tuple[Any, ...]:
        return response, metric, frame, evaluation

    row = {"coords": "relative_1", "answer_size": [9, 9], "evaluation": True}
    assert function("x", **row) == ("x", "iou", Frame("relative_1", answer_size=[9, 9]), True)
    assert function("x", metric="f1") == ("x", "f1", Frame(), False)
    assert [*inspect.signature(function).parameters] == ["response", "metric", *Frame._fields, "evaluation"]
    with pytest.raises(TypeError, match="unexpected keyword argument 'coord'"):
        function("x", coord="pixels")


def test_items_of_a_target() -> None:
    box, cat = [1, 2, 3, 4], {"bbox_2d": [5, 6, 7, 8], "label": "cat"}
    assert list(Frame().items(box, boxes.BOX_KEYS)) == [(box, None)]
    assert list(Frame().items(cat, boxes.BOX_KEYS)) == [(cat["bbox_2d"], "cat")]
    assert list(Frame().items([box, cat], boxes.BOX_KEYS)) == [(box, None), (cat["bbox_2d"], "cat")]
    assert list(Frame().items([], boxes.BOX_KEYS)) == []


def test_written_is_read_again() -> None:
    places = [([1.0, 2.0, 3.0, 4.0], "person's hat"), ([5.0, 6.0, 7.0, 8.0], None)]
    assert written("bbox_2d", places[:1]) == '[{"bbox_2d": [1.0, 2.0, 3.0, 4.0], "label": "person\'s hat"}]'
    assert boxes.parse_boxes(written("bbox_2d", places)) == [boxes.Box(tuple(c), label) for c, label in places]  # pyright: ignore[reportArgumentType]


# --- what a row does not say ------------------------------------------------------------------------------


def test_the_size_comes_from_the_image_and_the_numbers_are_its_pixels() -> None:
    assert declared({}, [[84, 112, 336, 336]], [(840, 560)]) == Frame("pixels", [840, 560])
    assert declared({"coords": "relative_1"}, [[0, 0, 1, 1]], [(840, 560)]) == Frame("relative_1", [840, 560])
    two = declared({"image": 1}, [[84, 112, 336, 336]], [(40, 30), (840, 560)])
    assert (two.image, two.image_size) == (1, [840, 560])
    assert declared({}, [84, 112, 336, 336], []) == Frame()


@pytest.mark.parametrize(("params", "target", "sizes", "says"), [
    ({}, [[0.1, 0.2, 0.4, 0.6]], [(840, 560)], "params.coords: missing, and all numbers of .* are below 2"),
    ({}, {"point_2d": [0.5, 1]}, [], "params.coords: missing"),
    ({}, "[0.1, 0.2, 0.4, 0.6]", [(840, 560)], "params.coords: missing"),
    ({}, [["0.1", "0.2", "0.4", "0.6"]], [(840, 560)], "params.coords: missing"),
    ({}, [[0.25, 0.4, 0.3, 0.4, 30]], [(840, 560)], "params.coords: missing"),
    ({}, [[0.1, 0.2, 0.4, 1.0004]], [(840, 560)], "params.coords: missing"),
    ({"coords": "relative_1000"}, [[0.1, 0.2, 0.4, 0.6]], [(840, 560)], "is it relative_1?"),
    ({}, [[9, 9, 20, 20]], [(40, 30), (40, 30)], "params.image: missing; the prompt has 2 images"),
    ({"image": 2}, [[9, 9, 20, 20]], [(40, 30), (40, 30)], "params.image: 2 is not the index"),
    ({"image": "0"}, [[9, 9, 20, 20]], [(40, 30)], "params.image: '0' is not the index"),
    ({"image_size": [1000, 1000]}, [[9, 9, 20, 20]], [(200, 300)], r"\[1000, 1000\] is not the size .* 200 x 300"),
    ({"image_size": "x"}, [[9, 9, 20, 20]], [(200, 300)], "image_size 'x' is not"),
])  # fmt: skip
def test_what_is_not_plain_is_asked_for(params: dict[str, Any], target: Any, sizes: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        declared(params, target, sizes)


def test_boxes_may_have_a_width_and_a_height() -> None:
    frame = Frame(box_form="xywh")
    target = [{"bbox": [84, 112, 252, 224], "label": "red"}, [1, 2, 3, 4]]
    assert list(frame.items(target, boxes.BOX_KEYS)) == [([84, 112, 336, 336], "red"), ([1, 2, 4, 6], None)]
    with pytest.raises(ValueError, match="box_form 'yxyx' is unknown; use one of xyxy, xywh"):
        Frame(box_form="yxyx").check()


# --- what is written --------------------------------------------------------------------------------------

SIZES = st.tuples(st.integers(2, 4000), st.integers(2, 4000))
SHARES = st.lists(st.floats(0, 1), min_size=4, max_size=4)


@given(
    SIZES, SIZES, st.sampled_from(COORDS), st.sampled_from(COORDS), st.lists(st.floats(0, 1), min_size=4, max_size=4)
)
def test_what_is_written_is_within_half_a_step_of_the_target(size, shown, coords, answer_coords, shares) -> None:
    frame = Frame(coords, list(size), answer_coords, list(shown))
    assert frame.extent
    assert frame.answer_extent
    target = np.array(shares) * np.resize(frame.extent, 4)
    said = np.array([float(number) for number in frame.written(target.tolist()).split(",")])
    again = frame.from_answer(said) / np.resize(frame.extent, 4)
    step = {"relative_100": 0.1, "relative_1": 0.001}.get(answer_coords, 1.0) / np.resize(frame.answer_extent, 4)
    assert (np.abs(again - shares) <= step / 2 + 1e-9).all()
    assert (np.abs(again - shares) <= frame.rounding + 1e-9).all()


def test_a_text_is_rewritten_where_it_holds_coordinates() -> None:
    frame = Frame("pixels", [840, 560], "pixels", [280, 168])
    text = '3 of [{"bbox_2d": [84, 112, 336, 336], "label": "red"}], (84,112), [[84, 112], [336, 336]], [1, 2, 3]'
    assert frame.rewritten(text) == (
        '3 of [{"bbox_2d": [28, 34, 112, 101], "label": "red"}], (28, 34), [[28, 34], [112, 101]], [1, 2, 3]'
    )
    assert Frame("pixels", [840, 560]).rewritten(text) == text
    assert frame.rewritten("in (2019, 2020) at [84, 112]") == "in (2019, 2020) at [28, 34]"
    assert frame._replace(answer_coords="relative_1").rewritten("[84, 112]") == "[0.100, 0.200]"


def test_a_shape_is_a_share_of_its_own_image() -> None:
    frame = Frame("pixels", [840, 560], "pixels", [280, 168])
    assert frame.shape("point", np.array([420.0, 280]), "red", True) == Shape("point", (0.5, 0.5), "red", True)
    assert frame.shape("point", np.array([140.0, 84]), None, False) == Shape("point", (0.5, 0.5), None, False)
    with pytest.raises(ValueError, match="image_size is missing"):
        Frame().shape("point", np.array([1.0, 1]), None, True)
