"""Families that hear: sounds, alone or with images and videos, and sounds of videos, as transformers takes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
import torch
from helpers.packed_rows import gradients, make_items, run_packed, weight
from helpers.samples import prompt_sample
from helpers.sounds import film_with_sound, tone
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.utils.rnn import pad_sequence
from torch.utils.flop_counter import FlopCounterMode

from vlmrl import UserError
from vlmrl.cli import main
from vlmrl.config.learner import LearnerSettings
from vlmrl.config.model import LoraSettings, ModelSettings
from vlmrl.data.audio import encode_wav
from vlmrl.data.sample_files import write_samples
from vlmrl.models.family import family_of, frame_mask
from vlmrl.models.formatting import Formatter
from vlmrl.models.logprobs import log_distribution, score_row
from vlmrl.models.packing import Item, build, pack, work_of
from vlmrl.models.policy import Policy
from vlmrl.sample import Media, RewardSpec, Sample
from vlmrl.train.flops import tower_flops
from vlmrl.train.planner import Planner

OMNI = ("qwen2_5_omni", "qwen3_omni_moe")
HEARING = ("qwen2_audio", *OMNI)
hearing = pytest.mark.parametrize("family", HEARING)
omni = pytest.mark.parametrize("family", OMNI)


def sound(seconds: float, hertz: float = 440) -> Media:
    return Media(data=encode_wav(tone(hertz, seconds), 16_000))


FILM = Media(data=film_with_sound(tone(440, 4.0), 16_000, frames=40))
ALONE = [
    prompt_sample("short", "<audio>what is it?", audios=(sound(0.5),)),
    prompt_sample("sounds", "is <audio> like <audio> or not?", audios=(sound(1.234), sound(1.7))),
]


def prompts_of(family: str, mixed: list[Sample]) -> list[Sample]:
    """Text and sounds, and for a model that sees also images and videos, alone and together with sounds."""
    text = next(sample for sample in mixed if sample.id == "text")
    if family not in OMNI:
        return [text, *ALONE]
    image = mixed[0].media.images
    together = prompt_sample("together", "<audio>in <image>?", image, audios=(sound(1.234),))
    heard = prompt_sample("heard", "<video>or <audio>?", (), (FILM,), (sound(0.3),), use_audio_in_video=True)
    return [*mixed, *ALONE, together, heard]


def load(model_folder: Any, family: str, **settings: Any) -> Policy:
    return Policy.load(ModelSettings(path=str(model_folder(family)), device="cpu", **settings))


@pytest.fixture
def formatters(model_folder: Any) -> Any:
    return lambda family: Formatter.load(str(model_folder(family)))


# --- prompts ----------------------------------------------------------------------------------------------


@hearing
def test_the_size_of_a_prompt_is_known_from_the_headers_of_its_sounds(formatters, mixed_samples, family: str) -> None:
    formatter = formatters(family)
    samples = [s for s in prompts_of(family, mixed_samples) if not s.media.videos]
    for sample, prompt in zip(samples, formatter.encode(samples), strict=True):
        size = formatter.size(sample)
        assert (size.tokens, size.sound_values) == (len(prompt), prompt.sound_values), sample.id
        assert (prompt.sound_values > 0) == bool(sample.media.audios)


@hearing
def test_tokens_of_sounds_are_marked_counted_and_never_sampled(formatters, family: str) -> None:
    formatter = formatters(family)
    short, sounds = formatter.encode(ALONE)
    counts = {"qwen3_omni_moe": (7, 16 + 22)}.get(family, (12, 31 + 42))
    assert tuple(int((p.token_types == 3).sum()) for p in (short, sounds)) == counts
    assert [p.modality for p in (short, sounds)] == ["audio", "audio"]
    assert [media.kind for media in sounds.media] == ["audio", "audio"]
    # A token of sound is 40 ms or more, on all three axes, so that nothing but sounds leaves plain positions.
    assert torch.equal(short.positions, torch.arange(len(short)).expand(3, -1))
    heard = formatter.tokenizer.convert_tokens_to_ids(["<|audio_pad|>", "<|audio_start|>", "<|audio_end|>"])
    assert set(heard) <= set(formatter.placeholder_ids)


@hearing
def test_the_features_of_a_sound_do_not_depend_on_the_others(formatters, family: str) -> None:
    formatter = formatters(family)
    (alone,), (_, beside) = formatter.encode(ALONE[:1]), formatter.encode([ALONE[1], ALONE[0]])
    assert alone.features.keys() == beside.features.keys()
    assert all(torch.equal(alone.features[name], beside.features[name]) for name in alone.features)
    assert alone.media[0].digest == beside.media[0].digest


@hearing
def test_a_stereo_file_is_one_sound_at_the_rate_of_the_model(formatters, family: str) -> None:
    from helpers.sounds import written

    left = tone(440, 1.0, 44_100)
    stereo = prompt_sample("s", "<audio>?", audios=(Media(data=written(np.stack([left, left], 1), 44_100)),))
    mono = prompt_sample("m", "<audio>?", audios=(sound(1.0),))
    one, other = formatters(family).encode([stereo, mono])
    assert len(one) == len(other)
    assert (one.features["input_features"] - other.features["input_features"]).abs().mean() < 0.02


def test_a_sound_longer_than_the_window_is_refused_and_not_cut(formatters) -> None:
    formatter = formatters("qwen2_audio")
    long = prompt_sample("long", "<audio>?", audios=(sound(2.5),))
    for read in (formatter.size, lambda sample: formatter.encode([sample])):
        with pytest.raises(UserError, match=r"'long': media.audios.0: .* lasts 2.50 s, and qwen2_audio hears 2 s; cut"):
            read(long)
    formatter.encode([prompt_sample("whole", "<audio>?", audios=(sound(2.0),))])
    assert len(formatters("qwen3_omni_moe").encode([long])[0]) > 30


@pytest.mark.parametrize(("family", "seconds"), [("qwen2_audio", 0.05), ("qwen2_5_omni", 0.02)])
def test_a_sound_without_tokens_or_with_one_that_the_model_would_expand_is_refused(formatters, family, seconds) -> None:
    short = prompt_sample("short", "<audio>?", audios=(Media(data=encode_wav(tone(440, seconds), 16_000)),))
    for read in (formatters(family).size, lambda sample: formatters(family).encode([sample])):
        with pytest.raises(UserError, match=r"'short': media.audios.0: .*lasts 0?\.?\d+"):
            read(short)


@hearing
def test_a_placeholder_in_the_text_is_an_error_before_the_model_sees_it(formatters, family: str) -> None:
    forged = prompt_sample("forged", "<audio>and <|audio_pad|>?", audios=(sound(0.5),))
    for read in (formatters(family).size, lambda sample: formatters(family).encode([sample])):
        with pytest.raises(UserError, match="'forged': 2 audio_tokens in the prompt, 1 features"):
            read(forged)


def test_what_a_model_does_not_take_is_refused(formatters, mixed_samples: list[Sample]) -> None:
    with pytest.raises(UserError, match="has image, but qwen2_audio takes none"):
        formatters("qwen2_audio").encode([mixed_samples[0]])
    with pytest.raises(UserError, match="has audio, but qwen3_vl takes none"):
        formatters("qwen3_vl").encode([ALONE[0]])
    heard = prompt_sample("heard", "<video>?", videos=(FILM,), use_audio_in_video=True)
    with pytest.raises(UserError, match=r"'heard': qwen3_vl does not hear videos; remove media.use_audio_in_video"):
        formatters("qwen3_vl").encode([heard])


# --- the sound of videos ----------------------------------------------------------------------------------


@omni
def test_the_sound_of_a_video_stands_between_its_frames_by_time(formatters, family: str) -> None:
    silent = prompt_sample("silent", "<video>?", videos=(FILM,))
    heard = silent.model_copy(update={"media": silent.media.model_copy(update={"use_audio_in_video": True})})
    without, with_sound = formatters(family).encode([silent, heard])
    assert (without.modality, with_sound.modality) == ("video", "video")
    assert set(without.token_types.tolist()) == {0, 2}
    runs = with_sound.token_types.unique_consecutive().tolist()
    assert runs[:5] == [0, 2, 3, 2, 3]
    # Sound and frames of the same moment have the same temporal position, and 4 s are 4 s of positions.
    places = with_sound.positions[0][with_sound.token_types == 3]
    assert int(places[-1] - places[0]) == pytest.approx(4 * {"qwen2_5_omni": 25, "qwen3_omni_moe": 13}[family], abs=3)


@omni
def test_the_seconds_between_frames_are_those_of_the_file(formatters, family: str) -> None:
    """Not the rate that the processor supposes."""
    quick = Media(data=film_with_sound(None, 16_000, frames=20))  # 10 frames a second, sampled at 2
    formatter = formatters(family)
    formatter.settings = ModelSettings(video_fps=1.0)
    slow = formatter.encode([prompt_sample("slow", "<video>?", videos=(FILM,))])[0]
    formatter.settings = ModelSettings(video_fps=2.0)
    usual = formatter.encode([prompt_sample("usual", "<video>?", videos=(quick,))])[0]
    assert slow.features["video_second_per_grid"].tolist() == pytest.approx([2.0], rel=0.05)
    assert usual.features["video_second_per_grid"].tolist() == pytest.approx([1.0], rel=0.05)


@omni
def test_a_video_without_sound_cannot_be_heard(formatters, family: str) -> None:
    mute = prompt_sample(
        "mute", "<video>?", videos=(Media(data=film_with_sound(None, 16_000)),), use_audio_in_video=True
    )
    with pytest.raises(UserError, match=r"'mute': media.videos.0: .*MP4 video without sound"):
        formatters(family).encode([mute])


# --- training ---------------------------------------------------------------------------------------------


def plain_logprobs(policy: Policy, item: Item, response: list[int]) -> torch.Tensor:
    """The reference: transformers alone, with one prompt and its media, and its own positions."""
    prompt, fed = item.prompt, torch.tensor(response)
    inputs: dict[str, Any] = dict(prompt.features)
    if (lengths := inputs.pop("audio_feature_lengths", None)) is not None:
        values = inputs["input_features"]
        if values.ndim == 2:
            sounds = list(values.split(lengths.tolist()))
            if prompt.sample_id in ("short", "heard") and policy.core.config.model_type.startswith("qwen3"):
                # Otherwise the convolutions of a sound shorter than a window see the padding of others.
                sounds.append(torch.zeros(100, values.shape[1]))
                lengths = torch.cat([lengths, torch.tensor([100])])
            values = pad_sequence(sounds, batch_first=True).transpose(1, 2)
        inputs |= {"input_features": values, "feature_attention_mask": frame_mask(lengths, values.shape[-1])}
    if prompt.sample_id == "heard":
        inputs["use_audio_in_video"] = True
    ids = torch.cat([prompt.input_ids, fed])[None]
    out = policy.core(input_ids=ids, attention_mask=torch.ones_like(ids), **inputs)
    banned = torch.tensor(policy.formatter.placeholder_ids)
    logprobs = log_distribution(out.logits[0, len(prompt) - 1 : -1], banned, 1.0)
    return logprobs.gather(1, fed[:, None])[:, 0]


@hearing
def test_a_packed_row_is_what_transformers_computes_for_each_prompt(model_folder, mixed_samples, family: str) -> None:
    policy = load(model_folder, family)
    items = make_items(policy, prompts_of(family, mixed_samples))
    packed = run_packed(policy, pack(items, 100_000))
    packed_gradients = gradients(policy)
    for item in items:
        for number, response in enumerate(item.responses):
            plain = plain_logprobs(policy, item, list(response))
            (weight(item.name, number) * plain.sum()).backward()
            assert (plain.detach() - packed[item.name, number]).abs().max() < 1e-5, item.prompt.sample_id
    plain_gradients = gradients(policy)
    assert packed_gradients.keys() == plain_gradients.keys()
    scale = max(g.norm() for g in plain_gradients.values())
    for name, gradient in plain_gradients.items():
        difference = (gradient - packed_gradients[name]).norm()
        assert difference <= 1e-4 * max(gradient.norm(), 1e-2 * scale), name


@hearing
def test_towers_without_media_get_no_gradient(model_folder, mixed_samples: list[Sample], family: str) -> None:
    policy = load(model_folder, family)
    towers = policy.formatter.family.towers
    text, *_ = (sample for sample in mixed_samples if sample.id == "text")
    for samples, used in (([text], ()), (ALONE, [name for name in towers if name != "visual"])):
        run_packed(policy, pack(make_items(policy, samples), 100_000))
        named = gradients(policy)
        for tower in towers:
            assert any(name.startswith(f"{tower}.") for name in named) == (tower in used), (tower, used)


@omni
def test_frozen_towers_are_computed_once_for_images_and_hear_all_the_same(model_folder, mixed_samples, family) -> None:
    samples = prompts_of(family, mixed_samples)
    frozen, free = load(model_folder, family, freeze_towers=True), load(model_folder, family)
    assert frozen.vision_cache is not None
    rows = [pack(make_items(policy, samples), 100_000)[0] for policy in (frozen, free)]
    with torch.no_grad():
        first, second, other = (
            score_row(p, r).logprob_L for p, r in ((frozen, rows[0]), (frozen, rows[0]), (free, rows[1]))
        )
    assert torch.equal(first, second)
    torch.testing.assert_close(first, other, rtol=1e-5, atol=1e-5)
    assert frozen.vision_cache.hits >= frozen.vision_cache.computed > 0
    assert not any(p.requires_grad for name, p in frozen.model.named_parameters() if "audio_tower" in name)


def test_a_frozen_model_that_only_hears_has_no_cache_of_images(model_folder) -> None:
    policy = load(model_folder, "qwen2_audio", freeze_towers=True)
    assert (policy.visual, policy.vision_cache) == (None, None)
    assert policy.frozen_copy().core.get_submodule("model.audio_tower") is policy.core.get_submodule(
        "model.audio_tower"
    )


@omni
def test_the_thinker_of_a_whole_checkpoint_is_loaded(model_folder, family: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    thinker = model_folder(family)
    for file in thinker.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((thinker / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family, "thinker_config": config}))
    weights = load_file(thinker / "model.safetensors")
    save_file(
        {f"thinker.{name}": value for name, value in weights.items()}, tmp_path / "model.safetensors", {"format": "pt"}
    )
    whole, alone = Policy.load(ModelSettings(path=str(tmp_path), device="cpu")), load(model_folder, family)
    assert whole.formatter.config.model_type == f"{family}_thinker"
    assert whole.core.state_dict().keys() == alone.core.state_dict().keys()
    assert all(torch.equal(value, alone.core.state_dict()[name]) for name, value in whole.core.state_dict().items())


@hearing
def test_flops_and_memory_of_the_audio_tower_are_those_of_torch(model_folder, family: str) -> None:
    policy = load(model_folder, family)
    planner = Planner(policy, LearnerSettings())
    policy.model.train()
    audio = policy.core.config.audio_config
    whole = prompt_sample("whole", "<audio>or <audio>?", audios=(sound(1.0), sound(2.0)))
    prompt, *_, longer = policy.formatter.encode([whole, *ALONE])
    item = Item(0, prompt, [[9] * 20])
    with FlopCounterMode(mods=policy.core, display=False) as counter:
        score_row(policy, build([item]))
    counted = sum(
        sum(flops.values()) for key, flops in counter.get_flop_counts().items() if key.endswith(".audio_tower")
    )
    # Torch counts no attention on a CPU.
    steps = 100.0 if family == "qwen2_audio" else 10.0 if family == "qwen2_5_omni" else 13.0
    lengths = prompt.features["audio_feature_lengths"].double()
    total = {"qwen2_audio": 200.0, "qwen2_5_omni": lengths.sum() / 2, "qwen3_omni_moe": lengths.sum() / 8}[family]
    attention = float(4 * audio.d_model * audio.encoder_layers * total * steps)
    projector = 2 * 32 * 64 * 75 if family == "qwen2_audio" else 0
    assert tower_flops(policy.core, prompt) == pytest.approx(counted + attention + projector, rel=0.06)
    for measured in (item, Item(0, longer, [[9] * 20])):
        saved = saved_by(policy, lambda measured=measured: score_row(policy, build([measured])))
        predicted = planner.footprint.saved.bytes(work_of(measured, planner))
        assert 0.7 * predicted < saved <= 1.02 * predicted


def saved_by(policy: Policy, run: Any) -> int:
    """Bytes that autograd saves, without weights."""

    def storage(x: torch.Tensor) -> int:
        return x.untyped_storage()._cdata

    weights = {storage(x) for x in [*policy.model.parameters(), *policy.model.buffers()]}
    kept: list[torch.Tensor] = []
    with saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        alive = run()
    assert alive
    return sum({storage(x): x.untyped_storage().nbytes() for x in kept if storage(x) not in weights}.values())


def write_run(folder: Path, model: Path, prompts: int) -> str:
    config = {
        "run": {"name": "x", "folder": str(folder / "runs"), "steps": 2, "sinks": ["jsonl"]},
        "model": {"path": str(model), "device": "cpu"},
        "data": {"train": [str(folder / "train.jsonl")]},
        "rollout": {"engine": "hf", "prompts": prompts, "group": 2, "max_new_tokens": 8},
        "reward": {"workers": 0},
        "learner": {"learning_rate": 1e-4, "warmup_steps": 0, "memory_mb": 4000},
    }
    (folder / "run.toml").write_text(tomli_w.dumps(config))
    return str(folder / "run.toml")


def metrics(folder: Path) -> list[dict[str, float]]:
    """All but the times."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if not k.startswith("seconds/")} for row in rows]


