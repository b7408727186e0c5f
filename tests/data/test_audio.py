"""Sounds are read to their end, mono at the model's rate; a file that is something else or cut off is named as such."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from helpers.sounds import film_with_sound, tone, written

from vlmrl.data import audio
from vlmrl.data.audio import audio_seconds, check_audio, encode_wav, load_audio
from vlmrl.errors import UnreadableError, UserError
from vlmrl.sample import Media

FORMS = {
    "wav": ("WAV", "PCM_16"),
    "wav of 8 bits": ("WAV", "PCM_U8"),
    "wav of floats": ("WAV", "FLOAT"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
}
"""What soundfile reads."""


def pitch(values: np.ndarray, rate: int = 16_000) -> float:
    """Hz of the loudest frequency."""
    return float(np.abs(np.fft.rfft(values)).argmax() * rate / len(values))


def complaint(data: bytes) -> str:
    with pytest.raises(UnreadableError) as caught:
        load_audio(Media(data=data), 16_000)
    line = str(caught.value)
    assert "\n" not in line
    assert "object at" not in line
    assert len(line) < 300
    return line


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_every_kind_of_file_gives_the_same_sound_at_the_rate_of_the_model(name: str, rate: int) -> None:
    media = Media(data=written(tone(440, 2.0, rate), rate, *FORMS[name]))
    values = load_audio(media, 16_000)
    assert values.dtype == np.float32
    assert values.ndim == 1
    assert len(values) == pytest.approx(32_000, abs=1 if name != "mp3" else 2_400)
    assert pitch(values) == pytest.approx(440, abs=1)
    assert np.abs(values).max() == pytest.approx(0.5, abs=0.08)
    assert audio_seconds(media) == pytest.approx(2.0, abs=0.001 if name != "mp3" else 0.15)


@pytest.mark.parametrize("form", ["mp4", "matroska", "adts"])
def test_the_sound_of_films_and_aac_is_read_by_pyav(form: str) -> None:
    media = Media(data=film_with_sound(tone(440, 2.0, 44_100), 44_100, form))
    values = load_audio(media, 16_000)
    assert len(values) / 16_000 == pytest.approx(2.0, abs=0.1)
    assert pitch(values) == pytest.approx(440, abs=1)
    assert audio_seconds(media) == pytest.approx(2.0, abs=0.15)


def test_channels_are_averaged_and_not_taken_for_clips() -> None:
    left, right = tone(440, 1.0), np.zeros(16_000, np.float32)
    values = load_audio(Media(data=written(np.stack([left, right], axis=1), 16_000)), 16_000)
    assert np.abs(values - left / 2).max() < 1e-4
    of_film = load_audio(Media(data=film_with_sound(np.stack([left, right], axis=1), 16_000, "mp4")), 16_000)
    assert np.abs(of_film).max() == pytest.approx(0.25, abs=0.03)


# --- traps ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_a_clip_that_is_cut_off_is_refused(name: str, share: float) -> None:
    data = written(tone(440, 2.0), 16_000, *FORMS[name])
    line = complaint(data[: int(share * len(data))])
    assert "cut off" in line or (name == "mp3" and "damaged" in line)


def test_a_header_alone_is_refused() -> None:
    data = written(tone(440, 2.0), 16_000)
    assert "cut off: 44 of its 64,0" in complaint(data[:44])
    assert "it has no sound" in complaint(written(np.zeros(0, np.float32), 16_000))


def test_a_film_without_sound_is_named() -> None:
    assert "it is an MP4 video without sound" in complaint(film_with_sound(None, 16_000, "mp4"))


def test_a_film_whose_sound_ends_early_by_damage_is_refused() -> None:
    data = film_with_sound(tone(440, 4.0, 44_100), 44_100, "mp4")
    assert "cut off" in complaint(data[: len(data) // 2])


@pytest.mark.parametrize("seconds", [0.01, 0.02, 0.029])
def test_a_clip_of_less_than_30_ms_gives_no_token_and_is_refused(seconds: float) -> None:
    assert f"lasts {1000 * seconds:.3g} ms" in complaint(written(tone(440, seconds), 16_000))
    assert len(load_audio(Media(data=written(tone(440, 0.03), 16_000)), 16_000)) == 480


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    values = tone(440, 1.0)
    values[100] = bad
    assert "not finite numbers" in complaint(written(values, 16_000, "WAV", "FLOAT"))


def test_values_that_were_never_scaled_are_refused() -> None:
    assert "full scale is 1" in complaint(written(tone(440, 1.0) * 32767, 16_000, "WAV", "FLOAT"))


@pytest.mark.parametrize("rate", [100, 4_000_000])
def test_a_rate_that_no_sound_has_is_refused(rate: int) -> None:
    data = bytearray(written(tone(440, 1.0), 16_000))
    data[24:28] = struct.pack("<I", rate)
    assert f"at {rate:,} Hz" in complaint(bytes(data))


def test_a_flac_that_states_a_huge_length_is_refused_before_it_is_decoded() -> None:
    data = bytearray(written(tone(440, 1.0), 16_000, "FLAC", "PCM_16"))
    data[21] |= 0x0F  # bits 32 to 35 of the number of samples
    assert "cut the clip into parts" in complaint(bytes(data))


def test_a_flac_that_does_not_state_its_length_is_read() -> None:
    data = bytearray(written(tone(440, 1.0), 16_000, "FLAC", "PCM_16"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    media = Media(data=bytes(data))
    assert len(load_audio(media, 16_000)) == 16_000
    assert audio_seconds(media) == pytest.approx(1.0)


OTHERS = {
    "empty": (b"", "it is empty"),
    "zeros": (bytes(999), "it is nothing but zero bytes"),
    "text": (b"not a sound", "it is text"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", "run `git lfs pull`"),
    "noise": (bytes(range(128, 256)) * 99, "it is data of an unknown kind"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_a_sound_is_named(name: str) -> None:
    data, says = OTHERS[name]
    assert says in complaint(data)


def test_without_a_reader_the_head_is_checked_and_reading_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(audio, "reader", lambda: None)
    data = written(tone(440, 1.0), 16_000)
    check_audio(Media(data=data))
    with pytest.raises(UnreadableError, match="cut off"):
        check_audio(Media(data=data[:999]))
    for read in (audio_seconds, lambda media: load_audio(media, 16_000)):
        with pytest.raises(UserError, match="install the extra train"):
            read(Media(data=data))


_DAMAGE = """
import numpy as np, psutil
from helpers.sounds import film_with_sound, tone, written
from vlmrl.data.audio import check_audio
from vlmrl.errors import UserError
from vlmrl.sample import Media
random = np.random.default_rng(0)
wave, good = tone(440, 0.5), 0
whole = [written(wave, 16_000, *form) for form in (("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"),
         ("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_16"))]
