"""Any clip gives the frames that a player shows at even times, and says how many it has before it is decoded."""

from __future__ import annotations

import io
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from helpers import clips
from PIL import Image

from vlmrl.data import video_files
from vlmrl.data.sample_files import read_samples, write_samples
from vlmrl.data.videos import VideoHeader, check_video, read_frames, video_header
from vlmrl.errors import UnreadableError, UserError
from vlmrl.sample import Media, Sample


def every(header: VideoHeader) -> range:
    return range(header.frames)


def shown(media: Media, most: int = 40) -> list[int]:
    return clips.numbers(read_frames(media, every)[0], most)


def at(path: Path, **own) -> Media:
    return Media(path=str(path), **own)


FILES = {
    "mp4": {},
    "mp4 without reordering": {"options": {}, "codec": "mpeg4"},
    "mp4 in fragments": {"options": {"movflags": "frag_keyframe+empty_moov"}},
    "mov": {"form": "mov"},
    "mkv, which states no number": {"form": "matroska"},
    "webm": {"form": "webm", "codec": "libvpx-vp9"},
    "avi": {"form": "avi", "codec": "mpeg4"},
    "transport stream": {"form": "mpegts"},
    "flv, whose header has neither": {"form": "flv"},
    "raw h264 without times": {"form": "h264"},
    "hevc": {"codec": "libx265"},
    "one key frame": {"keys": 250},
    "key frames alone": {"keys": 1},
    "29.97 a second": {"rate": Fraction(30000, 1001)},
}


@pytest.mark.parametrize("name", FILES)
def test_every_container_gives_its_frames_and_their_number(tmp_path: Path, name: str) -> None:
    media = at(clips.write(tmp_path / "clip.mp4", **FILES[name]))
    header = video_header(media)
    rate = 25 if "raw" in name else float(FILES[name].get("rate", 10))
    assert header[:3] == (64, 48, 40)
    assert header.fps == pytest.approx(rate, rel=1e-3)
    assert shown(media) == list(range(40))
    check_video(media)
    frames, again = read_frames(media, lambda _: [3, 3, 17, 18, 39])
    assert clips.numbers(frames) == [3, 3, 17, 18, 39]
    assert again == header


@pytest.mark.parametrize("name", ["mp4", "key frames alone", "mkv, which states no number", "transport stream"])
def test_seeking_gives_the_frames_of_reading_on(tmp_path: Path, name: str) -> None:
    media = at(clips.write(tmp_path / "clip.mp4", frames=200, **FILES[name]))
    wanted = [1, 30, 31, 90, 150, 199]
    assert np.array_equal(read_frames(media, lambda _: wanted)[0], read_frames(media, every)[0][wanted])


