"""Samples: validation messages, round trips, media paths, streaming, files written whole or not at all."""

import json
import os
import resource
import subprocess
import sys
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vlmrl import Media, Message, RewardSpec, Sample, UserError
from vlmrl.data.media import encode_png
from vlmrl.data.sample_files import read_samples, write_samples
from vlmrl.models.chat_template import content_parts
from vlmrl.sample import MediaSet, row_from_sample, sample_from_row

ROW = {
    "id": "a",
    "source": "s",
    "messages": [{"role": "user", "content": "how many?"}],
    "reward": [{"verifier": "counting", "target": 3}],
}


def picture(color: str = "red") -> bytes:
    return encode_png(Image.new("RGB", (8, 6), color))


def full_sample(folder) -> Sample:
    """One sample that uses every field, with media as bytes and as files."""
    for name in ("a.png", "b.mp4", "c.wav"):
        (folder / "media").mkdir(exist_ok=True)
        (folder / "media" / name).write_bytes(picture() if name == "a.png" else name.encode())
    media = MediaSet(
        images=(Media(data=picture("blue")), Media(path=str(folder / "media" / "a.png"))),
        videos=(Media(path=str(folder / "media" / "b.mp4")),),
        audios=(Media(path=str(folder / "media" / "c.wav")),),
    )
    return Sample(
        id="full",
        source="s",
        task="grounding",
        messages=(
            Message(role="system", content="be brief"),
            Message(role="user", content="<image><image><video><audio>où? 在哪"),
            Message(role="assistant", content="[]"),
        ),
        media=media,
        reward=(
            RewardSpec(verifier="dynamic_iou", target=[{"bbox_2d": [1, 2.5, 3, 4]}], params={"coords": "pixels"}),
            RewardSpec(verifier="format", target="answer", weight=0.1),
        ),
        meta={"n": 1, "deep": {"x": [None, 0.5]}},
    )


@pytest.mark.parametrize("kinds", [("jsonl", "parquet", "jsonl"), ("parquet", "jsonl", "parquet")])
def test_round_trips_between_jsonl_and_parquet_lose_nothing(tmp_path, kinds) -> None:
    samples = [full_sample(tmp_path), sample_from_row(ROW, "here")]
    keys = [sample.key for sample in samples]
    for number, kind in enumerate(kinds):
        file = tmp_path / f"{number}.{kind}"
        assert write_samples(file, samples) == 2
        samples = list(read_samples(file))
        assert samples == [full_sample(tmp_path), sample_from_row(ROW, "here")]
    assert [sample.key for sample in samples] == keys


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_folder_with_its_media_can_be_moved(tmp_path, kind) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    sample = full_sample(old)
    write_samples(old / f"rows.{kind}", [sample])
    old.rename(new)
    (moved,) = read_samples(new / f"rows.{kind}")
    assert moved.media.images[1].path == str(new / "media" / "a.png")
    assert moved.key == full_sample(new).key


