"""Each sampler: its paper's numbers, what it claims on prompts of known pass rates, and its state."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from helpers.population import Population, half_solved, make_group
from pydantic import ValidationError

from vlmrl import catalog
from vlmrl.config.objective import ObjectiveSettings
from vlmrl.config.sampler import SamplerSettings
from vlmrl.curriculum import create_sampler
from vlmrl.curriculum.draws import is_admitted
from vlmrl.curriculum.memory import PromptMemory
from vlmrl.curriculum.samplers.refill import Refill
from vlmrl.curriculum.samplers.rlcs import Rlcs, expansion_ratio
from vlmrl.curriculum.samplers.skip_solved import SkipSolved
from vlmrl.curriculum.samplers.variance import Alignment, Variance
from vlmrl.errors import UserError
from vlmrl.objectives.pcurl import STAGES, group_weight, stage_weight


def sampler_of(world: Population, name: str, seed: int = 0, **settings: Any) -> Any:
    return create_sampler(SamplerSettings.model_validate({"name": name, **settings}), world.memory, seed)


def grade(memory: PromptMemory, rate_N: np.ndarray, length: float = 10.0) -> None:
    """Grades as `load_grades` leaves them."""
    memory.graded_pass_rate_N[:] = rate_N
    memory.graded_spread_N[:] = np.sqrt(rate_N * (1 - rate_N))
    memory.graded_length_N[:] = length


# --- all of them ------------------------------------------------------------------------------------------

SCHEDULE = {"stages": [{"name": "uniform", "until": 0.5}, {"name": "refill", "until": 1.0}]}
CASES = [(name, {}) for name in catalog.names("samplers")] + [
    ("skip_solved", {"source_weights": {"source0": 1.0, "source1": 3.0}}),
    ("variance", {"variance": {"score": "limr"}}),
    ("refill", {"refill": {"base": "skip_solved"}}),
    ("uniform", SCHEDULE),
]


def graded_world() -> Population:
    world = Population(half_solved(120), sources=2)
    grade(world.memory, world.rate_N)
    return world


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_a_sampler_continues_from_its_state(name, settings) -> None:
    """Cut in the middle of the third epoch: the rest of the run is the same."""
    whole = graded_world()
    whole.run(sampler_of(whole, name, **settings), 60, n=8, total=60)

    first = graded_world()
    sampler = sampler_of(first, name, **settings)
    first.run(sampler, 37, n=8, total=60)
    second = graded_world()
    second.rng = first.rng
    second.memory.load_state_dict(first.memory.state_dict())
    restored = sampler_of(second, name, **settings)
    restored.load_state_dict(sampler.state_dict())
    second.run(restored, 23, n=8, first=38, total=60)
    assert first.drawn + second.drawn == whole.drawn
    scores = [[group.scores for group in step] for step in whole.trained]
    assert [[group.scores for group in step] for step in first.trained + second.trained] == scores


@pytest.mark.parametrize("name", catalog.names("samplers"))
def test_another_seed_draws_other_prompts(name) -> None:
    draws = []
    for seed in (0, 1):
        world = graded_world()
        world.run(sampler_of(world, name, seed=seed), 2, n=8)
        draws.append(world.drawn)
    assert draws[0] != draws[1]


def test_source_weights_hold_exactly_over_a_run() -> None:
    world = Population(np.full(90, 0.5), sources=3)
    sampler = sampler_of(world, "uniform", source_weights={"source0": 5, "source1": 3, "source2": 0})
    drawn = np.concatenate([sampler.next(7) for _ in range(40)])
    assert np.bincount(world.memory.source_N[drawn], minlength=3).tolist() == [175, 105, 0]
    assert set(np.bincount(drawn, minlength=90)[0::3].tolist()) == {5, 6}  # 175 draws of 30 prompts, in turn


def test_source_weights_name_every_source() -> None:
    world = Population(np.full(9, 0.5), sources=2)
    with pytest.raises(UserError, match=r"no source 'source3'; did you mean"):
        sampler_of(world, "uniform", source_weights={"source0": 1, "source3": 1})
    with pytest.raises(UserError, match=r"source 'source1' has no weight; 0 leaves it out"):
        sampler_of(world, "uniform", source_weights={"source0": 1})


def test_gates_admit_what_is_unknown_and_within_bounds() -> None:
    world = Population(half_solved(40))
    grade(world.memory, world.rate_N)
    world.memory.graded_pass_rate_N[:4] = np.nan
    sampler = sampler_of(world, "uniform", admit=(0.125, 0.625))
    allowed = {0, 1, 2, 3} | set(np.flatnonzero(world.rate_N == 0.5).tolist())
    drawn = sampler.next(len(allowed)).tolist()
    assert sorted(drawn) == sorted(allowed)


def test_a_gate_that_nothing_passes_is_refused() -> None:
    world = Population(np.full(3, 0.5))
    grade(world.memory, np.full(3, 0.5))
    with pytest.raises(UserError, match=r"sampler\.admit: no prompt passes \[0\.6, 1\.0\]"):
        sampler_of(world, "uniform", admit=(0.6, 1)).next(1)


@pytest.mark.parametrize("group", [5, 6, 8, 10, 12, 20])
def test_gates_admit_a_rate_at_their_bound(group: int) -> None:
    rate = np.arange(group + 1) / group
    world = Population(rate)
    grade(world.memory, rate)
    for right, bound in enumerate(rate.tolist()):
        for bounds, expected in (((bound, 1), range(right, group + 1)), ((0, bound), range(right + 1))):
            admitted = is_admitted(world.memory, np.arange(group + 1), bounds)
            assert np.flatnonzero(admitted).tolist() == list(expected)


def test_a_prompt_that_passes_is_found_wherever_the_epoch_stands() -> None:
    world = Population(np.full(5000, 0.5))
    grade(world.memory, np.ones(5000))
    world.memory.graded_pass_rate_N[17] = 0.5
    for seed in range(20):
        sampler = sampler_of(world, "uniform", seed, admit=(0, 0.5))
        sampler.streams[0].restore(0, 2500)
        assert sampler.next(1).tolist() == [17]


def test_stages_follow_one_another_with_their_own_settings() -> None:
    stages = [
        {"name": "skip_solved", "until": 0.25, "skip_solved": {"explore": 0.3}},
        {"name": "refill", "until": 1.0},
    ]
    world = Population(half_solved(80))
    sampler = sampler_of(world, "uniform", stages=stages, skip_solved={"probe": 0.2}, refill={"base": "skip_solved"})
    world.run(sampler, 5, n=4, total=20)
    assert sampler.metrics()["stage"] == 0
    assert (sampler.sampler.own.explore, sampler.sampler.own.probe) == (0.3, 0.2)
    world.run(sampler, 1, n=4, first=6, total=20)
    assert isinstance(sampler.sampler, Refill)
    assert isinstance(sampler.sampler.base, SkipSolved)


@pytest.mark.parametrize("later", ["uniform", "rlcs"])
def test_the_surplus_of_a_stage_takes_the_place_of_rollouts_in_the_next(later: str) -> None:
    stages = [{"name": "refill", "until": 0.5, "refill": {"margin": 4, "max_age": 9}}, {"name": later, "until": 1.0}]
    world = Population(np.full(4000, 0.5))
    sampler = sampler_of(world, "uniform", stages=stages)
    world.run(sampler, 5, n=16, total=10)
    assert len(sampler.pending) > 16
    world.run(sampler, 5, n=16, first=6, total=10)
    assert [len(step) for step in world.trained] == [16] * 10
    assert world.drawn[5] == []
    if later == "uniform":  # what is more than one update would be too old for the next
        assert sum(len(step) for step in world.paid[5:]) == 4 * 16


def test_surplus_that_is_too_old_stays_behind() -> None:
    stages = [{"name": "refill", "until": 0.5, "refill": {"max_age": 1}}, {"name": "uniform", "until": 1.0}]
    sampler = sampler_of(Population(np.full(9, 0.5)), "uniform", stages=stages)
    for step in (1, 4):
        sampler.begin(step, step / 10)
        sampler.observe([make_group(step, [1, 0], version=step - 1) for _ in range(3)])
        sampler.batch(1)
    sampler.begin(6, 0.6)
    assert sampler.pending == []
    assert sampler.missing(4) == 4


def test_what_is_wrong_in_a_late_stage_is_said_at_the_start() -> None:
    stages = [{"name": "uniform", "until": 0.5}, {"name": "ladder", "until": 1.0}]
    with pytest.raises(UserError, match="no prompt has a grade"):
        sampler_of(Population(np.ones(4)), "uniform", stages=stages)
    stages[1] = {"name": "refill", "until": 1.0, "refill": {"base": "rlcs"}}
    with pytest.raises(UserError, match="'rlcs' fills updates itself"):
        sampler_of(Population(np.ones(4)), "uniform", stages=stages)


def test_stages_are_checked() -> None:
    with pytest.raises(ValidationError, match="let it end at 1"):
        SamplerSettings.model_validate({"stages": [{"until": 0.5}]})
    with pytest.raises(ValidationError, match="does not ascend"):
        SamplerSettings.model_validate({"stages": [{"until": 0.5}, {"until": 0.5}, {"until": 1}]})


def test_a_draw_ends_where_nothing_is_likely() -> None:
    world = Population(np.ones(50))
    world.memory.flat_visits_N[:] = 9
    world.memory.last_N[:] = 1
    drawn = sampler_of(world, "skip_solved", skip_solved={"probe": 0}).next(20)
    assert len(set(drawn.tolist())) == 20


# --- skip_solved ------------------------------------------------------------------------------------------


def test_skip_solved_draws_with_greso_chance() -> None:
    """The paper filters with probability 1 - p^z; p starts at 0.5."""
    world = Population(np.full(4, 0.5))
    world.memory.flat_visits_N[:] = [0, 1, 2, 3]
    world.memory.last_N[:] = [0.5, 1, 1, 0]
    sampler = sampler_of(world, "skip_solved")
    assert sampler.chance(np.arange(4)).tolist() == [1, 0.5, 0.25, 0.125]
    sampler.explore_hard = 0.9
    assert sampler.chance(np.arange(4))[3] == pytest.approx(0.9**3)


def test_skip_solved_moves_its_two_chances_towards_their_targets() -> None:
    """25 % in all, easy to hard 1 : 2, in steps of 0.01 within [0.05, 0.95], not in the first epoch."""
    world = Population(np.full(100, 0.5))
    sampler = sampler_of(world, "skip_solved")
    easy, hard, mixed = [1.0] * 8, [0.0] * 8, [1.0, 0.0] * 4
    step = [make_group(i, easy if i < 9 else hard if i < 25 else mixed) for i in range(100)]
    sampler.observe(step)
    assert (sampler.explore_easy, sampler.explore_hard) == (0.5, 0.5)
    sampler.streams[0].restore(1, 0)
    sampler.observe(step)  # 9 % > 25 / 3, 16 % < 50 / 3
    assert (sampler.explore_easy, sampler.explore_hard) == (0.49, 0.51)
    for _ in range(100):
        sampler.observe(step)
    assert (sampler.explore_easy, sampler.explore_hard) == (0.05, 0.95)


def test_skip_solved_does_not_take_a_dropped_group_for_a_flat_one() -> None:
    sampler = sampler_of(Population(np.full(4, 0.5)), "skip_solved")
    sampler.streams[0].restore(1, 0)
    groups = [make_group(i, [1, 0, 1, 0]) for i in range(4)]
    for group in groups:
        group.dropped = True
    sampler.observe(groups)
    assert (sampler.explore_easy, sampler.explore_hard) == (0.51, 0.51)


def test_skip_solved_pays_for_few_flat_groups_and_still_probes() -> None:
    worlds = {name: Population(half_solved(2000)) for name in ("uniform", "skip_solved")}
    for name, world in worlds.items():
        world.run(sampler_of(world, name), 150)
    assert worlds["uniform"].flat_share(50) == pytest.approx(0.75, abs=0.03)
    assert worlds["skip_solved"].flat_share(50) < 0.3  # its target is 0.25
    late = {index for step in worlds["skip_solved"].drawn[-50:] for index in step}
    assert any(worlds["skip_solved"].rate_N[index] in (0, 1) for index in late)


# --- refill -----------------------------------------------------------------------------------------------


def test_refill_trains_full_updates_of_useful_groups_and_keeps_the_surplus() -> None:
    """DAPO: 0 < right < G in every group of the update, and the update is full."""
    world = Population(half_solved(400))
    sampler = sampler_of(world, "refill")
    world.run(sampler, 30, n=16)
    for step in world.trained:
        assert len(step) == 16
        assert all(0 < sum(group.scores) < 8 for group in step)
    useful = sum(group.has_spread for step in world.paid for group in step)
    assert useful == 30 * 16 + len(sampler.pending) + sampler.dropped
    assert sampler.dropped == 0
    assert any(group.rollouts[0].version < step for step, trained in enumerate(world.trained) for group in trained)


def test_refill_drops_what_is_too_old_or_too_much() -> None:
    world = Population(half_solved(40))
    sampler = sampler_of(world, "refill", refill={"buffer": 3, "max_age": 1})
    sampler.begin(1, 0.1)
    sampler.observe([make_group(i, [1, 0]) for i in range(6)] + [make_group(9, [1, 1])])
    assert [group.index for group in sampler.batch(2)] == [0, 1]
    assert [group.index for group in sampler.pending] == [2, 3, 4]
    sampler.begin(2, 0.2)
    assert sampler.missing(2) == 0
    assert [group.index for group in sampler.batch(2)] == [2, 3]
    assert sampler.metrics()["from_buffer"] == 2
    sampler.begin(3, 0.3)
    assert sampler.missing(2) == 2
    assert sampler.metrics()["surplus_dropped"] == 2


def test_refill_gives_up_after_its_rounds() -> None:
    world = Population(np.ones(40))
    sampler = sampler_of(world, "refill", refill={"max_rounds": 3})
    world.run(sampler, 1, n=4)
    assert len(world.drawn[0]) == 5 + 16 + 16  # margin 1.25, then 4 prompts for each group missing
    assert world.trained == [[]]


def test_refill_asks_for_the_missing_over_the_share_that_was_of_use() -> None:
    """GRESO's code: missing / (1 - flat share) x 1.25."""
    sampler = sampler_of(Population(np.full(500, 0.5)), "refill")
    sampler.begin(1, 0.1)
    sampler.observe([make_group(0, [1, 1]), make_group(1, [1, 0])])
    assert len(sampler.next(40)) == 100


