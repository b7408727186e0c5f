"""The stages of the objective by hand-computed and published numbers; presets and their settings."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from helpers.objective_cases import group, rollout, settings_of

from vlmrl import catalog
from vlmrl.config.objective import ObjectiveSettings
from vlmrl.config.run_file import load_run
from vlmrl.errors import UserError
from vlmrl.objectives.grpo import surrogate
from vlmrl.objectives.visionary_r1 import coefficient
from vlmrl.train.divergence import ESTIMATES
from vlmrl.train.objective import Objective, advantages, token_weights

DEFAULT = ObjectiveSettings()
PRESETS = catalog.names("objectives")


# --- group statistics -----------------------------------------------------------------------------------------


def test_advantages_are_standardised_with_the_unbiased_deviation():
    # mean 1/4, unbiased std 1/2, biased std sqrt(3)/4
    assert advantages([1.0, 0.0, 0.0, 0.0], DEFAULT) == pytest.approx([1.5, -0.5, -0.5, -0.5], abs=1e-5)
    biased = advantages([1.0, 0.0, 0.0, 0.0], ObjectiveSettings(scale="biased_std"))
    assert biased == pytest.approx([math.sqrt(3), *[-1 / math.sqrt(3)] * 3], abs=1e-5)


def test_dr_grpo_leaves_the_deviation_out():
    got = advantages([1.0, 0.0, 0.0, 0.0], ObjectiveSettings(scale="none"))
    assert got == pytest.approx([0.75, -0.25, -0.25, -0.25])


def test_leave_one_out_is_the_mean_of_the_others():
    scores = [1.0, 0.0, 0.25, 0.0]
    got = advantages(scores, ObjectiveSettings(baseline="leave_one_out", scale="none"))
    assert got == pytest.approx([s - (sum(scores) - s) / 3 for s in scores])
    assert advantages([0.3], ObjectiveSettings(baseline="leave_one_out", scale="none")) == [0.0]


def test_unscored_rollouts_have_no_part_in_the_baseline():
    got = advantages([1.0, None, 0.0], ObjectiveSettings(scale="none"))
    assert got == [0.5, None, -0.5]
    assert advantages([None, None], DEFAULT) == [None, None]
    assert advantages([None, 0.7], DEFAULT) == [None, 0.0]


def test_a_group_without_spread_has_no_advantage():
    assert advantages([1.0] * 8, DEFAULT) == [0.0] * 8


def test_what_is_left_out_of_an_update():
    parts = [rollout("ab", (-1, -1), finish="length"), rollout("c", (-1,)), rollout("d", (-1,), trained=(False,))]
    groups = [group(parts, [1.0, 0.0, 0.5])]
    assert [r.index for r in Objective(DEFAULT).responses(groups)] == [0, 1]
    assert [r.index for r in Objective(ObjectiveSettings(overlong_filter=True)).responses(groups)] == [1]
    nearly = [group(parts[:2], [0.5, 0.51])]
    assert Objective(ObjectiveSettings(preset="loop", baseline="mean")).responses(nearly) == []
    cut = Objective(ObjectiveSettings(overlong_filter=True)).responses(groups)[0]
    assert cut.advantage == pytest.approx(advantages([1.0, 0.0, 0.5], DEFAULT)[1])  # it stays in the statistics


# --- the loss of a token --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped", "slope"),
    [
        (1.0, 1.0, -1.0, False, -1.0),
        (1.27, 1.0, -1.27, False, -1.27),
        (1.5, 1.0, -1.28, True, 0.0),  # clip-higher: 1 + 0.28
        (0.5, 1.0, -0.5, False, -0.5),  # a good token that became rare keeps its gradient
        (0.5, -1.0, 0.8, True, 0.0),  # 1 - 0.2
        (1.5, -1.0, 1.5, False, 1.5),
    ],
)
def test_clipped_surrogate(ratio: float, advantage: float, loss: float, clipped: bool, slope: float):
    logprob = torch.tensor([math.log(ratio)], dtype=torch.float64, requires_grad=True)
    got = surrogate(logprob.exp(), torch.tensor([advantage], dtype=torch.float64), DEFAULT)
    got.loss_L.sum().backward()
    assert got.loss_L.item() == pytest.approx(loss)
    assert bool(got.clipped_L) == clipped
    assert logprob.grad is not None
    assert logprob.grad.item() == pytest.approx(slope)


def test_the_dual_clip_bounds_what_a_bad_token_costs():
    ratio = torch.tensor([2.0, 5.0, 5.0])
    got = surrogate(ratio, torch.tensor([-1.0, -1.0, 1.0]), ObjectiveSettings(dual_clip=3.0))
    assert got.loss_L.tolist() == pytest.approx([2.0, 3.0, -1.28])
    assert got.clipped_L.tolist() == [False, True, True]


def test_the_two_conventions_of_the_upper_clip():
    ratio, ones = torch.tensor([1.15, 3.0]), torch.ones(2)
    verl = surrogate(ratio, ones, ObjectiveSettings(clip_high=0.2))
    trl = surrogate(ratio, ones, ObjectiveSettings(clip_high=1.1, upper_clip="absolute"))
    assert verl.loss_L.tolist() == pytest.approx([-1.15, -1.2])
    assert trl.loss_L.tolist() == pytest.approx([-1.1, -1.1])


# --- KL -------------------------------------------------------------------------------------------------------


def test_the_estimates_of_the_kl():
    # d = log reference - log policy = ln 2
    policy, reference = torch.zeros(1), torch.full((1,), math.log(2.0))
    got = {name: estimate(policy, reference).item() for name, estimate in ESTIMATES.items()}
    assert got == pytest.approx({"k1": -math.log(2), "k2": math.log(2) ** 2 / 2, "k3": 1 - math.log(2)}, abs=1e-6)


def test_k3_is_zero_at_equality_and_never_negative():
    a = torch.linspace(-3, 0, 7)
    assert torch.equal(ESTIMATES["k3"](a, a), torch.zeros(7))
    assert (ESTIMATES["k3"](a, a.flip(0)) >= 0).all()


def test_k1_and_k3_are_unbiased():
    torch.manual_seed(0)
    policy, other = torch.randn(50, dtype=torch.float64).log_softmax(0), torch.randn(50).double().log_softmax(0)
    kl = (policy.exp() * (policy - other)).sum().item()
    for name in ("k1", "k3"):
        assert (policy.exp() * ESTIMATES[name](policy, other)).sum().item() == pytest.approx(kl)


def test_visionary_r1_anneals_the_kl_along_a_cosine():
    settings = ObjectiveSettings(preset="visionary_r1")
    got = [coefficient(settings.kl_coef, e, settings.own("visionary_r1")) for e in (0, 0.25, 0.5, 0.75, 1)]
    assert got == pytest.approx([0.04, 0.03414, 0.02, 0.00586, 0], abs=1e-5)
    assert coefficient(0.1, 0.7, DEFAULT.own("visionary_r1")) == 0.1


# --- aggregation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "weights"),
    [
        ({}, [1 / 10, 1 / 10, 1 / 10]),
        ({"aggregation": "sequence"}, [1 / 6, 1 / 18, 1 / 6]),
        ({"aggregation": "sequence_sum", "length_divisor": 100.0}, [1 / 300] * 3),
        ({"aggregation": "sum", "length_divisor": 100.0}, [1 / 100] * 3),
        ({"aggregation": "group"}, [1 / 16, 1 / 16, 1 / 4]),
    ],
)
def test_the_weight_of_a_token(changes, weights):
    """Two responses of 2 and 6 tokens in one group, one of 2 in another."""
    assert token_weights([2, 6, 2], [0, 0, 1], ObjectiveSettings(**changes)) == pytest.approx(weights)


@pytest.mark.parametrize("denominator", ["kept", "trained"])
def test_untrained_tokens_are_in_no_denominator(denominator):
    parts = [rollout("abc", (-1, -1, -1), trained=(True, False, False)), rollout("de", (-1, -1))]
    objective = Objective(ObjectiveSettings(**{"high_entropy": {"denominator": denominator}}))
    responses = objective.responses([group(parts, [1.0, 0.0])])
    objective.set_masks(responses, None)
    assert [r.policy_weight for r in responses] == pytest.approx([1 / 3] * 2)


# --- presets --------------------------------------------------------------------------------------------------

RUN = '[run]\nname = "x"\nsteps = 10\n[data]\ntrain = ["a.jsonl"]\n'


def shows(stored: dict[str, Any], preset: dict[str, Any]) -> bool:
    """Whether the stored settings have those of the preset."""
    return all(shows(stored[k], v) if isinstance(v, dict) else stored[k] == v for k, v in preset.items())


def load(tmp_path, objective: str, *flags: str) -> ObjectiveSettings:
    path = tmp_path / "run.toml"
    path.write_text(f"{RUN}[objective]\n{objective}")
    return load_run([str(path)], flags).objective


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_expands_to_visible_settings(name, tmp_path):
    """What the run folder stores has every value, and gives the same objective without its preset."""
    settings = settings_of(name, tmp_path)
    preset = catalog.load("objectives", name).PRESET
    stored = tomllib.loads(tomli_w.dumps(settings.model_dump(mode="json", exclude_none=True)))
    assert shows(stored, preset)
    assert stored.pop("preset") == name
    assert ObjectiveSettings(**stored) == settings.model_copy(update={"preset": None})


def test_no_two_presets_are_the_same(tmp_path):
    known = {name: settings_of(name, tmp_path).model_dump(exclude={"preset"}) for name in PRESETS}
    for name, settings in known.items():
        assert [other for other, theirs in known.items() if theirs == settings] == [name]


def test_a_setting_beside_the_preset_wins(tmp_path):
    settings = load(tmp_path, 'preset = "gspo"\nclip_high = 0.1\n', "--objective.scale", "none")
    assert (settings.loss, settings.clip_low, settings.clip_high, settings.scale) == ("gspo", 3e-4, 0.1, "none")
    assert load(tmp_path, "", "--objective.preset", "dapo").overlong_filter


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ('preset = "dappo"', r"objective: unknown objective 'dappo'; did you mean 'dapo'\?"),
        ('loss = "gsp"', r"objective\.loss: unknown objective 'gsp'; did you mean 'gspo'\?"),
        ('loss = "dapo"', r"objective\.loss: 'dapo' has no loss"),
        ('group_weight = "hicra"', r"objective\.group_weight: 'hicra' has no group_weight; known: .*observe_r1"),
        ('token_weight = ["hicra", "sapo"]', r"objective\.token_weight: 'sapo' has no token_weight"),
        ("pcurl.until = [0.7, 0.3]", r"objective\.pcurl\.until: \[0\.7, 0\.3\] descends"),
        ('tis.correction = "clamp"', r'objective: .*needs old = "proximal"'),
        ('upper_clip = "absolute"', r"objective: clip_high = 0\.28 is below 1"),
        ('preset = "hicra"', r"objective: .*needs hicra.planning_ngrams"),
        ('hicra.planning_ngrams = "none.txt"', r"objective\.hicra\.planning_ngrams: 'none\.txt' is not a file"),
        ("clip_hihg = 1", r"objective\.clip_hihg: unknown field; did you mean 'clip_high'\?"),
    ],
)
def test_refusals_name_the_nearest(objective, message, tmp_path):
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path, objective)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", PRESETS)
def test_every_objective_names_its_paper_and_known_settings(name):
    module = catalog.load("objectives", name)
    summary = catalog.summary("objectives", name)
    assert "arXiv" in summary or name in ("bnpo", "tis"), summary
    assert set(module.PRESET) <= set(ObjectiveSettings.model_fields)


def flat(settings: dict[str, Any]) -> dict[str, Any]:
    """By dotted name."""
    tables = {key: table if isinstance(table, dict) else {"": table} for key, table in settings.items()}
    return {f"{key}.{own}".rstrip("."): value for key, table in tables.items() for own, value in table.items()}


def row_of(name: str) -> str:
    """Of the table in docs/objectives.md: paper, and every setting that is not the default."""
    preset, default = catalog.load("objectives", name).PRESET, ObjectiveSettings().model_dump(mode="json")
    preset, default = flat(preset), flat(default)
    values = [f"{key} = {json.dumps(value)}" for key, value in preset.items() if default[key] != value]
    paper = catalog.summary("objectives", name).partition(": ")[0]
    return f"| `{name}` | {paper} | {', '.join(f'`{value}`' for value in values)} |"


def test_the_documented_table_is_true():
    text = (Path(__file__).resolve().parents[2] / "docs" / "objectives.md").read_text()
    for name in PRESETS:
        assert row_of(name) in text
    assert [name for name in flat(DEFAULT.model_dump()) if f"`{name}`" not in text] == []


def test_the_library_uses_every_setting():
    """A setting that nothing reads is a promise that nothing keeps."""
    folders = ("objectives", "train", "rollout")
    library = catalog.folder("objectives").parent
    code = "".join(path.read_text() for folder in folders for path in (library / folder).rglob("*.py"))
    read = set(re.findall(r"\b(?:settings|config\.objective|objective|own)\.(\w+)", code))
    unused = {name.rpartition(".")[2] for name in flat(DEFAULT.model_dump())} - read - {"preset"}
    assert not unused


def test_a_run_file_is_validated_without_torch(tmp_path):
    (tmp_path / "run.toml").write_text(f'{RUN}[objective]\npreset = "gspo"\n')
    code = (
        "import sys; from vlmrl.config.run_file import load_run; load_run(sys.argv[1:]); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "run.toml"], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