def test_relative_paths_belong_to_the_file_that_names_them(tmp_path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    row = ROW | {"messages": [{"role": "user", "content": "<image>?"}], "media": {"images": ["./a.png"]}}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    (sample,) = read_samples(tmp_path / "rows.jsonl")
    assert sample.media.images[0].read() == picture()


def test_bytes_beside_a_path_win(tmp_path) -> None:
    sample = full_sample(tmp_path).model_copy(
        update={"media": MediaSet(images=(Media(path="gone.png", data=picture()),))}
    )
    for kind in ("jsonl", "parquet"):
        write_samples(tmp_path / f"x.{kind}", [sample.model_copy(update={"messages": sample.messages[:1]})])
    texts = row_from_sample(sample)["media"]["images"]
    assert texts[0].startswith("data:image/png;base64,")


def test_key_is_of_the_content_not_of_the_place(tmp_path) -> None:
    sample = full_sample(tmp_path)
    inline = MediaSet(
        images=tuple(Media(data=media.read()) for media in sample.media.images),
        videos=(Media(data=b"b.mp4"),),
        audios=(Media(data=b"c.wav"),),
    )
    assert sample.model_copy(update={"id": "other", "media": inline}).key == sample.key
    changed = ROW | {"reward": [{"verifier": "counting", "target": 4}]}
    assert sample_from_row(changed, "x").key != sample_from_row(ROW, "x").key


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"reward": [{"verifier": "counting"}]}, "reward.0: target is missing"),
        ({"reward": [{"verifier": "counting", "target": None}]}, "reward.0: target is missing or null"),
        ({"reward": []}, "reward: "),
        ({"reward": {"verifier": "counting"}}, "reward: expected a list"),
        ({"reward": [{"verifier": "counting", "target": 3, "weight": 0}]}, "reward.0.weight: "),
        ({"reward": [{"verifier": "counting", "target": 3, "weight": 1e308}] * 2}, "reward: the sum of the weights is"),
        ({"reward": [{"verifier": "counting", "target": 3, "wieght": 1}]}, "did you mean 'weight'?"),
        ({"sorce": "s"}, "sorce: unknown field; did you mean 'source'?"),
        ({"messages": [{"role": "usr", "content": "?"}]}, "messages.0.role: "),
        ({"messages": [{"role": "system", "content": "?"}]}, "no turn of the user"),
        (
            {"messages": [{"role": "user", "content": "<image>?"}]},
            "1 <image> in the text but 0 in media.images",
        ),
        ({"media": {"images": ["a.png"]}}, "0 <image> in the text but 1 in media.images"),
        ({"media": {"images": ["data:image/png,xx"]}}, "media.images.0: data URI"),
        (
            {"media": {"images": ["data:image/png;base64,?"]}},
            "media.images.0: data URI does not hold valid base64",
        ),
        ({"id": ""}, "id: "),
        ({"id": 7}, "id: input should be a valid string, got 7"),
    ],
)
def test_a_bad_row_is_named_in_one_line(change, complaint) -> None:
    with pytest.raises(UserError) as caught:
        sample_from_row(ROW | change, "rows.jsonl:7")
    message = str(caught.value)
    assert message.startswith("rows.jsonl:7: ")
    assert complaint in message
    assert "\n" not in message


def test_unreadable_files_are_named(tmp_path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "a.jsonl").write_bytes(b'{"id": "\xff"}')
    (tmp_path / "folder.jsonl").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    pq.write_table(pa.table({"problem": ["1+1"]}), tmp_path / "foreign.parquet")
    complaints = {
        "a.parquet": "not a readable parquet file",
        "a.csv": "unknown kind of file '.csv'",
        "a.jsonl": "a.jsonl:1: not valid JSON",
        "foreign.parquet": "not a row of samples",
        "none.jsonl": "no such file",
        "folder.jsonl": "is a folder",
        "pipe.jsonl": "is a pipe",
    }
    for name, complaint in complaints.items():
        with pytest.raises(UserError, match=complaint):
            list(read_samples(tmp_path / name))


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_files_stream(tmp_path, kind) -> None:
    base = sample_from_row(ROW, "x")
    text = "x" * 8000
    rows = 5_000  # 40 MB of text

    def samples():
        for number in range(rows):
            yield base.model_copy(update={"id": str(number), "task": text})

    write_samples(tmp_path / f"small.{kind}", [base])  # imports what is needed, before memory is counted
    tracemalloc.start()
    try:
        assert write_samples(tmp_path / f"big.{kind}", samples()) == rows
        assert sum(1 for _ in read_samples(tmp_path / f"big.{kind}")) == rows
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10e6


