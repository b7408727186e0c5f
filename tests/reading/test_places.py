"""Places in an answer, read alike for boxes, points and polygons: every form, and what is no answer."""

import sys
from typing import Any

import pytest

from vlmrl.reading.boxes import Box, parse_boxes
from vlmrl.reading.points import Point, parse_points
from vlmrl.reading.polygons import Polygon, parse_polygons

A, B = (100.0, 200.0, 300.0, 400.0), (500.0, 120.0, 620.0, 260.0)
CAR, DOG = Box(A, "car"), Box(B, "dog")
SAID_A, SAID_B = "[100, 200, 300, 400]", "[500, 120, 620, 260]"
SQUARE = Polygon((((10.0, 10.0), (30.0, 10.0), (30.0, 30.0), (10.0, 30.0)),))


@pytest.mark.parametrize("said", [
    "[100，200，300，400]", "［１００，２００，３００，４００］", "【100、200、300、400】",
    "（100，200），（300，400）",
    "左上角(100,200)，右下角(300,400)", "汽车位于[100，200，300，400]。",
])  # fmt: skip
def test_full_width_and_chinese_punctuation(said: str) -> None:
    assert parse_boxes(said) == [Box(A)]


@pytest.mark.parametrize("said", [
    "100, 200, 300, 400", "100 200 300 400", "Answer: 100, 200, 300, 400", "The bounding box is 100, 200, 300, 400.",
    "Coordinates: 100, 200, 300, 400", "答案：100，200，300，400", "100, 200, 300, 400 (in pixels)",
])  # fmt: skip
def test_bare_numbers_on_a_line_of_their_own(said: str) -> None:
    assert parse_boxes(said) == [Box(A)]


@pytest.mark.parametrize("said", [
    "I looked at 100 places and 200 cars in 300 to 400 seconds", "100, 200, 300", "100, 200, 300, 400, 500",
    "100-200-300-400", "Call 100 200 300 400 now", "1. 100\n2. 200\n3. 300\n4. 400", "100 * 200 * 300 * 400",
    "Resolution: 100, 200, 300, 400", "The odds are 100, 200, 300, 400", "nan, nan, nan, nan",
])  # fmt: skip
def test_numbers_of_other_things_are_no_box(said: str) -> None:
    assert parse_boxes(said) is None


@pytest.mark.parametrize("said", ["There are 140 cups and 50 plates.", "The screen is 140 by 50 pixels.",
    "Answer: 140 to 50", "Answer: 140 cups and 50 plates", "0.3 0.07 are confidences", "The size is (140, 50)",
    "1. 140\n2. 50", "140:50", "140x50", "140 * 50", "page 140, 50 of 99"])  # fmt: skip
def test_numbers_of_other_things_are_no_point(said: str) -> None:
    assert parse_points(said) is None


@pytest.mark.parametrize("said", [
    '{"x1": 100, "y1": 200, "x2": 300, "y2": 400}', '{"xmin": 100, "ymin": 200, "xmax": 300, "ymax": 400}',
    '{"left": 100, "top": 200, "right": 300, "bottom": 400}',
    '{"left": 100, "top": 200, "width": 200, "height": 200}',
    '{"x": 100, "y": 200, "w": 200, "h": 200}', '{"bbox": {"x_min": 100, "y_min": 200, "x_max": 300, "y_max": 400}}',
    '{"top_left": [100, 200], "bottom_right": [300, 400]}', "x1 = 100, y1 = 200, x2 = 300, y2 = 400",
    "from x=100 to x=300, y=200 to y=400", "x from 100 to 300 and y from 200 to 400",
    "- x1: 100\n- y1: 200\n- x2: 300\n- y2: 400",
    "x=100, y=200 with width=200 and height=200", "(x1, y1) = (100, 200), (x2, y2) = (300, 400)",
    "Top-left: (100, 200), bottom-right: (300, 400)",
])  # fmt: skip
def test_coordinates_by_name(said: str) -> None:
    assert parse_boxes(said) == [Box(A)]


@pytest.mark.parametrize("said", [
    "x = 140 and y = 50", "The x-coordinate is 140 and the y-coordinate is 50.", "X=140, Y=50", "(x: 140, y: 50)",
    '{"cup": {"x": 140, "y": 50}}', "(140px, 50px)", "x≈140, y≈50", '{"point": "140, 50"}',
])  # fmt: skip
def test_points_by_name(said: str) -> None:
    assert [point.coords for point in parse_points(said) or []] == [(140.0, 50.0)]