def test_refill_on_skip_solved_pays_less_than_on_uniform() -> None:
    paid = {}
    for base in ("uniform", "skip_solved"):
        world = Population(half_solved(2000))
        world.run(sampler_of(world, "refill", refill={"base": base}), 120)
        paid[base] = sum(len(step) for step in world.paid[-40:])
    assert paid["skip_solved"] < 0.5 * paid["uniform"]


def test_refill_needs_a_base_that_only_chooses() -> None:
    with pytest.raises(UserError, match="'rlcs' fills updates itself"):
        sampler_of(Population(np.ones(4)), "refill", refill={"base": "rlcs"})


# --- rlcs -------------------------------------------------------------------------------------------------


def test_rlcs_expansion_ratio() -> None:
    """1 / (1 - share of prompts all right or all wrong), in a moving average, rolled out in one shot."""
    groups = [make_group(i, [1, 0] if i < 3 else [1, 1]) for i in range(12)]
    assert expansion_ratio(groups, limit=8) == 4
    assert expansion_ratio(groups, limit=3) == 3
    assert expansion_ratio(groups[3:], limit=8) == 8
    sampler = sampler_of(Population(np.full(200, 0.5)), "rlcs")
    sampler.begin(1, 0.1)
    sampler.observe(groups)
    assert sampler.ratio == pytest.approx(0.9 + 0.1 * 4)
    assert len(sampler.next(10)) == math.ceil(10 * sampler.ratio) == 13


