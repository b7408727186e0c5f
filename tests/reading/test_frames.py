"""Frames: the coordinates of target and answer, and what takes one to the other."""

import inspect
from typing import Any

import numpy as np
import pytest

from vlmrl.reading import boxes
from vlmrl.reading.frames import Frame, framed, true_items, written


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


def test_true_items() -> None:
    box, cat = [1, 2, 3, 4], {"bbox_2d": [5, 6, 7, 8], "label": "cat"}
    assert list(true_items(box, boxes.BOX_KEYS)) == [(box, None)]
    assert list(true_items(cat, boxes.BOX_KEYS)) == [(cat["bbox_2d"], "cat")]
    assert list(true_items([box, cat], boxes.BOX_KEYS)) == [(box, None), (cat["bbox_2d"], "cat")]
    assert list(true_items([], boxes.BOX_KEYS)) == []


def test_written_is_read_again() -> None:
    places = [([1.0, 2.0, 3.0, 4.0], "person's hat"), ([5.0, 6.0, 7.0, 8.0], None)]
    assert written("bbox_2d", places[:1]) == '[{"bbox_2d": [1.0, 2.0, 3.0, 4.0], "label": "person\'s hat"}]'
    assert boxes.parse_boxes(written("bbox_2d", places)) == [boxes.Box(tuple(c), label) for c, label in places]  # pyright: ignore[reportArgumentType]
