"""Places in a model's coordinates: of answers, of boxes in texts, of demonstrations, in images and videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vlmrl import catalog
from vlmrl.config.model import ModelSettings
from vlmrl.data.check import check_reward
from vlmrl.data.frames import Frames, check_frames, media_sizes
from vlmrl.data.media import encode_png
from vlmrl.errors import UserError
from vlmrl.models.formatting import Formatter
from vlmrl.rewards.composite import score
from vlmrl.rewards.frames import decided, shapes, shown_size
from vlmrl.sample import Sample

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "glm4v")
BOX = [84, 112, 336, 336]


def picture(width: int = 840, height: int = 560) -> dict[str, bytes]:
    return {"data": encode_png(Image.new("RGB", (width, height), "white"))}


def sample(target: Any = (BOX,), params: dict[str, Any] | None = None, **fields: Any) -> Sample:
    row = {
        "id": "s",
        "source": "boxes",
        "messages": [{"role": "user", "content": "<image>Where is it?"}],
        "media": {"images": [picture()]},
        "reward": [{"verifier": "dynamic_iou", "target": list(target), "params": params or {}}],
    }
    return Sample.model_validate(row | fields)


def shown(one: Sample) -> Sequence[tuple[int, int]]:
    """A model that is shown a third of every side."""
    return [(width // 3, height // 3) for width, height in media_sizes(one)]


PIXELS, PER_MILLE = Frames("pixels", shown), Frames("relative_1000", shown)


@pytest.fixture(scope="module")
def formatter(model_folder) -> Callable[[str], Formatter]:
    settings = ModelSettings(max_pixels=56448, video_max_pixels=50176, max_prompt_tokens=4000)
    return lambda family: Formatter.load(str(model_folder(family)), settings)


# --- what reaches the model -------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_the_size_that_is_computed_is_the_size_that_is_encoded(family, formatter) -> None:
    made = formatter(family)
    for size in ((840, 560), (30, 900), (17, 23), (1200, 90)):
        (prompt,) = made.encode([sample(media={"images": [picture(*size)]}, target=[[1, 1, 9, 9]])])
        assert prompt.shown == (shown_size(made.processor.image_processor, size),)


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None, max_examples=25)
@given(shares=st.lists(st.integers(0, 1000), min_size=4, max_size=4), index=st.integers(0, 1))
def test_a_box_of_either_image_comes_back_within_half_a_step(family, formatter, shares, index) -> None:
    made = formatter(family)
    two = {"images": [picture(840, 560), picture(317, 911)]}
    width, height = [(840, 560), (317, 911)][index]
    xs, ys = sorted(shares[::2]), sorted(shares[1::2])
    box = [xs[0] / 1000 * width, ys[0] / 1000 * height, xs[1] / 1000 * width + 2, ys[1] / 1000 * height + 2]
    messages = [{"role": "user", "content": "<image><image>Where is <bbox>?"}]
    boxes = [{"bbox_2d": [min(box[0], width - 2), min(box[1], height - 2), min(box[2], width), min(box[3], height)]}]
    one = sample([[1, 1, 9, 9]], {"image": 0}, media=two, messages=messages, boxes=[{**boxes[0], "image": index}])
    text = made.frames.filled(one).messages[0].content
    written = np.array([float(n) for n in text[text.index("[") + 1 : text.index("]")].split(",")])
    extent = np.resize(1000 if made.frames.coords != "pixels" else made.frames.shown(one)[index], 4)
    size = np.resize((width, height), 4)
    assert (np.abs(written / extent - np.array(boxes[0]["bbox_2d"]) / size) <= 0.5 / extent + 1e-9).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_places_in_a_video_are_those_of_its_frames(family, formatter, mixed_samples) -> None:
    made = formatter(family)
    clip = mixed_samples[-1]
    (size,) = media_sizes(clip)
    target = {"verifier": "dynamic_iou", "target": [[2, 2, size[0] / 2, size[1] / 2]], "params": {}}
    one = Sample.model_validate(clip.model_dump() | {"reward": [target]})
    (prompt,) = made.encode([one])
    before, after = made.frames.decided(one), made.frames.decided(one, prompt.shown)
    assert before == after
    assert after[0]["image_size"] == list(size)
    check_frames(one, made.frames)


def test_the_second_image_is_judged_in_its_own_size() -> None:
    one = sample(params={"image": 1}, media={"images": [picture(90, 90), picture()]}, messages=TWO)
    (frame,) = PIXELS.decided(one)
    assert (frame["image_size"], frame["answer_size"]) == ([840, 560], [280, 186])
    with pytest.raises(UserError, match=r"dynamic_iou: params\.image: missing; the prompt has 2 images"):
        PIXELS.decided(sample(media={"images": [picture(), picture()]}, messages=TWO))


TWO = [{"role": "user", "content": "<image><image>Where is it?"}]


# --- texts ------------------------------------------------------------------------------------------------


def test_marks_become_boxes_as_the_model_writes_them() -> None:
    asked = [{"role": "user", "content": "<image>Is <bbox> left of <bbox>?"}]
    boxes = [{"bbox_2d": BOX}, {"bbox_2d": [0.5, 0.5, 1, 1], "coords": "relative_1"}]
    one = sample(messages=asked, boxes=boxes)
    assert PER_MILLE.filled(one).messages[0].content == "<image>Is [100, 200, 400, 600] left of [500, 500, 1000, 1000]?"
    assert PIXELS.filled(one).messages[0].content == "<image>Is [28, 37, 112, 112] left of [140, 93, 280, 186]?"
    assert sample(messages=[{"role": "user", "content": "<image>What is <bbox>?"}]).boxes == ()


@pytest.mark.parametrize(("boxes", "says"), [
    ([{"bbox_2d": [84, 112, 336, 561]}], "boxes.0: .* outside the image"),
    ([{"bbox_2d": [0.1, 0.1, 0.2, 0.2]}], "boxes.0: coords: missing"),
    ([{"bbox_2d": BOX, "image": 1}], "boxes.0: image: 1 is not the index"),
    ([{"bbox_2d": [9000, 1]}], "boxes.0: .* outside the image"),
])  # fmt: skip
def test_a_box_of_a_text_that_cannot_be_is_named(boxes, says) -> None:
    with pytest.raises(UserError, match=says):
        PIXELS.filled(sample(messages=[{"role": "user", "content": "<image>What is <bbox>?"}], boxes=boxes))


def test_as_many_marks_as_boxes() -> None:
    with pytest.raises(ValueError, match="1 <bbox> in the text but 2 in boxes"):
        sample(messages=[{"role": "user", "content": "<image><bbox>"}], boxes=[{"bbox_2d": BOX}] * 2)


def demonstrated(text: str, **fields: Any) -> Sample:
    return sample(messages=[{"role": "user", "content": "<image>?"}, {"role": "assistant", "content": text}], **fields)


@pytest.mark.parametrize(
    "text", ['<think>at [84, 112]</think>[{"bbox_2d": [84, 112, 336, 336]}]', "(84,112),(336,336)"]
)
def test_a_demonstration_is_learnt_in_the_models_coordinates(text) -> None:
    one = demonstrated(text)
    for frames in (PIXELS, PER_MILLE):
        said = frames.demonstration(one)
        (frame,) = frames.decided(one)
        assert score(one, said, {"dynamic_iou": frame}).score == pytest.approx(1.0, abs=0.02)
        assert "84" not in said
    assert Frames("pixels", media_sizes).demonstration(one) == text


def test_a_demonstration_may_have_marks() -> None:
    one = demonstrated("It is <bbox>.", boxes=[{"bbox_2d": BOX}])
    assert PER_MILLE.demonstration(one) == "It is [100, 200, 400, 600]."
    check_reward("row", one)


def test_a_demonstration_that_cannot_be_rewritten_is_named() -> None:
    one = demonstrated("x=98, y=224", reward=[{"verifier": "point", "target": BOX}])
    with pytest.raises(UserError, match=r"the places in the demonstration 'x=98, y=224' .* put <bbox> in their place"):
        PIXELS.demonstration(one)


def test_what_the_row_says_of_its_answers_holds() -> None:
    one = demonstrated("[0.1, 0.2, 0.4, 0.6]", params={"answer_coords": "relative_1"})
    assert PIXELS.demonstration(one) == "[0.1, 0.2, 0.4, 0.6]"
    assert PIXELS.decided(one)[0]["answer_coords"] == "relative_1"


# --- checks -----------------------------------------------------------------------------------------------

TARGETS: list[tuple[str, Any, dict[str, Any]]] = [
    ("dynamic_iou", [{"bbox_2d": BOX, "label": "red"}], {}),
    ("dynamic_iou", [[84, 112, 252, 224]], {"box_form": "xywh"}),
    ("dynamic_iou", [[100, 200, 400, 600]], {"coords": "relative_1000"}),
    ("point", [{"bbox_2d": BOX}, [500, 300]], {}),
    ("point", {"polygon": [[84, 112], [336, 112], [200, 336]]}, {}),
    ("polygon_iou", [[84, 112, 336, 112, 200, 336]], {}),
    ("polygon_iou", [[200, 200, 80, 40, 30]], {}),
]


@pytest.mark.parametrize(("verifier", "target", "params"), TARGETS)
@pytest.mark.parametrize("frames", [PIXELS, PER_MILLE])
def test_the_true_answer_earns_1_and_is_drawn_where_the_target_is(verifier, target, params, frames) -> None:
    one = sample(reward=[{"verifier": verifier, "target": target, "params": params}])
    check_frames(one, frames)
    (spec,) = one.reward
    (frame,) = frames.decided(one)
    drawn = shapes(spec, catalog.load("verifiers", verifier).gold(spec.target, **(params | frame)), frame)
    assert {shape.true for shape in drawn} == {True, False}
    assert all(0 <= value <= 1 for shape in drawn for value in shape.coords)


def test_a_verifier_that_reads_answers_in_another_frame_than_its_targets_is_found(tmp_path: Path) -> None:
    code = '''
"""Reads answers as if they were in the target's pixels."""
from vlmrl.reading.frames import Frame, framed
from vlmrl.verdict import Example, Verdict
EXAMPLES = [Example("[1, 1, 5, 5]", [1, 1, 5, 5], 1.0)]
@framed
def verify(response, target, *, frame: Frame):
    return Verdict(float(response == str(target)))
