"""Points: every way to write one, hits and distances, and what must not pay."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmrl import catalog
from vlmrl.reading.points import Point, parse_points
from vlmrl.verdict import Verdict

BUTTON = [100, 40, 180, 60]


def verify(response: Any, target: Any, **params: Any) -> Verdict:
    text = response if isinstance(response, str) else json.dumps(response)
    return catalog.load("verifiers", "point").verify(text, target, **params)


def score(response: Any, target: Any, **params: Any) -> float | None:
    return verify(response, target, **params).score


@pytest.mark.parametrize("said", [
    "(140, 50)", "[140, 50]", "140, 50", "140 50", "x=140, y=50", "x: 140, y: 50", "The point is (140, 50).",
    '{"x": 140, "y": 50}', '[{"point_2d": [140, 50], "label": "OK"}]', '```json\n{"point": ["140", "50"]}\n```',
    "<point>140 50</point>", "<point>(140, 50)</point>", "<point>[(140,50)]</point>",
    '<point x="140" y="50" alt="OK">OK</point>', '<points x1="140" y1="50" alt="OK">OK</points>',
    "<|box_start|>(140,50)<|box_end|>", "click(start_box='(140,50)')", "pyautogui.click(x=140, y=50)", "click(140, 50)",
    '{"name": "computer_use", "arguments": {"action": "left_click", "coordinate": [140, 50]}}',
    "<ref>OK</ref><box>(130,45),(150,55)</box>", "[130, 45, 150, 55]", '{"bbox_2d": [130, 45, 150, 55]}',
    "<|begin_of_box|>[140, 50]<|end_of_box|>", r"\boxed{(140, 50)}", "<think>(1, 2)</think>(140, 50)",
    "It is not (10, 10). It is (140, 50).", "Answer: [140, 50]. The one at [10, 10] is another.",
    "The point is [140, 50]. Answer: I cannot say more", "[{'point_2d': [140, 50], 'label': 'it's OK'}, {'point",
    "(140, 50), that is (140, 50)", "（140，50）",
])  # fmt: skip
def test_ways_to_click(said: str) -> None:
    assert score(said, BUTTON) == 1.0


@pytest.mark.parametrize("said", [
    "", "the button", "140", "[140]", "[140, 50, 3]", "(140, 61)", "(99, 50)", "(140, 50) or (10, 10)",
    "[[140, 50], [10, 10]]", "<think>(140, 50)", "[140, NaN]", "[140, 1e999]", "x=140", "[x, y]", "[]", "[50, 140]",
    "anywhere in (0, 0), (200, 0), (200, 100)", "[14%, 5%]",
])  # fmt: skip
def test_what_is_no_click_on_the_button(said: str) -> None:
    assert score(said, BUTTON) == 0.0


def test_per_cent_is_a_share_of_the_answers_image() -> None:
    assert parse_points("[50%, 25%]", (1.0, 1.0)) == [Point((0.5, 0.25))]
    assert score("(70%, 50%)", BUTTON, image_size=[200, 100]) == 1.0
    assert score('<point x="70.0" y="50.0">', BUTTON, image_size=[200, 100], answer_coords="relative_100") == 1.0
    assert score("<loc0500><loc0700><loc0530><loc0740>", BUTTON, image_size=[200, 100]) == 1.0


def test_edges_are_inside_in_every_coordinate_system() -> None:
    target = [0.8128472222222223, 0.6877777777777778, 0.8170138888888889, 0.6944444444444444]
    for x in (target[0], target[2]):
        for y in (target[1], target[3]):
            assert score([x, y], target, coords="relative_1") == 1.0
            answer = [x * 1920, y * 1080]
            assert score(answer, target, coords="relative_1", answer_coords="pixels", image_size=[1920, 1080]) == 1.0
    assert score([target[0] - 1e-4, target[1]], target, coords="relative_1") == 0.0


def test_polygons_and_their_hollows() -> None:
    hook = {"polygon": [[0, 0], [90, 0], [90, 10], [10, 10], [10, 90], [0, 90]]}
    assert score([5, 80], hook) == score([80, 5], hook) == score([10, 50], hook) == 1.0
    assert score([45, 45], hook) == 0.0, "the middle of its box lies outside"
    assert score(catalog.load("verifiers", "point").gold(hook), hook) == 1.0


def test_radius_in_pixels_and_as_a_share_of_the_diagonal() -> None:
    assert [score([30, 40 + d], [30, 40], radius=5) for d in (0, 5, 6)] == [1.0, 1.0, 0.0]
    share = {"radius": 0.1, "radius_unit": "diagonal", "image_size": [300, 400]}
    assert [score([30, 40 + d], [30, 40], **share) for d in (0, 50, 51)] == [1.0, 1.0, 0.0]
    # On a grid of 1000, x and y units differ in pixels.
    grid = {"coords": "relative_1000", "image_size": [2000, 500], "radius": 10}
    assert [score(said, [500, 500], **grid) for said in ([505, 500], [506, 500], [500, 520], [500, 521])] == [
        1,
        0,
        1,
        0,
    ]


# Of the released reward of GLM-4.1V for OSWorld: the distance in pixels, and what it is worth.
@pytest.mark.parametrize(("distance", "worth"), [
    (0, 1.0), (5, 0.95), (10, 0.9), (20, 0.8), (20.5, 0.59), (25, 0.5), (40, 0.2), (50, 0.0), (500, 0.0),
])  # fmt: skip
def test_osworld(distance: float, worth: float) -> None:
    assert score([30 + distance, 40], [30, 40], metric="osworld") == pytest.approx(worth)
    assert score([180 + distance, 50], BUTTON, metric="osworld") == pytest.approx(worth), "0 inside the box"
    diagonal = distance / math.sqrt(2)
    assert score([30 - diagonal, 40 - diagonal], [30, 40], metric="osworld") == pytest.approx(worth)


def test_several_points_one_to_one() -> None:
    targets = [[10, 10], [50, 50], [90, 90]]
    assert score(targets[::-1], targets) == 1.0
    assert score([[10, 10], [11, 11], [12, 12]], targets) == pytest.approx(1 / 3), "each place once"
    assert score([[10, 10], [50, 50]], targets) == pytest.approx(2 / 3)
    assert score([*targets, [300, 300]], targets) == pytest.approx(3 / 4)
    assert score("1. (10, 10)\n2. (50, 50)\n3. (90, 90)", targets) == 1.0
    everywhere = [[x, y] for x in range(0, 200, 8) for y in range(0, 100, 8)]
    assert (score(everywhere, targets) or 0.0) < 0.02
    assert (score(everywhere, targets, metric="osworld") or 0.0) < 0.02
    assert score(everywhere, BUTTON) == 0.0
    assert score("[]", []) == 1.0
    assert score([[1, 1]], []) == 0.0


def test_labels() -> None:
    cat, dog = {"point_2d": [10, 10], "label": "cat"}, {"bbox_2d": [100, 100, 120, 120], "label": "dog"}
    said = [{"point_2d": [110, 110], "label": "Dog"}, {"point_2d": [12, 10], "label": "cat"}]
    assert score(said, [cat, dog]) == 1.0
    assert score([{"point_2d": [110, 110], "label": "cat"}, {"point_2d": [12, 10], "label": "dog"}], [cat, dog]) == 0.0
    assert score([[12, 10], [110, 110]], [cat, dog]) == 0.0, "two labels, none said"
    assert score([12, 10], cat) == 1.0


@pytest.mark.parametrize(("target", "params", "says"), [
    ([180, 40, 100, 60], {}, "x1 < x2"), ("button", {}, "not a place"), ([1, 2, 3], {}, "not a place"),
    ({}, {}, "not a place"),
    (BUTTON, {"metric": "click"}, "click.*osworld"), (BUTTON, {"radius_unit": "cm"}, "cm.*diagonal"),
    ([5, 5], {"coords": "relative_1000"}, "image_size"), ([900, 5], {"image_size": [640, 480]}, "640 x 480"),
    ([5, 5], {"radius_unit": "diagonal"}, "image_size"), ([5, 5], {"coords": "inches"}, "inches"),
    ([.5, .5, .6, .6], {"coords": "relative_1", "metric": "osworld"}, "image_size"),
])  # fmt: skip
def test_bad_targets_say_value_and_mend(target: Any, params: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        catalog.load("verifiers", "point").check_target(target, **params)
    assert verify("[1, 2]", target, **params).status == "bad_target"


@settings(max_examples=150, deadline=None)
@given(near=st.floats(0, 300), further=st.floats(0, 300), angle=st.floats(0, 7))
def test_osworld_never_rises_with_distance(near: float, further: float, angle: float) -> None:
    worth = [
        score([500 + d * math.cos(angle), 500 + d * math.sin(angle)], [500, 500], metric="osworld") or 0.0
        for d in sorted((near, further))
    ]
    assert worth[0] >= worth[1] - 1e-9


@pytest.mark.parametrize("said", [
    "x = 140 and y = 50", "Answer: 140 50", "Answer: [140, 50]\n(note: coordinates run from (0, 0) to (640, 480))",
    r"\boxed{\left(140, 50\right)}", "**Final Answer:** (140, 50)", "点击坐标为（140，50）。", "130, 45, 150, 55",
    "It is not at (10, 10), it is at (140, 50).", "(10, 10). Wait, no: (140, 50)", '{"point": "140, 50"}',
])  # fmt: skip
def test_clicks_as_models_print_them(said: str) -> None:
    assert score(said, BUTTON) == 1.0


@pytest.mark.parametrize("said", [
    "It is not at (140, 50).", "Do not click at (140, 50).", "from x=120 to x=160, y=30 to", "(140, 50) is wrong.",
    "Answer: 140 cups and 50 plates", "Answer: 140 to 50", "The screen is 140 by 50 pixels.",
    "I see nothing at (140, 50)",
])  # fmt: skip
def test_what_only_looks_like_a_click(said: str) -> None:
    assert score(said, [120, 20, 180, 80]) == 0.0


def test_bare_shares_after_a_cue() -> None:
    frame = {"coords": "relative_1", "image_size": [640, 480]}
    assert score("Answer: 0.3 0.07", [0.25, 0.05, 0.35, 0.1], **frame) == 1.0
    assert score("0.3 0.07 are confidences", [0.25, 0.05, 0.35, 0.1], **frame) == 0.0


@pytest.mark.parametrize(
    "target", ["[100, 40, 180, 60]", "{'bbox_2d': [100, 40, 180, 60]}", "[[140, 50]]", "(140, 50)"]
)
def test_targets_as_text(target: str) -> None:
    module = catalog.load("verifiers", "point")
    module.check_target(target)
    assert score(module.gold(target), target) == score("(140, 50)", target) == 1.0
    assert score("(10, 400)", target) == 0.0


def test_none_in_words_is_an_option_of_the_row() -> None:
    assert score("There is no such element.", []) == 0.0
    assert score("There is no such element.", [], none_in_words=True) == 1.0
    assert score("None", BUTTON, none_in_words=True) == 0.0