def test_a_failing_source_leaves_the_old_file(tmp_path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("old")

    def samples():
        yield sample_from_row(ROW, "x")
        raise UserError("second row is bad")

    with pytest.raises(UserError, match="second row"):
        write_samples(file, samples())
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


DISK_FULL = """
import random, sys
from vlmrl import UserError
from vlmrl.sample import sample_from_row
from vlmrl.data.sample_files import write_samples
row = {"id": "a", "source": "s", "messages": [{"role": "user", "content": "?"}],
       "reward": [{"verifier": "counting", "target": 3}]}
rng = random.Random(0)
samples = (sample_from_row(row | {"task": rng.randbytes(1000).hex()}, "x") for _ in range(1000))
try:
    write_samples(sys.argv[1], samples)
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_full_disk_leaves_the_old_file(tmp_path, kind) -> None:
    file = tmp_path / f"rows.{kind}"
    file.write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", DISK_FULL, str(file)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert "cannot write" in done.stdout
    assert "nothing was changed" in done.stdout
    assert done.stdout.count("\n") == 1
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_out_must_be_a_file(tmp_path) -> None:
    folder = tmp_path / "folder.jsonl"
    folder.mkdir()
    with pytest.raises(UserError, match="not a regular file"):
        write_samples(folder, [])


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"images": ["a.png"]}, "images: unknown field; media are in `media.images`; what is only kept belongs in `m"),
        ({"video": "a.mp4"}, "video: unknown field; media are in `media.videos`"),
        ({"answer": "3"}, "answer: unknown field; the true answer is in `reward`, as a `target`"),
        ({"problem": "How many?"}, "problem: unknown field; the prompt is in `messages`"),
    ],
)
def test_columns_of_other_toolkits_are_refused_with_their_place(fields, complaint) -> None:
    with pytest.raises(UserError) as caught:
        sample_from_row(ROW | fields, "train.jsonl:3")
    assert str(caught.value).startswith(f"train.jsonl:3: {complaint}")
    assert "`vlmrl data convert`" in str(caught.value)


def test_content_parts_are_refused_with_the_form_that_is_right() -> None:
    parts = [{"type": "image", "image": "a.png"}, {"type": "text", "text": "How many?"}]
    with pytest.raises(UserError, match=r"messages.0.content: is a list of parts; write text with <image>"):
        sample_from_row(ROW | {"messages": [{"role": "user", "content": parts}]}, "train.jsonl:3")


def test_an_escaped_mark_is_text() -> None:
    message = {"role": "user", "content": r"<image>What does \<image> mean, and \<video>?"}
    sample = sample_from_row(ROW | {"messages": [message], "media": {"images": ["a.png"]}}, "x")
    assert content_parts(sample.messages[0]) == [
        {"type": "image"},
        {"type": "text", "text": "What does <image> mean, and <video>?"},
    ]
    row = ROW | {"messages": [message | {"content": r"\<image>?"}], "media": {"images": ["a.png"]}}
    with pytest.raises(UserError, match=r"0 <image> in the text but 1 in media.images"):
        sample_from_row(row, "x")


def test_base64_in_the_place_of_a_path_is_named_by_its_length() -> None:
    row = ROW | {"messages": [{"role": "user", "content": "<image>?"}], "media": {"images": ["iVBORw0K" * 30_000]}}
    with pytest.raises(UserError, match=r"text of 240000 characters is not a path; write base64 as data:") as caught:
        sample_from_row(row, "train.jsonl:3")
    assert len(str(caught.value)) < 200


def test_the_sound_of_videos_is_part_of_a_sample_and_of_its_key(tmp_path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"film")
    row = {
        "id": "1",
        "source": "s",
        "messages": [{"role": "user", "content": "<video>?"}],
        "media": {"videos": ["a.mp4"], "use_audio_in_video": True},
        "reward": [{"verifier": "counting", "target": 1}],
    }
    heard = sample_from_row(row, "row 1", tmp_path)
    silent = sample_from_row(row | {"media": {"videos": ["a.mp4"]}}, "row 1", tmp_path)
    assert heard.media.use_audio_in_video
    assert heard.key != silent.key
    assert row_from_sample(heard)["media"] == {"videos": [str(tmp_path / "a.mp4")], "use_audio_in_video": True}
    with pytest.raises(UserError, match="use_audio_in_video is set, but there is no video"):
        sample_from_row(
            row | {"messages": [{"role": "user", "content": "?"}], "media": {"use_audio_in_video": True}}, ""
        )