@pytest.mark.parametrize("size", [(65, 49), (63, 48), (7, 5), (130, 98)])
def test_odd_widths(tmp_path: Path, size: tuple[int, int]) -> None:
    media = at(clips.write(tmp_path / "clip.mp4", size=size, layout="yuv444p"))
    frames, header = read_frames(media, every)
    assert header[:2] == size
    assert frames.shape == (40, size[1], size[0], 3)
    assert np.abs(frames[5].astype(int) - clips.picture(5, *size)).mean() < 6


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_a_turned_clip_is_upright(tmp_path: Path, rotation: int) -> None:
    frames, header = read_frames(at(clips.write(tmp_path / "clip.mp4", rotation=rotation)), lambda _: [0])
    expected = np.rot90(clips.picture(0, 64, 48), rotation // 90)
    assert header[:2] == (expected.shape[1], expected.shape[0])
    assert np.abs(frames[0].astype(int) - expected).mean() < 6


def test_one_frame_is_a_video(tmp_path: Path) -> None:
    media = at(clips.write(tmp_path / "clip.mp4", frames=1))
    assert video_header(media).frames == 1
    check_video(media)
    assert shown(media) == [0]


# --- times ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["mp4", "matroska"])
def test_of_a_variable_rate_the_frames_on_screen_are_taken(tmp_path: Path, form: str) -> None:
    """The first second has 30 frames, the next nine seconds have one each."""
    times = [n * 33 for n in range(30)] + [1000 + 1000 * n for n in range(9)]
    media = at(clips.write(tmp_path / "clip", frames=39, milliseconds=times, form=form, rate=30))
    header = video_header(media)
    assert header.frames == 39
    assert header.frames / header.fps == pytest.approx(10, abs=1.2)
    seconds = [n / header.fps for n in range(39)]
    on_screen = [max(n for n, time in enumerate(times) if time <= 1000 * second + 1) for second in seconds]
    assert shown(media) == pytest.approx(on_screen, abs=1)
    assert len(set(shown(media))) < 20


def test_the_pictures_of_an_animation_last_as_long_as_they_say() -> None:
    for form in ("GIF", "WEBP", "PNG"):
        media = Media(data=clips.animated(form, [100, 100, 500, 100, 100, 100]))
        header = video_header(media)
        assert header == (64, 48, 10, 10.0)
        assert shown(media) == [0, 1, 2, 2, 2, 2, 2, 3, 4, 5]
        check_video(media)


def test_transparency_of_an_animation_is_white() -> None:
    buffer = io.BytesIO()
    first, second = (Image.new("RGBA", (16, 16), (0, 0, 255, alpha)) for alpha in (0, 255))
    first.save(buffer, "WEBP", save_all=True, append_images=[second], duration=100, lossless=True)
    frames, _ = read_frames(Media(data=buffer.getvalue()), every)
    assert frames[:, 8, 8].tolist() == [[255, 255, 255], [0, 0, 255]]


PARTS = ((1.0, 2.0, 10, 20), (1.05, None, 11, 39), (None, 0.3, 0, 3))


@pytest.mark.parametrize(("start", "end", "first", "last"), PARTS)
def test_a_part_is_as_a_file_cut_there(tmp_path: Path, start, end, first: int, last: int) -> None:
    media = at(clips.write(tmp_path / "clip.mp4"), start=start, end=end)
    assert video_header(media).frames == last - first + 1
    assert shown(media) == list(range(first, last + 1))


def test_a_part_outside_of_the_clip_is_refused(tmp_path: Path) -> None:
    clips.write(tmp_path / "clip.mp4")
    for read in (video_header, check_video):
        with pytest.raises(UnreadableError, match=r"clip.mp4: has 4.00 s at 10 frames a second, none from 5 s to 6 s;"):
            read(at(tmp_path / "clip.mp4", start=5, end=6))


# --- lists of images --------------------------------------------------------------------------------------


def frame_list(folder: Path, count: int = 5, size: tuple[int, int] = (64, 48)) -> list[str]:
    names = [f"{number}.png" for number in range(count)]
    for number, name in enumerate(names):
        Image.fromarray(clips.picture(number, *size)).save(folder / name)
    return names


def row(video: object) -> dict:
    return {
        "id": "v",
        "source": "clips",
        "messages": [{"role": "user", "content": "<video>how many?"}],
        "media": {"videos": [video]},
        "reward": [{"verifier": "counting", "target": 3}],
    }


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_parts_and_lists_survive_a_file_and_a_move(tmp_path: Path, suffix: str) -> None:
    names = frame_list(tmp_path)
    given = [names, {"frames": names, "fps": 2.5, "start": 0.5}, {"path": "a.mp4", "start": 1, "end": 2.5}]
    samples = [Sample.model_validate(row(video) | {"id": str(n)}) for n, video in enumerate(given)]
    absolute = [s.model_copy(update={"media": _under(tmp_path, s)}) for s in samples]
    write_samples(tmp_path / f"rows.{suffix}", absolute)
    tmp_path.rename(moved := tmp_path.with_name(f"moved {suffix}"))
    clips.write(moved / "a.mp4")
    back = list(read_samples(moved / f"rows.{suffix}"))
    assert [shown(s.media.videos[0]) for s in back] == [[0, 1, 2, 3, 4], [2, 3, 4], list(range(10, 26))]
    assert back[1].media.videos[0].fps == 2.5
    assert len({s.key for s in back}) == 3
    moved.rename(tmp_path)


def _under(folder: Path, sample: Sample):
    from vlmrl.sample import with_media

    return with_media(sample, lambda m: m.model_copy(update={"path": str(folder / str(m.path))})).media


def test_what_a_medium_shows_is_its_key(tmp_path: Path) -> None:
    clips.write(tmp_path / "a.mp4")
    whole = at(tmp_path / "a.mp4").digest()
    parts = {at(tmp_path / "a.mp4", start=s, end=e).digest() for s, e in ((1, 2), (1, None), (None, 2))}
    assert len(parts | {whole}) == 4


@pytest.mark.parametrize(
    ("video", "says"),
    [
        ({"frames": [], "fps": 2}, "needs a path or bytes"),
        ({"frames": ["a.png"], "path": "a.mp4"}, "has frames and a file"),
        ({"path": "a.mp4", "fps": 2}, "fps: is the rate of frames"),
        ({"frames": ["a.png"], "start": 1}, "add fps"),
        ({"path": "a.mp4", "start": 3, "end": 3}, "end: 3 is not after the start, 3"),
        ({"path": "a.mp4", "start": -1}, "start: input should be greater"),
        ([["a.png"]], "each is an image"),
    ],
)
def test_a_video_that_means_nothing_is_refused(tmp_path: Path, video: object, says: str) -> None:
    import json

    (tmp_path / "rows.jsonl").write_text(json.dumps(row(video)))
    with pytest.raises(UserError, match=rf"rows.jsonl:1: media.videos.0.*{says}"):
        list(read_samples(tmp_path / "rows.jsonl"))


def test_an_image_has_no_part() -> None:
    with pytest.raises(ValueError, match=r"images.0: frames, start and end are those of a video"):
        Sample.model_validate(row("a.mp4") | {"media": {"images": [{"path": "a.png", "start": 1}]}})


def test_frames_of_two_sizes_are_refused(tmp_path: Path) -> None:
    names = [str(tmp_path / name) for name in frame_list(tmp_path)]
    Image.new("RGB", (80, 60)).save(names[3])
    with pytest.raises(UnreadableError, match=r"3.png: has 80 x 60 pixels, and the first frame of its video 64 x 48"):
        check_video(Media(frames=tuple(Media(path=name) for name in names)))


# --- what is wrong ----------------------------------------------------------------------------------------


def test_sound_alone_is_not_a_video(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as writer:
        writer.setparams((1, 2, 16_000, 0, "NONE", ""))
        writer.writeframes(bytes(32_000))
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16_000)
        for _ in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.rate = 16_000
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    for name, kind in (("a.wav", "a WAV audio clip"), ("a.mp4", "an MP4 video")):
        for read in (video_header, check_video):
            with pytest.raises(UnreadableError, match=rf"{name}: not a readable video \(it is {kind}: it has no pict"):
                read(at(tmp_path / name))


@pytest.mark.parametrize("says", [60, 20])
def test_a_number_of_frames_that_is_wrong_is_counted_anew(tmp_path: Path, says: int) -> None:
    path = clips.avi_that_says(clips.write(tmp_path / "a.avi", codec="mpeg4"), says)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == says
    assert video_header(at(path)).frames == 40
    assert shown(at(path)) == list(range(40))


@pytest.mark.parametrize("options", [{}, {"movflags": "faststart"}])
def test_a_half_downloaded_file_is_named_as_one(tmp_path: Path, options: dict[str, str]) -> None:
    path = clips.write(tmp_path / "a.mp4", options=options)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(UnreadableError, match=r"a.mp4: not a readable video \(cut off: [\d,]+ of its [\d,]+ bytes"):
        read_frames(at(path), every)
    if not options:  # its index is at the end
        with pytest.raises(UnreadableError, match="cut off"):
            video_header(at(path))


@pytest.mark.parametrize("form", ["GIF", "WEBP"])
def test_a_still_is_not_a_video(form: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, form)
    with pytest.raises(UnreadableError, match=r"a still is one of media.images"):
        check_video(Media(data=buffer.getvalue()))


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    clips.write(tmp_path / "a.ts", form="mpegts")
    (tmp_path / "a.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{tmp_path}/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(UnreadableError, match="it is text"):
        video_header(at(tmp_path / "a.mp4"))


# --- decord -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mp4", "avi", "webm", "mkv, which states no number"])
def test_decord_gives_the_same_frames_where_pyav_is_missing(tmp_path: Path, monkeypatch, name: str) -> None:
    pytest.importorskip("decord")
    media = at(clips.write(tmp_path / "clip.mp4", **FILES[name]))
    ours = read_frames(media, every)
    monkeypatch.setattr(video_files, "pyav", lambda: None)
    theirs = read_frames(media, every)
    assert theirs[1][:3] == ours[1][:3]
    assert theirs[1].fps == pytest.approx(ours[1].fps)
    assert np.array_equal(theirs[0], ours[0])


def test_with_neither_a_run_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(video_files, "pyav", lambda: None)
    monkeypatch.setattr(video_files, "decoder", lambda: None)
    media = at(clips.write(tmp_path / "clip.mp4"))
    check_video(media)
    with pytest.raises(UserError, match="install av"):
        video_header(media)
