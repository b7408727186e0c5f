"""Boxes: every metric against its formula, COCO's figures, what rounding leaves, and what must not pay."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vlmrl import catalog
from vlmrl.reading import boxes, detection
from vlmrl.reading.detection import AVERAGED, Detections, average_precision
from vlmrl.verdict import Verdict

CAT = {"bbox_2d": [100, 100, 200, 200], "label": "cat"}
DOG = {"bbox_2d": [300, 300, 400, 400], "label": "dog"}


def verify(response: Any, target: Any, **params: Any) -> Verdict:
    text = response if isinstance(response, str) else json.dumps(response)
    return catalog.load("verifiers", "dynamic_iou").verify(text, target, **params)


def score(response: Any, target: Any, **params: Any) -> float | None:
    return verify(response, target, **params).score


def test_the_average_is_the_mean_over_eleven_thresholds() -> None:
    answer, target = [[100, 100, 200, 193], [300, 300, 400, 381]], [CAT["bbox_2d"], DOG["bbox_2d"]]
    assert len(AVERAGED) == 11
    each = [score(answer, target, threshold=t) for t in AVERAGED]
    assert score(answer, target, metric="mixture_average") == pytest.approx(np.mean(np.array(each)))


@pytest.mark.parametrize(("metric", "value"), [("share", 2 / 4), ("f1", 4 / 7), ("iou", (1 + 0.9) / 4)])
def test_four_answered_three_true_two_matched(metric: str, value: float) -> None:
    target = [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]]
    answer = [[0, 0, 10, 10], [20, 0, 30, 9], [60, 0, 70, 10], [80, 0, 90, 10]]
    assert score(answer, target, metric=metric) == pytest.approx(value)


def test_a_single_box_is_worth_its_iou_or_nothing() -> None:
    assert score([100, 100, 200, 160], CAT, metric="iou") == pytest.approx(0.6)
    assert score([100, 100, 200, 140], CAT, metric="iou") == 0.0
    assert score([100, 100, 200, 140], CAT, metric="iou", threshold=0.0) == pytest.approx(0.4)


@pytest.mark.parametrize("metric", ["mixture", "mixture_average", "share", "f1", "iou", "map", "map_50", "map_75"])
def test_no_metric_pays_for_more_boxes_or_for_everything(metric: str) -> None:
    target = [CAT, DOG]
    assert score(target, target, metric=metric) == 1.0
    assert score("[]", target, metric=metric) == 0.0
    assert score("[]", [], metric=metric) == 1.0
    assert score([CAT], [], metric=metric) == 0.0
    whole_image = [item | {"bbox_2d": [0, 0, 1000, 1000]} for item in target]
    assert score(whole_image, target, metric=metric) == 0.0
    grid = [{"bbox_2d": [x, y, x + 100, y + 100], "label": name} for x in range(0, 1000, 100)
            for y in range(0, 1000, 100) for name in ("cat", "dog")]  # fmt: skip
    assert (score(grid, target, metric=metric) or 0.0) < 0.05
    one_more = [*target, {"bbox_2d": [600, 600, 650, 650], "label": "cow"}]
    assert (score(one_more, target, metric=metric) or 0.0) <= 0.8
    assert score(one_more, target, metric=metric) == score(one_more[::-1], target, metric=metric)


def test_average_precision_counts_every_false_positive() -> None:
    free = {"metric": "map", "size_penalty": 1.0}
    wrong = {"bbox_2d": [600, 600, 650, 650]}
    assert score([CAT, wrong | {"label": "cat"}], [CAT], **free) == pytest.approx(0.5), "of a true label, at the end"
    assert score([CAT, wrong | {"label": "cow"}], [CAT], **free) == pytest.approx(0.5), "of a label that is not true"
    assert score([CAT, wrong | {"label": "cow"}], [CAT], metric="map") == pytest.approx(0.3)
    assert score([CAT | {"bbox_2d": [100, 100, 200, 180]}], [CAT], metric="map") == pytest.approx(7 / 10)
    assert score([{"bbox_2d": CAT["bbox_2d"]}], [CAT], metric="map") == 1.0, "one label: it need not be said"
    assert score([{"bbox_2d": CAT["bbox_2d"]}], [CAT, DOG], metric="map") == 0.0
    assert score([CAT], [{"bbox_2d": CAT["bbox_2d"]}], metric="map") == 1.0


BOX = st.tuples(*[st.integers(0, 60)] * 2, *[st.integers(5, 120)] * 2).map(
    lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
)
IMAGE = st.lists(st.tuples(BOX, st.integers(0, 1), st.floats(0, 1), st.booleans()), max_size=5)


@settings(max_examples=40, deadline=None)
@given(truth=st.lists(IMAGE, min_size=1, max_size=3), said=st.lists(IMAGE, min_size=3, max_size=3))
def test_average_precision_is_that_of_pycocotools(truth: list, said: list) -> None:
    said = said[: len(truth)]
    true = [Detections(boxes_of(image), [b[1] for b in image], crowd=[int(b[3]) for b in image]) for image in truth]
    predicted = [Detections(boxes_of(image), [b[1] for b in image], scores=[b[2] for b in image]) for image in said]
    for area, row, recall_row in (("all", 0, 8), ("small", 3, 9), ("medium", 4, 10), ("large", 5, 11)):
        precision, recall = average_precision(predicted, true, area=area)
        stats = reference(truth, said)
        assert precision.mean() == pytest.approx(stats[row])
        assert recall.mean() == pytest.approx(stats[recall_row])


def boxes_of(image: list) -> np.ndarray:
    return np.array([b[0] for b in image], float).reshape(-1, 4)


def reference(truth: list, said: list) -> np.ndarray:
    """The twelve figures of COCOeval run as a whole."""

    def rows(images: list, field: str) -> list[dict[str, Any]]:
        found = [(n, b) for n, image in enumerate(images) for b in image]
        return [
            {"id": i + 1, "image_id": n, "category_id": label, "bbox": [x1, y1, x2 - x1, y2 - y1],
             "area": (x2 - x1) * (y2 - y1), "iscrowd": int(crowd) if field == "crowd" else 0, "score": value}
            for i, (n, ((x1, y1, x2, y2), label, value, crowd)) in enumerate(found)
        ]  # fmt: skip

    sides = []
    for images, field in ((truth, "crowd"), (said, "score")):
        coco: Any = COCO()
        coco.dataset = {"images": [{"id": n} for n in range(len(images))], "categories": [{"id": 0}, {"id": 1}],
                        "annotations": rows(images, field)}  # fmt: skip
        coco.createIndex()
        sides.append(coco)
    run = COCOeval(*sides, iouType="bbox")
    run.params.catIds = [0, 1]
    run.evaluate()
    run.accumulate()
    run.summarize()
    return np.array(run.stats)


# --- what rounding leaves ---------------------------------------------------------------------------------


def perfect_answers(width: int, height: int, share: float, n: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """Boxes on a grid of 1000, and the nearest whole pixels to the edges that they were rounded from."""
    size_4, rng = np.array([width, height] * 2), np.random.default_rng(0)
    low = rng.uniform(0, (1 - share) * size_4[:2], (n, 2))
    edges = np.concatenate([low, low + share * size_4[:2]], axis=1)
    return np.round(edges / size_4 * 1000), np.round(edges)


# The share of perfect detectors that V-Triune's server lets pass at 0.99 and 0.95: a simulation of its rounding,
# by image and by box side as a share of the image's.
@pytest.mark.parametrize(("size", "share", "at_99", "at_95"), [
    ((504, 504), 0.05, 0.07, 0.51), ((504, 504), 0.1, 0.10, 0.99), ((504, 504), 0.2, 0.51, 1.0),
    ((672, 1036), 0.05, 0.05, 0.64), ((672, 1036), 0.1, 0.32, 1.0), ((672, 1036), 0.4, 0.99, 1.0),
    ((1008, 1008), 0.05, 0.07, 0.67), ((1008, 1008), 0.1, 0.34, 1.0), ((1540, 1540), 0.05, 0.24, 0.76),
    ((1540, 1540), 0.1, 0.25, 1.0),
])  # fmt: skip
def test_a_perfect_detector_passes_with_the_cap_alone(
    size: tuple[int, int], share: float, at_99: float, at_95: float
) -> None:
    target, answer = perfect_answers(*size, share)
    size_4 = np.array([*size, *size])
    truncated = np.floor(answer / size_4 * 1000 + 1e-9)
    released = boxes.iou(target, truncated)
    assert [np.mean(released >= 0.99), np.mean(released >= 0.95)] == pytest.approx([at_99, at_95], abs=0.03)
    scale = (size[0] / 1000, size[1] / 1000)
    cap = detection.reachable_iou(target * size_4 / 1000, scale)
    reached = boxes.iou(target * size_4 / 1000, answer)
    assert (reached >= np.minimum(cap, 0.99) - 1e-9).all()
    assert cap.min() > 0.9, "and it stays strict"


def test_the_cap_lowers_the_threshold_of_small_boxes_on_another_grid() -> None:
    frame = {"coords": "relative_1000", "answer_coords": "pixels", "image_size": [504, 504], "threshold": 0.99}
    target = [103, 207, 153, 257]
    best = [round(edge * 0.504) for edge in target]
    verdict = verify(best, target, **frame)
    assert verdict.score is not None
    assert verdict.score > 0.95
    assert verdict.parts["reachable"] == 0.0
    assert verdict.parts["iou_99"] == 0.0, "what is reported keeps its threshold"
    assert score(best, target, **frame, reachable_cap=False) == 0.0
    assert score([best[0] - 2, *best[1:]], target, **frame) == 0.0, "two pixels off is no rounding"


def test_on_one_grid_the_cap_changes_nothing() -> None:
    whole = np.array([[10.0, 20, 30, 40], [0, 0, 1, 1]])
    assert detection.reachable_iou(whole).tolist() == [1.0, 1.0]
    assert score([100, 100, 200, 199], [CAT], threshold=0.995) == 0.0
    assert detection.reachable_iou(np.array([[10.2, 10.2, 10.8, 10.8]])) == pytest.approx(0.36), "the only whole box"


@settings(max_examples=200, deadline=None)
@given(low=st.floats(0, 900), side=st.floats(0.5, 90), unit=st.floats(0.2, 4))
def test_the_cap_is_never_above_what_whole_numbers_allow(low: float, side: float, unit: float) -> None:
    box = np.array([[low, low, low + side, low + side]])
    best = boxes.iou(box, np.array([[np.floor(low), np.floor(low), np.ceil(low + side), np.ceil(low + side)]]))
    inner = np.array([[np.ceil(low), np.ceil(low), np.floor(low + side), np.floor(low + side)]])
    rounded = boxes.iou(box, box.round())
    cap = detection.reachable_iou(box, (unit, unit))[0]
    assert 0 < cap <= max(best[0], rounded[0], boxes.iou(box, inner)[0], 0.5) + 1e-9


# --- params -----------------------------------------------------------------------------------------------


def test_unknown_metrics_are_refused() -> None:
    with pytest.raises(ValueError, match=r"giou.*mixture_average.*map_75"):
        catalog.load("verifiers", "dynamic_iou").check_target([CAT], metric="giou")
    assert verify([CAT], [CAT], metric="giou").status == "bad_target"


def test_tokens_of_other_families_are_read_where_the_image_is_known() -> None:
    target = {"bbox_2d": [0, 250, 250, 375], "label": "cat"}
    tokens = "<loc0512><loc0000><loc0768><loc0256> cat"
    assert score(tokens, target, image_size=[1000, 500]) == 1.0
    assert score(tokens, target) == 0.0


def test_a_box_that_is_true_twice_is_one() -> None:
    module = catalog.load("verifiers", "dynamic_iou")
    assert score(module.gold([CAT, CAT]), [CAT, CAT]) == 1.0


@pytest.mark.parametrize(
    ("response", "average_precision"),
    [("[100, 100, 200, 192]", 0.9), ("[100, 100, 200, 160]", 0.3), ("[]", 0.0), ("no box", 0.0)],
)
def test_evaluation_adds_average_precision_at_every_answer(response, average_precision) -> None:
    target = [{"bbox_2d": [100, 100, 200, 200], "label": "car"}]
    module = catalog.load("verifiers", "dynamic_iou")
    plain, evaluated = (module.verify(response, target, evaluation=on) for on in (False, True))
    assert evaluated.score == plain.score
    assert evaluated.parts.keys() - plain.parts.keys() == {"map", "map_50", "map_75"}
    assert evaluated.parts["map"] == pytest.approx(average_precision)


CAR = {"bbox_2d": [100, 100, 200, 200], "label": "car"}
FAR = {"bbox_2d": [600, 600, 650, 650], "label": "car"}


def listed(*items: Any) -> str:
    return json.dumps(items)


def test_worked_values_of_dynamic_iou() -> None:
    def of_iou(iou: float) -> dict[str, Any]:
        return {"bbox_2d": [0, 0, 1000, 1000 * iou], "label": "car"}

    whole = {"bbox_2d": [0, 0, 1000, 1000], "label": "car"}
    for iou, threshold, value in [(0.9, 0.85, 0.93), (0.9, 0.95, 0.0), (0.96, 0.95, 0.972), (0.96, 0.99, 0.0)]:
        assert score(listed(of_iou(iou)), [whole], threshold=threshold) == pytest.approx(value)
    other = {"bbox_2d": [2000, 0, 3000, 1000], "label": "car"}
    almost = [of_iou(0.995), other | {"bbox_2d": [2000, 0, 3000, 900]}]
    assert score(listed(*almost), [whole, other], threshold=0.85) == pytest.approx(0.963, abs=5e-4)
    assert score(listed(*almost), [whole, other], threshold=0.95) == pytest.approx(0.498, abs=5e-4)
    assert score(listed(whole), [whole, other]) == pytest.approx(0.345)
    spam = [whole, other, FAR, {"bbox_2d": [1, 1, 2, 2], "label": "car"}]
    assert score(listed(*spam), [whole, other]) == pytest.approx(0.333)


def test_the_order_of_boxes_never_matters() -> None:
    assert score(listed(CAR, DOG), [DOG, CAR]) == 1.0
    assert score(listed(DOG, CAR), [DOG, CAR]) == 1.0
    # A greedy match gives the first target the box that only the second can use.
    targets = [{"bbox_2d": [0, 0, 100, 100]}, {"bbox_2d": [20, 0, 120, 100]}]
    answer = listed([10, 0, 110, 100], [-50, 0, 90, 100])
    both = {score(answer, order) for order in (targets, targets[::-1])}
    assert len(both) == 1
    assert verify(answer, targets).parts["recall"] == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        '```json\n[{"bbox_2d": [100, 100, 200, 200], "label": "person\'s hat"}]\n```',
        "[{'bbox_2d': [100, 100, 200, 200], 'label': 'person's hat'}]",
        '{"bbox_2d": [100, 100, 200, 200], "label": "Person\'s  Hat"}',
        '[{"bbox": ["100", "100", "200", "200"], "label": "person\'s hat"}, {"bbox": [1, 2',
        "(100,100),(200,200)",
    ],
)
def test_answers_that_released_parsers_lose(answer: str) -> None:
    assert score(answer, [CAR | {"label": "person's hat"}]) == 1.0


def test_labels() -> None:
    unlabelled = {"bbox_2d": CAR["bbox_2d"]}
    assert score(listed(unlabelled), [CAR]) == 1.0
    assert score(listed(unlabelled, {"bbox_2d": DOG["bbox_2d"]}), [CAR, DOG]) == 0.0
    assert score(listed(CAR | {"label": "dog"}), [CAR]) == 0.0
    assert score(listed(CAR | {"label": "dog"}), [CAR["bbox_2d"]]) == 1.0
    hedged = listed(CAR, CAR | {"label": "dog"})
    assert score(hedged, [CAR]) == pytest.approx((0.7 + 0.3 * 0.75) * 0.6)


def test_fixed_thresholds_do_not_follow_the_schedule() -> None:
    answer = listed([100, 100, 200, 196])
    early, late = (verify(answer, [CAR], threshold=t) for t in (0.5, 0.99))
    assert (early.score, late.score) == (pytest.approx(0.972), 0.0)
    for part in ("iou", "iou_50", "iou_75", "iou_95", "iou_99"):
        assert early.parts[part] == late.parts[part]
    assert [early.parts[f"iou_{t}"] for t in (50, 75, 95, 99)] == [1.0, 1.0, 1.0, 0.0]


def test_coordinates_of_target_and_answer_may_differ() -> None:
    target, frame = [{"bbox_2d": [100, 200, 300, 400]}], {"coords": "relative_1000", "answer_coords": "pixels"}
    assert score(listed([64, 96, 192, 192]), target, image_size=[640, 480], **frame) == 1.0
    resized = {"image_size": [640, 480], "answer_size": [320, 240]}
    assert score(listed([32, 48, 96, 96]), target, **frame, **resized) == 1.0
    assert score(listed([0.1, 0.2, 0.3, 0.4]), target, coords="relative_1000",
                 answer_coords="relative_1") == pytest.approx(1.0)  # fmt: skip


@pytest.mark.parametrize(
    ("target", "params", "says"),
    [
        ([[0, 0, 700, 40]], {"image_size": [640, 480]}, "640 x 480"),
        ([[0, 0, 1001, 40]], {"coords": "relative_1000"}, "1001"),
        ([[5, 5, 5, 9]], {}, "5.*x1 < x2"),
        ([[9, 5, 5, 9]], {}, "x1 < x2"),
        ([[1, 2, 3, 4]], {"answer_coords": "relative_1"}, "image_size"),
        ([[1, 2, 3, 4]], {"coords": "inches"}, "inches.*relative_1000"),
        ("a car", {}, "list of boxes"),
        ("[1, 2, 3]", {}, "x1 < x2"),
    ],
)
def test_bad_box_targets_say_value_and_mend(target: Any, params: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        catalog.load("verifiers", "dynamic_iou").check_target(target, **params)
    assert verify("[1, 2, 3, 4]", target, **params).status == "bad_target"


@pytest.mark.parametrize(
    "target",
    [
        "[100, 100, 200, 200]",
        "[[100, 100, 200, 200]]",
        "{'bbox_2d': [100, 100, 200, 200], 'label': 'car'}",
        '[{"bbox_2d": [100, 100, 200, 200], "label": "car"}]',
        "[{'Position': [100, 100, 200, 200], 'Confidence': 1}]",
        [{"Position": [100, 100, 200, 200], "Confidence": 1}],
    ],
)
def test_targets_as_text_and_of_other_toolkits(target: Any) -> None:
    module = catalog.load("verifiers", "dynamic_iou")
    module.check_target(target, image_size=[640, 480])
    assert score(module.gold(target), target) == 1.0
    assert score("[100, 100, 200, 200]", target) == 1.0
    assert score("[300, 100, 400, 200]", target) == 0.0


def test_labels_of_several_kinds_match_the_true_ones() -> None:
    for said in (
        '{"car": [100, 100, 200, 200], "dog": [300, 300, 400, 400]}',
        "car: [100, 100, 200, 200]\ndog: [300, 300, 400, 400]",
        '[{"category": "car", "bbox": [100, 100, 200, 200]}, {"category": "dog", "bbox": [300, 300, 400, 400]}]',
    ):
        assert score(said, [CAR, DOG | {"label": "dog"}]) == 1.0
        assert score(said.replace("car", "x").replace("dog", "car").replace("x", "dog"), [CAR, DOG]) == 0.0


def test_no_objects_in_words_is_an_option_of_the_row() -> None:
    for said in ("No Objects", "<answer>There are no cars in the image.</answer>", r"\boxed{\text{None}}"):
        assert score(said, []) == 0.0
        assert score(said, [], none_in_words=True) == 1.0
        assert score(said, [CAR], none_in_words=True) == 0.0
    for said in ("I cannot tell.", "No idea", "There is a car.", "No. [100, 100, 200, 200]"):
        assert score(said, [], none_in_words=True) == 0.0


@pytest.mark.parametrize(
    "said",
    [
        "The car is not at [100, 100, 200, 200].",
        "[100, 100, 200, 200] or [300, 300, 400, 400]",
        "from x=100 to x=200, y=100 to",
        "There are 100 cars, 100 dogs, 200 cats and 200 cups",
        "[100, 100, 200",
    ],
)
def test_denied_open_and_cut_off_boxes_earn_nothing(said: str) -> None:
    assert verify(said, [CAR]).status == "unparsed"
