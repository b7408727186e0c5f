"""Names of coordinates, of the keys of objects, and labels in front of places."""

import pytest

from vlmrl.reading.names import coordinates, is_generic, keyed, label_before, label_of


@pytest.mark.parametrize(("pairs", "coords"), [
    ({"x1": 1, "y1": 2, "x2": 3, "y2": 4}, [1, 2, 3, 4]),
    ({"xmax": 3, "xmin": 1, "ymax": 4, "ymin": 2}, [1, 2, 3, 4]),
    ({"left": 1, "top": 2, "width": 3, "height": 4}, [1, 2, 4, 6]), ({"x": 1, "y": 2, "w": 3, "h": 4}, [1, 2, 4, 6]),
    ({"x": 1, "y": 2}, [1, 2]), ({"x": "1", "y": 2, "score": 0.5}, [1, 2]), ({"width": 1, "height": 2}, None),
    ({"x": 1}, None), ({"x1": 1, "y1": 2, "x2": 3}, None), ({"top_left": [1, 2],
    "bottom_right": [3, 4]}, [1, 2, 3, 4]),
    ({"x1": 1, "y1": 2, "x2": 3, "y2": 4, "x3": 5, "y3": 6}, [[1, 2], [3, 4], [5, 6]]),
])  # fmt: skip
def test_coordinates(pairs: dict, coords: list | None) -> None:
    assert coordinates(list(pairs.items())) == coords


def test_the_sides_of_a_box_by_axis() -> None:
    assert coordinates([("x", 1), ("x", 3), ("y", 2), ("y", 4)]) == [1, 2, 3, 4]
    assert coordinates([("x", 1), ("x", 3), ("y", 2)]) is None


def test_keys_have_any_case_and_an_order() -> None:
    assert keyed({"Position": [1], "Confidence": 1}, ("box", "position")) == [1]
    assert keyed({"position": [1], "box": [2]}, ("box", "position")) == [2]
    assert keyed({"box": None}, ("box",)) is None
    assert [label_of({key: "car"}) for key in ("label", "category", "Class", "name", "object")] == ["car"] * 5
    assert label_of({"label": " "}) is None


@pytest.mark.parametrize(("before", "label"), [
    ("car: ", "car"), ("Car 2: ", "Car"), ("Point 1: ", None),
    ("• car: ", "car"), ("• car ", "car"), ("\nThe red car: ", "red car"), ('"dog": ', "dog"),
    ("| dog | ", "dog"), (", and a dog: ", "dog"), ("dog -> ", "dog"), ("car ", None), ("Answer: ", None),
    ("The bounding box: ", None), ("top-left: ", None), ("The car is at ", None), ("It is here: ", None), ("", None),
    ("one two three four five six: ", None),
])  # fmt: skip
def test_label_before(before: str, label: str | None) -> None:
    assert label_before(before) == label


def test_generic_names() -> None:
    assert all(map(is_generic, ("boxes", "bounding_boxes", "objects", "start_box", "coordinates", "Top-left")))
    assert not any(map(is_generic, ("car", "cardboard box", "left shoe", "red car")))