@pytest.mark.parametrize("said", [
    f'{{"car": {SAID_A}, "dog": {SAID_B}}}', f"{{'car': [{SAID_A}], 'dog': [{SAID_B}]}}",
    f'[{{"category": "car", "bbox": {SAID_A}}}, {{"category": "dog", "bbox": {SAID_B}}}]',
    f'[{{"class": "car", "box": {SAID_A}}}, {{"name": "dog", "bounding_box": {SAID_B}}}]',
    f'{{"objects": [{{"object": "car", "coordinates": {SAID_A}}}, {{"label": "dog", "Position": {SAID_B}}}]}}',
    f"car: {SAID_A}\ndog: {SAID_B}", f"- **car**: {SAID_A}\n- **dog**: {SAID_B}", f"1. car {SAID_A}\n2. dog {SAID_B}",
    f"Here they are:\n\n* car: {SAID_A}\n* dog: {SAID_B}", f"| car | {SAID_A} |\n| dog | {SAID_B} |",
    "The car: (100, 200), (300, 400); the dog: (500, 120), (620, 260)", f'[{{"car": {SAID_A}}}, {{"dog": {SAID_B}}}]',
    "<ref>car</ref><box>(100,200),(300,400)</box><ref>dog</ref><box>[[500,120,620,260]]</box>",
])  # fmt: skip
def test_labels(said: str) -> None:
    assert parse_boxes(said) == [CAR, DOG]


@pytest.mark.parametrize("said", [
    f"Object 1: {SAID_A}",
    f"The bounding box of the car is: {SAID_A}", f"Bounding box: {SAID_A}", f"Car location: {SAID_A}",
    f"Answer: {SAID_A}",
    f'{{"boxes": [{SAID_A}]}}', f'{{"result": {{"bbox_2d": {SAID_A}}}}}', f"The car is located at {SAID_A}.",
    f"[[{SAID_A}]]", f"<|begin_of_box|>[{SAID_A}]<|end_of_box|>", "<box>100 200 300 400</box>",
    r"\boxed{\left(100, 200, 300, 400\right)}", r"$$\boxed{[100,\ 200,\ 300,\ 400]}$$", r"\{100, 200, 300, 400\}",
])  # fmt: skip
def test_what_only_leads_to_a_box_is_no_label(said: str) -> None:
    assert parse_boxes(said) == [Box(A)]


def test_what_stands_before_a_single_box_is_its_label() -> None:
    assert parse_boxes(f"The red car: {SAID_A}") == [Box(A, "red car")]
    assert parse_boxes(f"Here you go: {SAID_A}") == [Box(A)]


@pytest.mark.parametrize("said", [
    "| object | x1 | y1 | x2 | y2 |\n|---|---|---|---|---|\n| car | 100 | 200 | 300 | 400 |",
    "Result:\n\n| Object | xmin | ymin | xmax | ymax |\n|:--|--:|--|--|--|\n| car | 100 | 200 | 300 | 400 |\n",
    "| Label | Left (px) | Top (px) | Right | Bottom |\n|-|-|-|-|-|\n| car | 100 px | 200 px | 300 | 400 |",
])  # fmt: skip
def test_tables_with_a_column_for_each_coordinate(said: str) -> None:
    assert parse_boxes(said) == [Box(A, "car")]
    assert parse_boxes(said.replace("300", "wide")) is None


@pytest.mark.parametrize("said", [
    "<point>140 50</point>", '<point x="140" y="50" alt="cup">cup</point>', "<|box_start|>(140,50)<|box_end|>",
    "click(140, 50)", "pyautogui.click(x=140, y=50)", "pyautogui.click(140, 50, button='left')",
    "Action: click(point='<point>140 50</point>')", "click(start_box='<|box_start|>(140,50)<|box_end|>')",
    '{"action": "click", "coordinate": [140, 50]}', "{'action': 'CLICK', 'value': None, 'position': [140, 50]}",
    "CLICK(box=[[120,030,160,070]])",
    '<tool_call>{"name": "computer", "arguments": {"coordinate": [140, 50]}}</tool_call>',
])  # fmt: skip
def test_tags_and_calls(said: str) -> None:
    assert parse_points(said) == [Point((140.0, 50.0))]


def test_a_tag_with_several_points() -> None:
    said = '<points x1="140" y1="50" x2="400" y2="300" alt="cups">cups</points>'
    assert parse_points(said) == [Point((140.0, 50.0)), Point((400.0, 300.0))]
    assert parse_points('<point x="50%" y="25%">', (640, 480)) == [Point((320.0, 120.0))]


