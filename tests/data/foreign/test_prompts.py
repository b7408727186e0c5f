r"""Prompts of other toolkits: each medium gets one mark, in order; other marks and missing pictures are errors."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.converted import converted

from vlmrl import UserError
from vlmrl.sample import Sample


def shown(sample: Sample) -> tuple[str, list[str]]:
    return sample.messages[0].content, [str(medium.path)[-5:-4] for medium in sample.media.images]


def row(problem: Any, images: Any = ("a.png", "b.png"), **columns: Any) -> dict[str, Any]:
    return {"problem": problem, "answer": "1", "images": list(images)} | columns


@pytest.mark.parametrize(
    ("problem", "content", "order"),
    [
        ("Which is larger?", "<image><image>Which is larger?", "ab"),
        ("<image 1> and <image 2>: which?", "<image> and <image>: which?", "ab"),
        ("<image_2> before <image_1>?", "<image> before <image>?", "ba"),
        ("Is <image 2> like <image 2>?", "<image>Is <image> like image 2?", "ab"),
        ("<image><image>Is <image 1> like <image 2>?", "<image><image>Is image 1 like image 2?", "ab"),
        ("<image 0> or <image 1>?", "<image> or <image>?", "ab"),
        ("<|image_1|> or <|image_2|>?", "<image> or <image>?", "ab"),
        (r"<image><image> Why is \<image> in it?", r"<image><image> Why is \<image> in it?", "ab"),
        (r"<image><image> Why is \<img> in it?", "<image><image> Why is <img> in it?", "ab"),
    ],
)  # fmt: skip
def test_each_picture_gets_one_mark(tmp_path, problem, content, order) -> None:
    (sample,) = converted(tmp_path, row(problem))
    assert shown(sample) == (content, list(order))


def test_marks_of_numbered_columns_name_their_columns(tmp_path) -> None:
    columns = {"image_1": "a.png", "image_2": None, "image_3": "c.png"}
    (sample,) = converted(tmp_path, {"question": "<image 3> after <image 1>?", "answer": "1"} | columns)
    assert shown(sample) == ("<image> after <image>?", ["c", "a"])


@pytest.mark.parametrize(
    ("problem", "complaint"),
    [
        ("<image 1> <image 2> <image 3>?", "unknown mark <image 3>, the row has images 1, 2"),
        ("<img> <img> which?", "unknown mark '<img>'"),
        ("<image_placeholder> which?", "unknown mark '<image_placeholder>'"),
        ("<|vision_start|><|image_pad|><|vision_end|> which?", "unknown mark '<|vision_start|>'"),
        ("![picture](a.png) which?", "unknown mark '![picture](a.png)'"),
        ("What is at <bbox>?", "unknown mark '<bbox>'"),
        ("<image> which?", "1 <image> in the text but 2 in media.images"),
        ("<image><image><video> which?", "<video> without videos in the row; name their column with --map"),
    ],
)  # fmt: skip
def test_a_mark_that_stands_for_nothing_is_an_error(tmp_path, problem, complaint) -> None:
    with pytest.raises(UserError) as caught:
        converted(tmp_path, row(problem))
    assert complaint in str(caught.value)
    assert len(str(caught.value)) < 400


def test_marks_of_other_toolkits_can_be_replaced(tmp_path) -> None:
    (sample,) = converted(tmp_path, row("<img> or <img>?"), replace={"<img>": "<image>"})
    assert shown(sample) == ("<image> or <image>?", ["a", "b"])


@pytest.mark.parametrize(
    "problem",
    ["How many are in the picture?", "What does this chart show?", "Describe the image.", "<image>", "图中有几个？"],
)  # fmt: skip
def test_a_prompt_that_speaks_of_a_picture_gets_one(tmp_path, problem) -> None:
    with pytest.raises(UserError, match=r"--map images=COLUMN"):
        converted(tmp_path, row(problem, ()))


def test_a_prompt_without_a_picture_can_be_meant(tmp_path) -> None:
    rows = [row("Find the image of 3 under f.", ()), row("As the figure shows, x = 2. What is 2x?", ())]
    assert len(converted(tmp_path, *rows, text_only=True)) == 2


def chat(*contents: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content} for content in contents], "answer": "1"}


def test_content_parts_hold_their_media(tmp_path) -> None:
    uri = (tmp_path / "a.png").as_uri()
    parts = [{"type": "image", "image": uri}, {"type": "text", "text": "or"}, {"type": "image", "path": "b.png"}]
    (sample,) = converted(tmp_path, chat(parts))
    assert shown(sample) == ("<image>or<image>", ["a", "b"])


def test_content_parts_may_leave_their_media_to_a_column(tmp_path) -> None:
    parts = [{"type": "text", "text": "Is it red?"}, {"type": "image"}]
    (sample,) = converted(tmp_path, chat(parts) | {"images": ["c.png"]})
    assert shown(sample) == ("Is it red?<image>", ["c"])


def test_media_in_parts_and_in_columns_are_the_same_or_an_error(tmp_path) -> None:
    rows = chat([{"type": "image", "image": "a.png"}, {"type": "text", "text": "Red?"}])
    (sample,) = converted(tmp_path, rows | {"images": ["a.png"]})
    assert shown(sample) == ("<image>Red?", ["a"])
    with pytest.raises(UserError, match=r"images: both the messages \(1\) and columns of the row \(1\) hold some"):
        converted(tmp_path, rows | {"images": ["b.png"]})


def test_a_mark_in_a_text_part_is_text(tmp_path) -> None:
    parts = [{"type": "image", "image": "a.png"}, {"type": "text", "text": "Why does it say <image>?"}]
    (sample,) = converted(tmp_path, chat(parts))
    assert shown(sample) == (r"<image>Why does it say \<image>?", ["a"])


def test_the_boxes_of_ms_swift_fill_prompt_and_target(tmp_path) -> None:
    turns = [
        {"role": "user", "content": "<image>What is left of <bbox>? Find <ref-object> too."},
        {"role": "assistant", "content": "A <ref-object> at <bbox>"},
    ]
    objects = {"bbox": [[1, 2, 30, 40], [50, 6, 70, 8]], "ref": ["the dog", "cat"], "bbox_type": "real"}
    (sample,) = converted(tmp_path, {"messages": turns, "images": ["a.png"], "objects": objects})
    assert sample.prompt[0].content == "<image>What is left of <bbox>? Find the dog too."
    assert sample.demonstration == "A cat at <bbox>"
    assert [(box.bbox_2d, box.coords) for box in sample.boxes] == [
        ((1, 2, 30, 40), "pixels"),
        ((50, 6, 70, 8), "pixels"),
    ]
    assert sample.reward[0].target == [{"bbox_2d": [50, 6, 70, 8], "label": "cat"}]
    objects["bbox"].pop()
    with pytest.raises(UserError, match="more <bbox> than values in objects"):
        converted(tmp_path, {"messages": turns, "images": ["a.png"], "objects": objects})


@pytest.mark.parametrize(
    "mark",
    [
        "[IMG]",
        "[image]",
        "{image}",
        "<img1>",
        "<pic>",
        "<frame>",
        "&lt;image&gt;",
        "<im_start>",
        "</im_end>",
        "[IMG_1]",
    ],
)
def test_a_mark_of_another_toolkit_beside_media_is_named(tmp_path, mark) -> None:
    with pytest.raises(UserError, match=r"rows.jsonl:1: prompt: unknown mark .* --replace"):
        converted(tmp_path, row(f"{mark} Which is larger?"))
    (sample,) = converted(tmp_path, row(f"{mark} Which?", ["a.png"]), replace={mark: "<image>"})
    assert sample.messages[0].content == "<image> Which?"


def test_braces_of_formulas_and_brackets_of_texts_are_not_marks(tmp_path) -> None:
    (sample,) = converted(tmp_path, row(r"Is $\text{image}$ in f[image]?", ["a.png"]))
    assert sample.messages[0].content == r"<image>Is $\text{image}$ in f[image]?"


@pytest.mark.parametrize(
    "problem",
    [
        "Does the image show a cat?",
        "What is the image about?",
        "How many are in the attached picture?",
        "Read the following table.",
        "Where is it on the given map?",
        "Which is larger in image 1?",
        "As shown, AB is 3. How long is BC?",
        "图片中有几只猫?",
        "如图所示,AB 是多长?",
        "看图回答。",
        "视频中有谁?",
    ],
)
def test_the_usual_wordings_for_a_picture_that_is_missing(tmp_path, problem) -> None:
    with pytest.raises(UserError, match=r"rows.jsonl:1: prompt: speaks of .* --text-only"):
        converted(tmp_path, row(problem, ()))


@pytest.mark.parametrize(
    "problem", ["Is the image of f closed?", "Read the following table.\n|a|b|\n|1|2|", "Map x to 2."]
)
def test_a_text_that_has_no_picture_is_a_text(tmp_path, problem) -> None:
    assert converted(tmp_path, row(problem, ()))[0].messages[0].content == problem


def test_parts_with_an_index_are_in_its_order(tmp_path) -> None:
    parts = [{"type": "image", "index": 1}, {"type": "text", "text": " or "}, {"type": "image", "index": 0}]
    given = {"messages": [{"role": "user", "content": parts}], "images": ["a.png", "b.png"], "answer": "1"}
    assert shown(converted(tmp_path, given)[0]) == ("<image> or <image>", ["b", "a"])


def test_a_null_keeps_its_number(tmp_path) -> None:
    with pytest.raises(UserError, match="unknown mark <image 1>, the row has images 2"):
        converted(tmp_path, row("<image 1>?", [None, "a.png"]))
    assert shown(converted(tmp_path, row("<image 2>?", [None, "a.png"]))[0]) == ("<image>?", ["a"])


def test_a_picture_that_is_not_mentioned_follows_the_one_before(tmp_path) -> None:
    given = {"question": "See <image 1>. Which?", "answer": "1", "image_1": "a.png", "image_2": "b.png"}
    assert shown(converted(tmp_path, given)[0]) == ("See <image><image>. Which?", ["a", "b"])


@pytest.mark.parametrize(
    "columns",
    [{"video": "v.mp4", "video_start": 3, "video_end": 5}, {"video": {"path": "v.mp4", "start": 3, "end": 5}}],
)
def test_a_part_of_a_clip_is_refused(tmp_path, columns) -> None:
    with pytest.raises(UserError, match=r"names a part of the clip, .*; cut the clip"):
        converted(tmp_path, {"problem": "What blinks?", "answer": "1"} | columns)


def test_history_and_system_become_turns(tmp_path) -> None:
    given = {"query": "And now?", "response": "4", "system": "Be brief.", "history": [["What is 1+1?", "2"]]}
    (sample,) = converted(tmp_path, given)
    said = [(turn.role, turn.content) for turn in sample.messages]
    earlier = [("user", "What is 1+1?"), ("assistant", "2")]
    assert said == [("system", "Be brief."), *earlier, ("user", "And now?")]
    turns = [{"role": "user", "content": "What is 1+1?"}, {"role": "assistant", "content": "2"}]
    assert converted(tmp_path, given | {"history": turns})[0].messages == sample.messages
    assert converted(tmp_path, given | {"history": []})[0].messages == (sample.messages[0], sample.messages[3])
    for history in (["What?"], [["What?", 2]], 3):
        with pytest.raises(UserError, match=r"rows.jsonl:1: history: expected pairs"):
            converted(tmp_path, given | {"history": history})


@pytest.mark.parametrize("name", ["context", "hint", "lecture", "passage"])
def test_a_text_beside_the_prompt_is_shown_or_left_out_as_the_user_says(tmp_path, name) -> None:
    given = row("How many?", ["a.png"], **{name: "Each box holds three balls."})
    with pytest.raises(UserError, match=f"rows.jsonl:1: {name}: .* --map context={name}, .* --drop {name}"):
        converted(tmp_path, given)
    (sample,) = converted(tmp_path, given, mapping={"context": name})
    assert sample.messages[0].content == "<image>Each box holds three balls.\nHow many?"
    with pytest.raises(UserError, match=f"{name}: .* --map context={name}"):
        converted(tmp_path, given | {name: ["Each box holds", "three balls."]})
    assert converted(tmp_path, given, drop=(name,))[0].messages[0].content == "<image>How many?"
    shown = row("Each box holds three balls. How many?", ["a.png"], **{name: "Each box holds three balls."})
    assert converted(tmp_path, shown)[0].meta == {name: "Each box holds three balls."}