@hearing
def test_a_run_over_all_modalities_is_repeated_by_one_that_was_stopped(
    model_folder, mixed_samples: list[Sample], family: str, tmp_path: Path, capsys
) -> None:
    reward = (RewardSpec(verifier="ocr", target="aeiou rst"),)
    samples = [s.model_copy(update={"reward": reward}) for s in prompts_of(family, mixed_samples)]
    write_samples(tmp_path / "train.jsonl", samples)
    assert main(["data", "check", str(tmp_path / "train.jsonl")]) == 0
    run = write_run(tmp_path, model_folder(family), len(samples))
    assert main(["train", run, "--dry-run"]) == 0
    assert "the run is fit to start" in capsys.readouterr().out
    assert main(["train", run, "--run.name", "whole"]) == 0
    assert main(["train", run, "--run.name", "stopped", "--run.max_minutes", "1e-6"]) == 0
    assert main(["train", run, "--run.name", "stopped", "--resume"]) == 0
    whole, stopped = (tmp_path / "runs" / name for name in ("whole", "stopped"))
    steps = metrics(whole)
    assert steps == metrics(stopped)
    weights = "model/model.safetensors"
    assert (whole / weights).read_bytes() == (stopped / weights).read_bytes()
    assert all(step["all/grad_norm"] > 0 for step in steps)
    agreement = json.loads((whole / "summary.json").read_text())["agreement"]
    seen = {"image", "images", "video"} if family in OMNI else set()
    assert agreement.keys() == {"text", "audio"} | seen
    assert max(figures["max"] for figures in agreement.values()) < 1e-4
    exported = Policy.load(ModelSettings(path=str(whole / "model"), device="cpu"))
    assert exported.formatter.family is family_of(family)


