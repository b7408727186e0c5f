"""Bench: both sides do the same work, the work is counted right, the figures have the form that was promised."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen2_5_VLForConditionalGeneration

from vlmrl.bench import rollout, update
from vlmrl.bench.geometry import Geometry, config_of, groups
from vlmrl.bench.memory import in_new_process, peak_bytes
from vlmrl.bench.timing import estimate, take_turns
from vlmrl.cli import main
from vlmrl.config.model import ModelSettings
from vlmrl.models.policy import Policy
from vlmrl.train.flops import update_flops, vision_flops

CONTRACT = {
    "geometry": dict,
    **dict.fromkeys(("speedup", "speedup_low", "speedup_high", "bound", "efficiency", "peak_memory_ratio"), float),
    **dict.fromkeys(("loss_abs_diff", "ours_s", "theirs_s"), float),
}
SMALL = ["--prompt-tokens", "30", "--image", "56x84", "--completion", "6", "--group", "3", "--rounds", "1"]


@pytest.fixture(scope="module")
def small(model_folder) -> Geometry:
    return Geometry(str(model_folder("qwen2_5_vl")), 30, (56, 84), completion=6, group=3, groups=2)


@pytest.fixture(scope="module")
def policy(small) -> Policy:
    return update._without_bans(small)


# --- the figures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "low", "high"), [(1, 1, 1), (5, 1, 5), (6, 1, 6), (9, 2, 8), (20, 6, 15), (100, 40, 61)])
def test_the_interval_of_a_median_is_that_of_the_tables(n, low, high) -> None:
    """Ranks of the 95 % interval of a median, as in Conover, Practical Nonparametric Statistics, section 3.2."""
    found = estimate(list(range(n, 0, -1)))
    assert (found.median, found.low, found.high) == ((n + 1) / 2, low, high)


def test_things_compared_take_turns() -> None:
    done: list[str] = []
    table = take_turns([lambda: done.append("a"), lambda: done.append("b")], rounds=3, warmups=1)
    assert "".join(done) == "ab" * 4
    assert [len(column) for column in table] == [3, 3]


# --- the work ---------------------------------------------------------------------------------------------


def test_flops_of_a_small_update_by_hand(small, policy) -> None:
    """Three completions of two tokens, one of which is computed, to a text prompt of 20."""
    made = groups(replace(small, image=None, prompt_tokens=20, completion=2, groups=1), policy)
    unique, plain = (update_flops(policy.core, made, share) for share in (True, False))
    # The tiny model: 4 layers of width 192, 6 heads and 2 key-value heads of 32, inner width 512, 352 ids.
    layer = 2 * 192 * 192 + 2 * 192 * 64 + 3 * 192 * 512
    assert unique.language == 3 * 2 * 4 * layer * (20 + 3)
    assert plain.language == 3 * 2 * 4 * layer * 3 * 21
    assert unique.attention == 3 * 4 * 192 * 4 * (210 + 3 * 21)
    assert plain.attention == 3 * 4 * 192 * 4 * 3 * 231
    assert unique.head == plain.head == 3 * 2 * 192 * 352 * 6
    assert unique.vision == plain.vision == 0


def test_flops_are_those_that_torch_counts(small, model_folder) -> None:
    """For each family: a forward pass of the model itself over a prompt with an image that has broken windows."""
    for family in ("qwen2_5_vl", "qwen2_vl", "qwen3_vl"):
        geometry = replace(small, model=str(model_folder(family)), image=(336, 196))
        policy = update._without_bans(geometry)
        policy.model.set_attn_implementation("eager")
        group = groups(geometry, Policy.load(ModelSettings(path=str(geometry.model))))[0]
        prompt, core = group.prompt, policy.core
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            core.model(
                input_ids=prompt.input_ids[None],
                mm_token_type_ids=prompt.token_types[None],
                position_ids=prompt.positions[:, None],
                use_cache=False,
                **prompt.vision,
            )
        ours = update_flops(core, [group], share_prompt=True)
        fed = sum(len(r.token_ids) - 1 for r in group.rollouts)
        tokens, text = len(prompt), core.config.text_config
        head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        square = 4 * text.num_hidden_layers * text.num_attention_heads * head * tokens**2
        language = ours.language / 3 * tokens / (tokens + fed)
        expected = language + square + vision_flops(core.model.visual, prompt)
        assert counter.get_total_flops() == pytest.approx(expected, rel=2e-3), family


def test_plain_work_is_g_times_the_prompt(small, policy) -> None:
    made = groups(replace(small, groups=1), policy)
    unique, plain = (update_flops(policy.core, made, share) for share in (True, False))
    assert plain.vision == pytest.approx(3 * unique.vision)
    assert plain.head == unique.head
    tokens = len(made[0].prompt)
    assert plain.language / unique.language == pytest.approx(3 * (tokens + 5) / (tokens + 15))


def test_the_3b_model_has_the_parameters_of_the_published_one(small) -> None:
    """Of Qwen/Qwen2.5-VL-3B-Instruct, its tied output head counted once."""
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config_of(Path(str(small.model)), "random-3b"))
    assert sum(parameter.numel() for parameter in model.parameters()) == 3_754_622_976


# --- both sides do the same -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("attention", "micro_batch"), [("sdpa", 6), ("eager", 1)])
def test_trl_and_the_learner_compute_the_same_update(small, policy, attention, micro_batch) -> None:
    made = groups(small, policy)
    settings = {"attention": attention, "micro_batch": micro_batch}
    learner = update._learner(update._without_bans(small), True)
    update_theirs = update._other_update(small, "trl", made, torch.float32, settings, learner)
    theirs, ours = update_theirs(), update._learner_update(learner, made)()
    assert ours[0] == pytest.approx(theirs[0], abs=1e-6)
    assert ours[1] == pytest.approx(theirs[1], rel=1e-4)
    assert update_theirs() == theirs, "an update moved a weight"
    assert abs(theirs[0]) > 1e-4, "advantages cancel, but for ratios that are not 1"
    banned = update._learner_update(update._learner(small.load(), True), made)()
    with pytest.raises(RuntimeError, match="not the same update"):
        update._compare(banned, theirs, update.TOLERANCE[torch.float32])


@pytest.mark.slow
def test_the_memory_of_trl_is_that_of_its_fastest_setting_and_of_its_whole_batch(small) -> None:
    figures = update.measure(small, "trl", rounds=1, with_memory=True)
    one_by_one = figures["theirs_settings"]["micro_batch"] == 1
    assert figures["theirs_peak_bytes"] > 0
    assert (figures["theirs_whole_peak_bytes"] is not None) == one_by_one
    assert (figures["peak_memory_ratio_whole"] is not None) == one_by_one


@pytest.mark.slow
def test_trl_takes_a_whole_step(small, tmp_path) -> None:
    figures = rollout.measure(small, "trl", rounds=1)
    assert figures["speedup"] > 0
    assert figures["ours_tokens_per_s"] * figures["ours_s"] <= 2 * 3 * 6 + 1e-6


def test_the_engine_and_generate_write_the_same_text(small, policy) -> None:
    figures = rollout.measure(small, "generate", rounds=1)
    assert figures["ours_s"] > 0
    assert math.isfinite(figures["speedup"])


# --- the command ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_update_prints_what_was_promised(small, capsys) -> None:
    assert main(["bench", "update", "--model", str(small.model), *SMALL, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {name: type(told[name]) for name in CONTRACT} == CONTRACT
    assert told["geometry"]["prompt"] == 30 + told["geometry"]["patches"] // 4 == 36
    assert told["efficiency"] == pytest.approx(told["speedup"] / told["bound"])
    assert told["unique_tokens"] == 36 + 3 * 6
    assert told["plain_tokens"] == 3 * (36 + 6)
    assert told["loss_abs_diff"] < 1e-6


def test_several_values_make_a_table(small, capsys) -> None:
    several = [*SMALL, "--no-memory", "--json", "--group", "2", "4"]
    assert main(["bench", "update", "--model", str(small.model), *several]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["geometry"]["group"] for row in told] == [2, 4]
    assert told[0]["bound"] < told[1]["bound"]
    assert told[0]["peak_memory_ratio"] is None


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--prompt-tokens", "3"], "--prompt-tokens 3: the chat template takes"),
        (["--group", "1"], "--group 1: one completion has no advantage"),
        (["--group", "0"], "expected a positive whole number"),
        (["--image", "448x"], "448x"),
        (["--image", "wide"], "wide"),
        (["--against", "verl"], "invalid choice: 'verl'"),
        (["--model", "tests"], "model.path 'tests'"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_line(flags, said, capsys) -> None:
    try:
        code = main(["bench", "update", *flags])
    except SystemExit as stop:
        code = stop.code
    told = capsys.readouterr()
    assert (code, told.out) == (2, "")
    assert said in told.err.splitlines()[-1]


def test_the_speed_of_a_verifier(capsys) -> None:
    assert main(["bench", "verifiers", "exact", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["verifier"] == "exact"
    assert told["per_second"] > 0
    assert told["per_second_isolated"] > 0
    assert told["direct_call_per_second"] is None


# --- memory -----------------------------------------------------------------------------------------------


def _peaks(*megabytes: int) -> list[int | None]:
    cpu = torch.device("cpu")
    return [peak_bytes(lambda size=size: torch.ones(size << 18).sum(), cpu) for size in megabytes]


@pytest.mark.slow
def test_peak_memory_is_that_of_the_work_alone() -> None:
    ballast = torch.ones(400 << 18)  # in this process, not in the child
    few, many = in_new_process(_peaks, 50, 250)
    # The kernel counts resident pages in batches of up to a megabyte.
    assert 49 << 20 <= few < 120 << 20
    assert 249 << 20 <= many < 320 << 20
    assert ballast[0] == 1