@framed
def gold(target, *, frame: Frame, **_):
    return f"[{frame.written(target)}]"
def check_target(target, **_):
    pass
'''
    (tmp_path / "blind.py").write_text(code)
    catalog.add_verifiers(tmp_path)
    try:
        one = sample(reward=[{"verifier": "blind", "target": BOX}])
        with pytest.raises(
            UserError, match=r"blind: the true answer, written in pixels as '\[28, 37, .* scores 0.0, not 1"
        ):
            check_frames(one, PIXELS)
    finally:
        catalog._ADDED.clear()
        catalog.load.cache_clear()
        catalog.parameters.cache_clear()


@pytest.mark.parametrize(("target", "params", "says"), [
    ([[0.1, 0.2, 0.4, 0.6]], {}, "reward.0: dynamic_iou: params.coords: missing"),
    ([BOX], {"image_size": [1000, 1000]}, r"reward.0: dynamic_iou: params.image_size: \[1000, 1000\] is not the size"),
    ([[84, 112, 900, 336]], {}, "reward.0: dynamic_iou: target box .* outside the image"),
    ([[500, 112, 84, 336]], {}, "reward.0: dynamic_iou: target box .* params.box_form = 'xywh'"),
])  # fmt: skip
def test_a_row_whose_frame_is_wrong_is_named(target, params, says) -> None:
    with pytest.raises(UserError, match=rf"^row: {says}"):
        check_reward("row", sample(target, params))


def test_nothing_is_asked_of_rows_without_places() -> None:
    one = sample(reward=[{"verifier": "counting", "target": 3}], media={"images": [{"path": "/nowhere.png"}]})
    assert PIXELS.decided(one) == [{}]
    assert decided(one.reward, []) == [{}]


@pytest.mark.parametrize("seed", range(20))
def test_any_right_demonstration_with_marks_is_good(seed) -> None:
    x1, y1, x2, y2 = np.random.default_rng(seed).uniform(0, 1, 4).round(3)
    box = [float(v) for v in (min(x1, x2), min(y1, y2), max(x1, x2) + 0.001, max(y1, y2) + 0.001)]
    box = [min(value, 1.0) for value in box]
    for coords, side in (("relative_1", 1), ("relative_1000", 1000), ("relative_100", 100)):
        place = [side * value for value in box]
        boxes = [{"bbox_2d": place, "coords": coords}]
        check_reward("row", demonstrated("It is <bbox>.", boxes=boxes, target=[place], params={"coords": coords}))


def test_a_box_of_a_text_without_an_image_is_named() -> None:
    boxes = [{"bbox_2d": BOX}]
    one = sample(messages=[{"role": "user", "content": "What is <bbox>?"}], media={}, boxes=boxes)
    with pytest.raises(UserError, match=r"boxes.0: the sample has no image"):
        PER_MILLE.filled(one)


def test_a_point_may_stand_in_a_text() -> None:
    one = sample(messages=[{"role": "user", "content": "<image>What is at <bbox>?"}], boxes=[{"bbox_2d": [84, 112]}])
    assert PER_MILLE.filled(one).messages[0].content == "<image>What is at [100, 200]?"