whole += [film_with_sound(wave, 16_000, form) for form in ("mp4", "matroska", "adts")]
for n in range(2000):
    if n == 200:
        files, memory = psutil.Process().num_fds(), psutil.Process().memory_info().rss
    data = bytearray(whole[n % len(whole)])
    for _ in range(random.integers(1, 20)):
        start = random.integers(0, len(data) if n % 3 else min(200, len(data)))
        data[start : start + 8] = random.bytes(min(8, len(data) - start))
    if n % 5 == 0:
        del data[random.integers(1, len(data)) :]
    try:
        check_audio(Media(data=bytes(data)))
        good += 1
    except UserError as error:
        assert len(str(error)) < 400, error
assert psutil.Process().num_fds() == files
assert psutil.Process().memory_info().rss < memory + 2**26
print(good)
"""


def test_2000_damaged_sounds_give_one_line_each_nothing_else_and_no_leak() -> None:
    tests = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", _DAMAGE], capture_output=True, text=True, cwd=tests)
    assert (done.returncode, done.stderr) == (0, "")
    assert 0 < int(done.stdout) < 2000


# --- waveforms --------------------------------------------------------------------------------------------


def read_back(array: object, rate: object = 16_000) -> np.ndarray:
    return load_audio(Media(data=encode_wav(array, rate)), 16_000)


def test_integers_are_scaled_by_their_type() -> None:
    values = tone(440, 1.0)
    for integers in (
        (values * 32768).astype(np.int16),
        (values * 32768).astype(int).tolist(),
        (values.astype(float) * 2**31).astype(np.int32),
        np.rint(values * 128 + 128).astype(np.uint8),
    ):
        assert np.abs(read_back(integers) - values).max() < 0.005


@pytest.mark.parametrize("turn", [np.asarray, np.transpose])
def test_an_array_of_two_rows_is_stereo(turn) -> None:
    left, right = tone(440, 1.0), tone(880, 1.0)
    assert np.abs(read_back(turn(np.stack([left, right]))) - (left + right) / 2).max() < 1e-6


def test_what_is_not_the_waveform_of_one_sound_is_refused() -> None:
    for array, says in (
        (np.zeros((2, 2, 400)), "of shape (2, 2, 400)"),
        (np.zeros((400, 400)), "not one sound of at most 32 channels"),
        ([], "of shape (0,)"),
        (["a"], "not the waveform"),
        ([[0.1], [0.1, 0.2]], "array: "),
        ([10**6] * 999, "more than 16 bits"),
    ):
        with pytest.raises(ValueError, match=r"array") as caught:
            encode_wav(array, 16_000)
        assert says in str(caught.value)
    for rate in (None, 0, "16k", float("nan"), 16_000.5, True):
        with pytest.raises(ValueError, match="sampling_rate"):
            encode_wav([0.1, 0.2], rate)


def test_the_bytes_of_a_waveform_are_a_wav_that_others_read() -> None:
    values = tone(440, 1.0)
    read, rate = soundfile.read(io.BytesIO(encode_wav(values, 22_050)), dtype="float32")
    assert (rate, len(read)) == (22_050, 16_000)
    assert np.array_equal(read, values)
    with av.open(io.BytesIO(encode_wav(values, 22_050))) as container:
        assert container.streams.audio[0].rate == 22_050