@pytest.mark.parametrize("said", [
    "(10, 10), (30, 10), (30, 30) and (10, 30)", "1. (10, 10)\n2. (30, 10)\n3. (30, 30)\n4. (10, 30)",
    "10, 10, 30, 10, 30, 30, 10, 30", "（10，10）、（30，10）、（30，30）、（10，30）",
    '{"x": 10, "y": 10, "width": 20, "height": 20}',
    '{"vertices": [{"x": 10, "y": 10}, {"x": 30, "y": 10}, {"x": 30, "y": 30}, {"x": 10, "y": 30}]}',
    "x1=10, y1=10, x2=30, y2=10, x3=30, y3=30, x4=10, y4=30", "10, 10, 30, 30",
])  # fmt: skip
def test_polygons(said: str) -> None:
    assert parse_polygons(said) == [SQUARE]


@pytest.mark.parametrize("said", [
    f"{SAID_A}\n\nNote: the image spans [0, 0, 640, 480].",
    f"Answer: {SAID_A} (coordinates run from (0, 0) to (640, 480))",
    f"{SAID_A}\n(note: coordinates run from (0, 0) to (640, 480))",
    f"Answer: {SAID_A}. The one at {SAID_B} is another.",
    f"I thought of {SAID_B}.\nFinal answer: {SAID_A}", f"{SAID_B}\nWait, that is wrong. It is {SAID_A}.",
    f"It is not {SAID_B} but {SAID_A}.", f"The car is at {SAID_A}. Answer: I cannot say more.",
    f"{SAID_A}\n\nThe car stands left of the dog at {SAID_B}.",
])  # fmt: skip
def test_notes_explanations_and_corrections(said: str) -> None:
    assert parse_boxes(said) == [Box(A)]


@pytest.mark.parametrize("said", [
    f"The car is not at {SAID_A}.", f"There is no car at {SAID_A}", f"It isn't at {SAID_A}", f"{SAID_A} is wrong.",
    f"The car is neither at {SAID_A} nor elsewhere.", f"没有在{SAID_A}找到汽车。", f"{SAID_A} or {SAID_B}",
    f"Either {SAID_A} or maybe {SAID_B}", f"{SAID_A}，或{SAID_B}", "from x=175 to x=935, y=85 to",
    "from (100, 200) to",
    "[100, 200, 300", "x1=100, y1=200, x2=300", "",
])  # fmt: skip
def test_denied_open_and_cut_off_places_are_no_answer(said: str) -> None:
    assert parse_boxes(said) is None
    assert parse_points(said.replace(SAID_A, "(140, 50)").replace(SAID_B, "(1, 2)")) is None or "x1" in said


def test_a_place_that_the_answer_denies_is_not_taken_from_the_text_before_it() -> None:
    assert parse_boxes(f"The car may be at {SAID_A}. Answer: not at {SAID_A}") is None
    assert parse_boxes(f"The car may be at {SAID_A}. Answer: {SAID_A} or {SAID_B}") is None


def test_a_cut_off_list_keeps_what_is_complete() -> None:
    said = "[{'bbox_2d': [100, 200, 300, 400], 'label': 'car'}, {'bbox_2d': [5, 6"
    assert parse_boxes(said) == [CAR]
    assert parse_polygons("[[10, 10], [30, 10], [30, 30], [10,") is None


@pytest.mark.parametrize("read", [parse_boxes, parse_points, parse_polygons])
def test_none_in_words_is_an_option(read: Any) -> None:
    for said in ("No Objects", "There are no cars in the image.", "<b>", "**None**", "The cup is not visible."):
        assert read(said) is None
        assert read(said, none_in_words=True) == (None if said == "<b>" else [])
    for said in ("[]", '{"objects": []}', "[[]]", "The answer is []."):
        assert read(said) == []
    assert read("No objects at [10, 10, 30, 30]", none_in_words=True) is None


@pytest.mark.parametrize("unit", [
    "(", "[", "{'a': ", "(1, 2) ", "[1, 2], ", "x=1 ", "a: [1,2]\n", "not ", "1, ", "'", "<box>",
    "\n ", "• ", '<points x1="1" y1="2" ', "[1,2,3,4] the a b c. ", ": 1 2",
])  # fmt: skip
def test_the_text_is_read_in_linear_steps(unit: str) -> None:
    """Four times the text costs about four times the calls of Python functions."""

    def calls(text: str) -> int:
        count = 0

        def count_call(*_: Any) -> None:
            nonlocal count
            count += 1

        sys.setprofile(count_call)
        try:
            for read in (parse_boxes, parse_points, parse_polygons):
                read(text)
        finally:
            sys.setprofile(None)
        return count

    few, many = (calls(unit * (size // len(unit))) for size in (2000, 8000))
    assert many < 6 * few + 1000
