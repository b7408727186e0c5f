"""`vlmrl bench`: flags and names that are refused. tests/bench has the figures."""

import pytest
from helpers.command import complains, run

from vlmrl.cli import parse


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["verifiers", "countin"], "unknown verifier 'countin'; did you mean 'counting'?"),
        (["sampler", "unifrom"], "unknown sampler 'unifrom'; did you mean 'uniform'?"),
        (["update", "--image", "0"], "expected a positive whole number, got '0'"),
        (["update", "--image", "448x"], "expected pixels as 448 or 640x480, or none, got '448x'"),
        (["update", "--against", "vllm"], "invalid choice: 'vllm'"),
        (["curriculum", "--samplers", "unifrom"], "--samplers 'unifrom': not one of 'uniform'"),
        (["thresholds", "--arms", "raw"], "--arms 'raw': not one of 'raw IoU'"),
    ],
)
def test_wrong_flags_are_refused(capsys, arguments, complaint) -> None:
    complains(run(capsys, "bench", *arguments), complaint)


def test_an_experiment_takes_settings_as_a_run_does() -> None:
    options = parse(["bench", "thresholds", "--arms", "raw IoU", "--model.path", "tiny", "--steps", "2"])
    assert (options.arms, options.steps, options.overrides) == (["raw IoU"], 2, ["--model.path", "tiny"])


def test_sizes_of_images() -> None:
    options = parse(["bench", "update", "--image", "448", "640x480", "none"])
    assert options.image == [(448, 448), (640, 480), None]