@hearing
def test_an_exported_model_answers_as_before(model_folder, family: str, tmp_path: Path) -> None:
    """Also if its head is not tied, whatever its config says."""
    policy = load(model_folder, family)
    with torch.no_grad():
        policy.core.lm_head.weight.mul_(1.5)
    policy.save(tmp_path)
    exported = Policy.load(ModelSettings(path=str(tmp_path), device="cpu"))
    items = make_items(policy, ALONE)
    with torch.no_grad():
        before, after = (score_row(p, build(items)).logprob_L for p in (policy, exported))
    assert torch.equal(before, after)


def test_vllm_says_that_hf_serves_models_that_hear(model_folder) -> None:
    from vlmrl.config.rollout import VllmSettings
    from vlmrl.rollout.engines import vllm

    with pytest.raises(UserError, match=r"'vllm': takes no qwen2_audio yet; set rollout.engine to 'hf'"):
        vllm.create(VllmSettings(max_model_len=1024), load(model_folder, "qwen2_audio"))


@hearing
def test_adapters_learn_from_sounds(model_folder, family: str) -> None:
    policy = load(model_folder, family, lora=LoraSettings(rank=4, alpha=8), freeze_towers=True)
    items = make_items(policy, ALONE)
    run_packed(policy, [build(items)])
    trained = [(name, p) for name, p in policy.model.named_parameters() if p.requires_grad]
    assert trained
    assert all("lora" in name and p.grad is not None and "tower" not in name for name, p in trained)