def test_rlcs_keeps_the_most_balanced_groups() -> None:
    sampler = sampler_of(Population(np.full(9, 0.5)), "rlcs")
    sampler.begin(1, 0.1)
    rights = (8, 0, 1, 4, 7, 5, 2)
    sampler.observe([make_group(i, [1.0] * right + [0.0] * (8 - right)) for i, right in enumerate(rights)])
    assert sampler.missing(4) == 0
    assert [sum(group.scores) for group in sampler.batch(4)] == [4, 5, 2, 1]


def test_rlcs_merges_offline_and_online_tiers() -> None:
    world = Population(np.full(5, 0.5))
    memory = world.memory
    memory.graded_pass_rate_N[:] = [0, 0, 1, np.nan, np.nan]
    memory.last_N[:] = [np.nan, 1, 1, 1, np.nan]
    memory.visits_N[:] = [0, 1, 4, 1, 0]
    sampler = sampler_of(world, "rlcs")
    assert sampler.tiers(np.arange(5)).tolist() == [0, 2, 4, 4, 2]
    weights = sampler.chance(np.arange(5))
    assert weights[1] == 1
    floor = SamplerSettings().rlcs.floor
    assert weights[0] == weights[2] == pytest.approx(floor / (0.25 + floor))


def test_rlcs_draws_less_from_sources_that_are_too_easy_or_too_hard() -> None:
    rate = np.where(np.arange(3000) % 3 == 0, 0.5, np.where(np.arange(3000) % 3 == 1, 0.97, 0.03))
    world = Population(rate, sources=3)
    world.run(sampler_of(world, "rlcs"), 60)
    drawn = np.concatenate(world.drawn[-20:]).astype(int)
    counts = np.bincount(world.memory.source_N[drawn], minlength=3)
    assert counts[0] > 2 * counts[1]
    assert counts[0] > 2 * counts[2]


