"""Boxes, points and times of other toolkits: what their numbers mean is stated, read from the image or asked for."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.converted import converted
from helpers.foreign_files import BOX, SIZE
from PIL import Image

from vlmrl import UserError
from vlmrl.data.media import encode_png
from vlmrl.rewards.composite import check_spec, score

PIXELS = {"coords": "pixels", "image_size": list(SIZE)}
X1, Y1, X2, Y2 = BOX
CORNERS = {"xmin": X1, "ymin": Y1, "xmax": X2, "ymax": Y2}


def row(answer: Any, problem: str = "Where is the red box?", **columns: Any) -> dict[str, Any]:
    return {"problem": problem, "answer": answer, "images": ["a.png"]} | columns


@pytest.mark.parametrize(
    "answer",
    [
        [BOX],
        f"[{BOX}]",
        f"<answer>[{BOX}]</answer>",
        f"```json\n[{BOX}]\n```",
        [{"bbox_2d": BOX}],
        f"[{{'bbox_2d': {BOX}, 'label': 'red box'}}]",
        f"[{{'Position': {BOX}, 'Confidence': 1}}]",
        [{"x1": X1, "y1": Y1, "x2": X2, "y2": Y2, "category": "red box"}],
        [{"x": X1, "y": Y1, "width": X2 - X1, "height": Y2 - Y1}],
        [{"x": X1, "y": Y1, "w": X2 - X1, "h": Y2 - Y1, "class_name": "red box"}],
        [{"xmin": X1, "ymin": Y1, "xmax": X2, "ymax": Y2, "category_id": "red box"}],
        [[str(side) for side in BOX]],
        f"The red box is at {BOX}.",
    ],
)
def test_boxes_in_every_form_become_corners_in_pixels(tmp_path, answer) -> None:
    (sample,) = converted(tmp_path, row(answer), verifier="dynamic_iou")
    (item,) = sample.reward[0].target  # pyright: ignore[reportGeneralTypeIssues, reportAssignmentType]
    assert (item["bbox_2d"] if isinstance(item, dict) else item) == BOX
    assert not isinstance(item, dict) or item.keys() <= {"bbox_2d", "label"}
    assert sample.reward[0].params == PIXELS


@pytest.mark.parametrize(
    ("answer", "coords", "target", "stated"),
    [
        ([[12, 16, 36, 48]], "xywh", [BOX], "pixels"),
        ([{"bbox": [12, 16, 36, 48], "label": "red"}], "pixels,xywh", [{"bbox": BOX, "label": "red"}], "pixels"),
        ([[0.1, 0.2, 0.3, 0.6]], "relative_1,xywh", [[0.1, 0.2, 0.4, 0.8]], "relative_1"),
        ([100, 200, 400, 800], "relative_1000", [100, 200, 400, 800], "relative_1000"),
    ],
)
def test_coords_are_what_the_user_says(tmp_path, answer, coords, target, stated) -> None:
    (sample,) = converted(tmp_path, row(answer), verifier="dynamic_iou", coords=coords)
    flat = [pytest.approx(item) if isinstance(item, list) else item for item in target]
    assert sample.reward[0].target == flat
    assert sample.reward[0].params == PIXELS | {"coords": stated}


def test_a_prompt_that_asks_for_per_mille_states_the_coordinates(tmp_path) -> None:
    rows = row([100, 200, 400, 800], "Locate it; coordinates between 0 and 1000.")
    (sample,) = converted(tmp_path, rows, verifier="dynamic_iou")
    assert sample.reward[0].params == PIXELS | {"coords": "relative_1000", "answer_coords": "relative_1000"}


@pytest.mark.parametrize(
    ("rows", "verifier", "complaint"),
    [
        (row([0.1, 0.2, 0.4, 0.6]), "dynamic_iou", "no number is above 1; give --coords pixels|relative_1000"),
        (row([0.1, 0.2]), "point", "no number is above 1; give --coords pixels|relative_1000"),
        (row([100, 20, 400, 80]), "dynamic_iou", "outside the image (120 x 80 pixels); correct it; is --coords right?"),
        (row(BOX, images=[]), "dynamic_iou", "images: missing; a row with places needs its image"),
        (row(BOX, images=["gone.png"]), "dynamic_iou", "gone.png: no such file or directory"),
        (row(BOX, images=["a.png", "b.png"]), "dynamic_iou", "the prompt has 2 images; say which one"),
        (row("left of it"), "point", "expected a list of boxes, or of other places, got 'left of it'"),
        (
            {
                "image": "a.png",
                "problem": "Detect it.",
                "solution": "[{'Position': [100, 20, 40, 80], 'Confidence': 1}]",
            },
            None,
            "its schema leaves them open; give --coords",
        ),
    ],
)
def test_coordinates_are_never_guessed(tmp_path, rows, verifier, complaint) -> None:
    with pytest.raises(UserError) as caught:
        converted(tmp_path, rows, verifier=verifier)
    assert str(caught.value).startswith(f"{tmp_path}/rows.jsonl:1: ")
    assert complaint in str(caught.value)


def test_texts_that_hold_places_are_read_for_each_verifier(tmp_path) -> None:
    (point,) = converted(tmp_path, row(str(BOX)), verifier="point")
    (polygon,) = converted(tmp_path, row("{'polygon': [[1, 2], [30, 4], [5, 60]]}"), verifier="polygon_iou")
    (time,) = converted(
        tmp_path, {"problem": "When?", "answer": "[2.0, 5.0]", "video": "v.mp4"}, verifier="temporal_iou"
    )
    assert (point.reward[0].target, point.reward[0].params) == (BOX, PIXELS)
    assert polygon.reward[0].target == {"polygon": [[1, 2], [30, 4], [5, 60]]}
    assert time.reward[0].target == [2.0, 5.0]


def test_times_state_their_unit(tmp_path) -> None:
    rows = {"problem": "When?", "solution": "[0.25, 0.5]", "video": "v.mp4", "video_length": 40}
    with pytest.raises(UserError, match="no time is above 1; say whether they are seconds or shares"):
        converted(tmp_path, rows, verifier="temporal_iou")
    (sample,) = converted(tmp_path, rows, verifier="temporal_iou", constants={"unit": "fraction"})
    assert sample.reward[0].params == {"unit": "fraction", "duration": 40.0}


def test_one_box_has_one_frame_whatever_toolkit_wrote_it(tmp_path) -> None:
    prompt = [{"role": "user", "content": "<image>Locate the red box."}]
    triune = {
        "verifier": "detection",
        "verifier_parm": {"det_verifier_normalized": True},
        "ground_truth": "[{'bbox_2d': [100, 200, 400, 800], 'label': 'red box'}]",
    }
    turns = [{"role": "user", "content": "<image>Find <ref-object>."}, {"role": "assistant", "content": "<bbox>"}]
    rows = [
        row(f"[{BOX}]", "Locate the red box."),
        {"prompt": prompt, "images": ["a.png"], "solution": f"<answer>[{BOX}]</answer>"},
        {"data_source": "x", "prompt": prompt, "images": ["a.png"], "reward_model": {"ground_truth": f"[{BOX}]"}},
        {"data_source": "x", "prompt": prompt, "images": ["a.png"], "reward_model": triune},
        {"messages": turns, "images": ["a.png"], "objects": {"ref": ["red box"], "bbox": [BOX]}},
        {"image": "a.png", "problem": "Locate it.", "solution": BOX, "normal_caption": "red box"},
    ]
    for sample in converted(tmp_path, *rows):
        (spec,) = sample.reward
        assert spec.params["image_size"] == list(SIZE)
        for coords, right, wrong in (
            ("relative_1000", "[100, 200, 400, 800]", str(BOX)),
            ("pixels", str([4 * side for side in BOX]), str(BOX)),
        ):
            params = {"answer_coords": coords, "answer_size": [480, 320]}
            judged = [score(sample, text, {"dynamic_iou": params}).score for text in (right, wrong)]
            assert judged == [1.0, 0.0], (sample.id, coords)


def test_the_image_of_several_is_the_one_that_is_named(tmp_path) -> None:
    (tmp_path / "large.png").write_bytes(encode_png(Image.new("RGB", (400, 300))))
    rows = row(BOX, "<image 2> and <image 1>: where is it?", images=["a.png", "large.png"])
    for number, size in ((0, [400, 300]), (1, list(SIZE))):
        (sample,) = converted(tmp_path, rows, verifier="dynamic_iou", constants={"image": number})
        assert sample.reward[0].params == {"coords": "pixels", "image_size": size, "image": number}
        check_spec(sample.reward[0])
    with pytest.raises(UserError, match=r"params.image: expected 0 to 1, got 2"):
        converted(tmp_path, rows, verifier="dynamic_iou", constants={"image": 2})


def test_a_box_in_prose_or_tags_is_a_place_where_the_question_asks_for_one(tmp_path) -> None:
    tags = "<|box_start|>(100,200),(400,800)<|box_end|>"
    (prose,) = converted(tmp_path, row(f"It is at {BOX}."))
    (tagged,) = converted(tmp_path, row(tags), coords="relative_1000")
    (named,) = converted(tmp_path, row("<ref>box</ref><box>[[100,200,400,800]]</box>"), coords="relative_1000")
    assert prose.reward[0].target == [{"bbox_2d": BOX}]
    assert tagged.reward[0].target == [{"bbox_2d": [100, 200, 400, 800]}]
    assert named.reward[0].target[0]["bbox_2d"] == [100, 200, 400, 800]  # pyright: ignore
    with pytest.raises(UserError, match="a model's tags usually hold its own; give --coords"):
        converted(tmp_path, row(tags))
    with pytest.raises(UserError, match="no number is above 1; give --coords"):
        converted(tmp_path, row("It is at [0.10, 0.20, 0.40, 0.60]."))


def test_lists_of_four_numbers_are_mathematics_where_no_place_is_asked_for(tmp_path) -> None:
    for answer in ("[[1, 2, 3, 4], [5, 6, 7, 8]]", [[1, 2, 3, 4], [5, 6, 7, 8]]):
        (sample,) = converted(tmp_path, row(answer, "What is the matrix?"))
        assert (sample.reward[0].verifier, sample.reward[0].target) == ("math", "[[1, 2, 3, 4], [5, 6, 7, 8]]")


def test_a_box_as_the_target_of_a_point_is_no_corner(tmp_path) -> None:
    for box in ({"x": X1, "y": Y1, "w": X2 - X1, "h": Y2 - Y1}, CORNERS):
        (sample,) = converted(tmp_path, row(box), verifier="point")
        assert sample.reward[0].target == {"bbox_2d": BOX}


@pytest.mark.parametrize(
    ("answer", "verifier"),
    [
        (["0.1", "0.2", "0.4", "0.6"], "dynamic_iou"),
        ([0.1, 0.2, 0.4, 1.0004], "dynamic_iou"),
        ({"rotated_box": [0.5, 0.5, 0.2, 0.1, 30]}, "polygon_iou"),
    ],
)
def test_shares_are_seen_as_text_with_rounding_and_beside_an_angle(tmp_path, answer, verifier) -> None:
    with pytest.raises(UserError, match="no number is above 1; give --coords"):
        converted(tmp_path, row(answer), verifier=verifier)


def test_normalised_boxes_of_a_schema_that_are_shares_are_an_error(tmp_path) -> None:
    model = {
        "verifier": "detection",
        "verifier_parm": {"det_verifier_normalized": True},
        "ground_truth": "[{'bbox_2d': [0.1, 0.2, 0.4, 0.8]}]",
    }
    prompt = [{"role": "user", "content": "<image>Locate it."}]
    with pytest.raises(UserError, match="are said to be relative_1000, but no number is above 1"):
        converted(tmp_path, {"data_source": "x", "prompt": prompt, "images": ["a.png"], "reward_model": model})


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("Coordinates are normalized to 0-1000.", "relative_1000"),
        ("They run from (0,0) to (1000,1000).", "relative_1000"),
        ("Answer with per-mille coordinates.", "relative_1000"),
        ("The bounding box is in [0~1000].", "relative_1000"),
        ("Give the box relative to the image size, 0 to 1.", "relative_1"),
        ("Rate its price from 0 to 1000.", None),
        ("State a confidence for each box between 0 and 1.", None),
    ],
)
@pytest.mark.parametrize("role", ["user", "system"])
def test_the_prompt_states_the_coordinates_of_answers_only(tmp_path, said, asked, role) -> None:
    turns = [{"role": "user", "content": f"Where is the red box? {said if role == 'user' else ''}"}]
    turns = [{"role": "system", "content": said}, *turns] if role == "system" else turns
    given = {"messages": turns, "images": ["a.png"], "solution": BOX}
    (sample,) = converted(tmp_path, given, verifier="dynamic_iou", coords="pixels")
    assert sample.reward[0].params == PIXELS | ({"answer_coords": asked} if asked else {})
    if asked == "relative_1000":
        with pytest.raises(UserError, match="are not stated, and the prompt asks for relative_1000; give --coords"):
            converted(tmp_path, given, verifier="dynamic_iou")


def test_a_list_is_a_solution_for_trl(tmp_path) -> None:
    given = {"prompt": "Locate the red box.", "image": "a.png", "solution": [BOX]}
    (sample,) = converted(tmp_path, given)
    assert (sample.reward[0].verifier, sample.reward[0].target) == ("dynamic_iou", [BOX])
    assert converted(tmp_path, given | {"prompt": "How many?", "solution": 3})[0].reward[0].target == 3
    with pytest.raises(UserError, match=r"solution .*: missing"):
        converted(tmp_path, given, given | {"solution": None})
