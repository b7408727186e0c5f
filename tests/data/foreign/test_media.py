"""Media in other toolkits' rows: every form is read, null forms are none, and a medium is never dropped in silence."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.converted import converted
from helpers.foreign_files import png
from helpers.sounds import tone

from vlmrl import UserError
from vlmrl.data.audio import encode_wav, load_audio
from vlmrl.data.convert import convert_file

PNG = png(5)
TEXT = base64.b64encode(PNG).decode()


def row(**columns: Any) -> dict[str, Any]:
    return {"problem": "How many?", "answer": "3"} | columns


@pytest.mark.parametrize(
    "images",
    [
        "a.png",
        ["a.png"],
        "['a.png']",
        "file://{folder}/a.png",
        {"path": "a.png", "bytes": None},
        [{"image": "a.png", "max_pixels": 9}],
        {"url": "{folder}/a.png"},
        {"image_url": {"url": "a.png"}},
        [None, "a.png", ""],
    ],
)
def test_every_form_of_a_path(tmp_path, images) -> None:
    given = json.loads(json.dumps(images).replace("{folder}", str(tmp_path)))
    (sample,) = converted(tmp_path, row(images=given))
    assert [medium.path for medium in sample.media.images] == [str(tmp_path / "a.png")]
    assert sample.messages[0].content == "<image>How many?"


@pytest.mark.parametrize(
    "image",
    [
        TEXT,
        f"data:image/png;base64,{TEXT}",
        {"bytes": TEXT, "path": "x.png"},
        {"base64": TEXT},
        f"{TEXT[:76]}\n{TEXT[76:]}",
    ],
)
def test_every_form_of_base64(tmp_path, image) -> None:
    (sample,) = converted(tmp_path, row(image=image))
    assert sample.media.images[0].data == PNG


WAVEFORM = tone(440, 0.1)
WAV = encode_wav(WAVEFORM, 16_000)
WAV_TEXT = base64.b64encode(WAV).decode()


@pytest.mark.parametrize(
    "audio",
    [
        WAV_TEXT,
        f"data:audio/wav;base64,{WAV_TEXT}",
        {"bytes": WAV_TEXT, "path": "x.wav"},
        {"array": WAVEFORM.tolist(), "sampling_rate": 16_000, "path": None},
        {"array": [WAVEFORM.tolist()] * 2, "sampling_rate": 16_000, "path": "elsewhere/x.wav"},
        [{"array": WAVEFORM.tolist(), "sampling_rate": 16_000}],
    ],
)
def test_every_form_of_a_sound(tmp_path, audio) -> None:
    (sample,) = converted(tmp_path, row(audio=audio))
    assert sample.messages[0].content == "<audio>How many?"
    assert sample.media.audios[0].data == WAV
    assert np.array_equal(load_audio(sample.media.audios[0], 16_000), WAVEFORM)


@pytest.mark.parametrize("audio", [{"bytes": WAV, "path": "x.wav"}, WAV])
def test_sounds_in_parquet_are_bytes(tmp_path, audio) -> None:
    pq.write_table(pa.Table.from_pylist([row(audio=audio)]), tmp_path / "rows.parquet")
    (sample,) = convert_file(str(tmp_path / "rows.parquet"))
    assert sample.media.audios[0].data == WAV


def test_several_sounds_beside_an_image(tmp_path) -> None:
    (tmp_path / "x.wav").write_bytes(WAV)
    turns = [{"role": "user", "content": "<audio>and <audio>of <image>: the same?"}]
    columns = {"messages": turns, "images": ["a.png"], "audios": ["x.wav", WAV_TEXT], "solution": "no"}
    (sample,) = converted(tmp_path, columns, schema="ms_swift", verifier="exact")
    assert [len(kind) for kind in (sample.media.images, sample.media.videos, sample.media.audios)] == [1, 0, 2]
    assert sample.media.audios[0].path == str(tmp_path / "x.wav")


@pytest.mark.parametrize(
    ("audio", "complaint"),
    [
        ({"array": [0.1, 0.2]}, "sampling_rate None is not a number of Hz"),
        ({"array": [[[0.1]]], "sampling_rate": 16_000}, r"array of shape \(1, 1, 1\)"),
        ({"array": [], "sampling_rate": 16_000}, r"array of shape \(0,\)"),
    ],
)
def test_what_is_not_one_sound_is_refused(tmp_path, audio, complaint) -> None:
    with pytest.raises(UserError, match=f"rows.jsonl:1: audios: {complaint}"):
        converted(tmp_path, row(audio=audio))


@pytest.mark.parametrize(
    "images",
    [None, [], "", [None], [""], {"bytes": None, "path": None}, [{"bytes": None, "path": None}], "[]", float("nan")],
)
def test_null_forms_are_no_media(tmp_path, images) -> None:
    text, other = converted(tmp_path, row(images=images), row(images=["a.png"]))
    assert text.media.images == ()
    assert len(other.media.images) == 1


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        (base64.b64encode(b"no picture at all " * 90).decode(), "is not of image data; it holds b'no picture a'"),
        (base64.b64encode(b"RIFF\0\0\0\0WAVEfmt " * 9).decode(), "is of audio data, not of image data"),
        ("http://x.org/a.png", "download it and name its folder, --image-root"),
        ("x" * 300_000, "text of 300000 characters"),
        ({"array": [0.5] * 9000}, "images: expected a local path or bytes, got an object with array"),
        (3, "images: expected a local path or bytes, got 3"),
    ],
)
def test_what_is_no_medium_is_named_in_a_bounded_line(tmp_path, image, complaint) -> None:
    with pytest.raises(UserError) as caught:
        converted(tmp_path, row(image=image))
    assert str(caught.value).startswith(f"{tmp_path}/rows.jsonl:1: images: ")
    assert complaint in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "columns",
    [
        {"depth": "b.png"},
        {"extra": {"views": [{"path": "b.png"}]}},
        {"thumbnail": f"data:image/png;base64,{TEXT}"},
        {"scan": base64.b64encode(png(7) + b"\0" * 900).decode()},
        {"image": "b.png"},
        {"recording": "talk.wav"},
    ],
)
def test_media_in_a_column_that_is_not_read_stop_the_conversion(tmp_path, columns) -> None:
    name = "extra.views" if "extra" in columns else "".join(columns)
    with pytest.raises(UserError, match=rf"{name}: holds media .* --drop {name}$") as caught:
        converted(tmp_path, row(images=["a.png"], **columns))
    assert len(str(caught.value)) < 400
    (sample,) = converted(tmp_path, row(images=["a.png"], **columns), drop=(name,))
    assert len(sample.media.images) == 1


def test_bytes_in_a_column_that_is_not_read_stop_the_conversion(tmp_path) -> None:
    rows = [row(picture_of_it={"bytes": PNG, "path": None})]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    with pytest.raises(UserError, match=r"x.parquet row 1: picture_of_it: holds media \(\d+ bytes\)"):
        list(convert_file(str(tmp_path / "x.parquet")))


def test_the_origin_of_a_picture_is_kept_beside_it(tmp_path) -> None:
    same = converted(tmp_path, row(image="a.png", file_name="/coco/train/a.png"))
    origin = converted(tmp_path, row(image=TEXT, file_name="COCO_train2014_1.jpg"))
    assert same[0].meta == {"file_name": "/coco/train/a.png"}
    assert origin[0].meta == {"file_name": "COCO_train2014_1.jpg"}


def test_paths_are_those_of_the_image_root(tmp_path) -> None:
    (sample,) = converted(tmp_path, row(image="coco/x.png"), image_root=str(tmp_path / "pictures"))
    assert sample.media.images[0].path == str(tmp_path / "pictures" / "coco" / "x.png")


def test_numbered_columns_are_in_the_order_of_their_numbers(tmp_path) -> None:
    (sample,) = converted(tmp_path, row(image_10="c.png", image_2="b.png", image_1="a.png", image_3=None))
    assert [str(m.path)[-5:] for m in sample.media.images] == ["a.png", "b.png", "c.png"]


def test_media_of_a_chat_turn_are_shown_in_it(tmp_path) -> None:
    turns = [
        {"role": "user", "content": "What is it?", "images": ["a.png"]},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": "<image> And here?", "image": "b.png"},
    ]
    (sample,) = converted(tmp_path, {"messages": turns, "solution": "dog"})
    assert [turn.content for turn in sample.messages] == ["<image>What is it?", "A cat.", "<image> And here?"]
    assert [medium.path for medium in sample.media.images] == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    (sample,) = converted(
        tmp_path, {"conversations": [{"from": "human", "value": "?", "image": "a.png"}], "answer": "1"}
    )
    assert sample.messages[0].content == "<image>?"


@pytest.mark.parametrize(
    ("columns", "field"),
    [
        ({"extra_info": {"second_image": "b.png"}}, "extra_info.second_image"),
        ({"depth": "depth/a.png"}, "depth"),
        ({"picture": "b.jfif"}, "picture"),
        ({"second_image": "https://x.org/b"}, "second_image"),
        ({"query_image": "b"}, "query_image"),
        ({"audio": None, "audio_clip": {"array": [0.1, 0.2], "path": None}}, "audio_clip"),
        ({"options": ["b.png", "c.png"]}, "options"),
        ({"image": {"path": "a.png", "mask": "b.png"}}, "image.mask"),
    ],
)
def test_a_field_that_is_called_a_medium_is_never_dropped_in_silence(tmp_path, columns, field) -> None:
    with pytest.raises(UserError, match=rf"rows.jsonl:1: {field}: holds media .*--drop {field}"):
        converted(tmp_path, row(**{"image": "a.png", **columns}))


@pytest.mark.parametrize("name", ["image_id", "imageId", "imageid", "video_name"])
def test_an_id_of_a_medium_without_the_medium_is_an_error(tmp_path, name) -> None:
    columns = {name: 12} if name != "video_name" else {name: "v_12"}
    with pytest.raises(UserError, match=f"{name}: holds media .*--text-only"):
        converted(tmp_path, row(**columns))
    assert converted(tmp_path, row(**columns), text_only=True)[0].meta == columns
    assert converted(tmp_path, row(**columns, image="a.png"))[0].meta == columns


def test_what_is_said_about_a_medium_is_meta(tmp_path) -> None:
    about = {"image_width": 840, "num_images": 1, "img_type": "chart", "image_description": "A red square on white."}
    assert converted(tmp_path, row(image="a.png", **about))[0].meta == about


def test_a_mapped_column_does_not_hide_the_usual_one(tmp_path) -> None:
    with pytest.raises(UserError, match=r"images: holds media beside --map images=left; .*--map images=images,left"):
        converted(tmp_path, row(images=["a.png"], left="b.png"), mapping={"images": "left"})
    given = row(image="a.png", extra_info={"second_image": "b.png"})
    assert len(converted(tmp_path, given, drop=("extra_info.second_image",))[0].media.images) == 1
    given = row(images=[{"path": "a.png", "mask": "b.png"}])
    assert len(converted(tmp_path, given, drop=("images.mask",))[0].media.images) == 1


def test_two_columns_of_one_name_are_an_error(tmp_path) -> None:
    (tmp_path / "t.csv").write_text("image,image,question,answer\na.png,b.png,What?,1\n")
    with pytest.raises(UserError, match="two columns have the name 'image'; rename one"):
        list(convert_file(str(tmp_path / "t.csv")))