def test_rlcs_pays_for_few_flat_groups_once_tiers_are_known() -> None:
    """With grades at once, without them after an epoch."""
    graded, fresh = Population(half_solved(2000)), Population(half_solved(2000))
    grade(graded.memory, graded.rate_N)
    for world in (graded, fresh):
        world.run(sampler_of(world, "rlcs"), 100)
    first = [group for step in graded.paid[:5] for group in step]
    assert sum(not group.has_spread for group in first) / len(first) < 0.3
    assert fresh.flat_share(20) < 0.3
    assert all(len(step) == 32 for step in fresh.trained)


# --- pcurl_stages -----------------------------------------------------------------------------------------


def test_pcurl_draws_by_the_weights_of_the_paper() -> None:
    rate = np.array([0, 0.125, 0.25, 0.5, 0.75, 0.875, 1])
    world = Population(rate)
    grade(world.memory, rate)
    sampler = sampler_of(world, "pcurl_stages", pcurl_stages={"probe": 0.01})
    for progress, expected in (
        (0.1, [0.01, 0.3827, 0.7071, 1, 1, 1, 1]),
        (0.5, [0.01, 0.3827, 0.7071, 1, 0.7071, 0.3827, 0.01]),
        (1.0, [0.25, 1, 1, 1, 0.7071, 0.3827, 0.01]),
    ):
        sampler.begin(round(10 * progress), progress)
        assert sampler.chance(np.arange(7)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("until", [(1 / 3, 2 / 3), (0.1, 0.7), (0.333, 0.334), (0, 0.5)])
def test_pcurl_changes_stage_with_the_objective(until: tuple[float, float]) -> None:
    """What the trainer tells them: the objective the share of steps before this one, the sampler that with this one."""
    rates = np.array([0.25, 0.75])
    by_stage = [stage_weight(rates, stage).tolist() for stage in STAGES]
    objective = ObjectiveSettings.model_validate({"pcurl": {"until": until}})
    sampler = sampler_of(Population(rates), "pcurl_stages", pcurl_stages={"until": (*until, 1)})
    for steps in range(1, 121):
        for step in range(1, steps + 1):
            sampler.begin(step, step / steps)
            weights = [
                group_weight(rate, (step - 1) / steps, objective, objective.own("pcurl")) for rate in rates.tolist()
            ]
            assert sampler.metrics()["pcurl_stage"] == by_stage.index(weights), (step, steps)


def test_pcurl_moves_from_easy_to_hard() -> None:
    rate = np.random.default_rng(0).random(3000)
    world = Population(rate)
    grade(world.memory, rate)
    sampler = sampler_of(world, "pcurl_stages")
    means = []
    for stage in range(3):
        world.run(sampler, 30, first=1 + 30 * stage, total=90)
        assert sampler.metrics()["pcurl_stage"] == stage
        means.append(rate[np.concatenate(world.drawn[-30:]).astype(int)].mean())
    assert means[0] > 0.55 > 0.45 > means[2]


def test_pcurl_leaves_the_weight_to_the_objective_with_draw_by_weight_off() -> None:
    world = Population(half_solved(96))
    grade(world.memory, world.rate_N)
    sampler = sampler_of(world, "pcurl_stages", pcurl_stages={"draw_by_weight": False})
    world.run(sampler, 3, n=32, total=9)
    first = [index for step in world.drawn for index in step]
    world.run(sampler, 3, n=32, first=4, total=9)
    second = [index for step in world.drawn[3:] for index in step]
    assert sorted(first) == sorted(second) == list(range(96))
    assert first != second


# --- ladder -----------------------------------------------------------------------------------------------


def test_ladder_sorts_by_difficulty_and_then_complexity() -> None:
    world = Population(np.array([0.5, 1.0, 1.0, 0.0, 0.5, 0.25]))
    grade(world.memory, world.rate_N)
    world.memory.graded_length_N[:] = [30, 5, 9, 1, 20, 1]
    sampler = sampler_of(world, "ladder", ladder={"mix": 0})
    # 1 is solved and short: it is left out; 5 is of level 6 of 8, after 4 and 0 of level 4.
    assert sampler.next(5).tolist() == [2, 4, 0, 5, 3]
    assert sampler.next(2).tolist() == [2, 4]


def test_ladder_mixes_each_level_with_its_four_neighbours() -> None:
    rate = np.repeat(np.arange(9) / 8, 400)
    world = Population(rate)
    grade(world.memory, rate)
    order = sampler_of(world, "ladder").next(3600)
    assert sorted(order.tolist()) == list(range(3600))
    level = np.round((1 - rate[order]) * 8).astype(int)
    middle = level[1700:1900]  # inside level 4
    assert (middle == 4).mean() == pytest.approx(0.8, abs=0.06)
    assert set(middle.tolist()) == {2, 3, 4, 5, 6}
    assert np.corrcoef(np.arange(3600), level)[0, 1] > 0.95


def test_ladder_needs_grades() -> None:
    with pytest.raises(UserError, match="no prompt has a grade; run `vlmrl data grade`"):
        sampler_of(Population(np.ones(4)), "ladder")


# --- variance ---------------------------------------------------------------------------------------------


def test_variance_over_visits_is_that_of_one_shot_rlvr() -> None:
    """Score: the standard deviation over time of the per-visit accuracy, in eighths."""
    rights = [1, 3, 8, 8, 5, 0, 7]
    memory = Population(np.ones(2)).memory
    for right in rights:
        memory.observe([make_group(1, [1.0] * right + [0.0] * (8 - right))])
    assert memory.std_over_visits(np.array([1]))[0] == pytest.approx(np.std(np.array(rights) / 8))
    assert memory.pass_rate(np.array([1]))[0] == 7 / 8
    assert memory.mean_N[1] == pytest.approx(np.mean(rights) / 8)


def test_limr_score_is_the_papers() -> None:
    rates, averages = np.array([0.25, 0.5, 0.75]), np.array([0.3, 0.4, 0.6])
    alignment = Alignment(3)
    for rate, average in zip(rates, averages, strict=True):
        alignment.add(2, rate, average)
    expected = 1 - ((rates - averages) ** 2).sum() / ((1 - averages) ** 2).sum()
    assert alignment.score(np.array([2]))[0] == pytest.approx(expected)
    assert np.isnan(alignment.score(np.array([0]))[0])


@pytest.mark.parametrize("score", ["group", "history"])
def test_variance_prefers_prompts_whose_reward_varies(score) -> None:
    world = Population(half_solved(1000))
    world.run(sampler_of(world, "variance", variance={"score": score, "top": 0.25}), 160)
    assert world.flat_share(30) < 0.25
    useful = np.concatenate(world.drawn[-30:]).astype(int)
    assert (world.rate_N[useful] == 0.5).mean() > 0.7


@pytest.mark.parametrize("left_out_by", ["weights", "gate"])
def test_variance_sets_its_threshold_by_what_can_be_drawn(left_out_by: str) -> None:
    """Three quarters of the prompts are left out and vary most; of the others half vary more than 0.25."""
    prompts = np.arange(2000)
    drawable = prompts % 4 == 3
    memory = PromptMemory(drawable.astype(np.int16), ("out", "in"))
    memory.graded_spread_N[:] = np.where(drawable, 0.1 + 0.3 * np.random.default_rng(0).random(2000), 0.5)
    memory.graded_pass_rate_N[:] = np.where(drawable, 0.5, 0.9)
    how = {"weights": {"source_weights": {"out": 0, "in": 1}}, "gate": {"admit": (0, 0.7)}}
    sampler = create_sampler(SamplerSettings.model_validate({"name": "variance"} | how[left_out_by]), memory, 0)
    drawn = sampler.next(150)
    assert drawable[drawn].all()
    assert sampler.metrics()["threshold"] == pytest.approx(0.25, abs=0.02)
    assert (memory.graded_spread_N[drawn] > 0.25).mean() > 0.8


def test_variance_by_limr_prefers_prompts_that_follow_the_run() -> None:
    """Three quarters of the prompts go from 0.2 to 0.8, the others stay at 0.05."""
    world = Population(np.zeros(400))
    sampler = sampler_of(world, "variance", variance={"score": "limr", "top": 0.5})
    for epoch in range(8):
        rising = 0.2 + 0.6 * epoch / 7
        world.rate_N = np.where(np.arange(400) % 4 == 0, 0.05, rising)
        world.run(sampler, 10, n=40, first=1 + 10 * epoch)
    assert isinstance(sampler, Variance)
    scores = sampler.scores(np.arange(400))
    followers = np.arange(400) % 4 != 0
    assert np.nanmedian(scores[followers]) > np.nanmedian(scores[~followers]) + 0.08


def test_every_sampler_is_tried_here() -> None:
    assert isinstance(sampler_of(graded_world(), "rlcs"), Rlcs)
    assert {name for name, _ in CASES} == set(catalog.names("samplers"))
