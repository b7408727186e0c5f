"""`vlmrl train`: what is said before a model is loaded. tests/train has the training itself."""

import subprocess
import sys

import pytest
from helpers.command import complains, run


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "the following arguments are required: RUN.toml; see `vlmrl train --help`"),
        (["none.toml"], "none.toml: no such run file"),
        (["quickstrat"], "no such run file; did you mean 'quickstart'?"),
        (["quickstart", "--run.step", "3"], "run.step: unknown field; did you mean 'steps'?"),
        (["quickstart", "--run.steps", "many"], "run.steps: input should be a valid integer"),
        (["quickstart", "--verifiers-path", "none"], "none: not a verifier file"),
    ],
)
def test_a_wrong_run_is_refused(capsys, arguments, complaint) -> None:
    complains(run(capsys, "train", *arguments), complaint)


def test_a_mistake_is_reported_before_torch_is_loaded() -> None:
    code = "import sys; from vlmrl.cli import main; print(main(['train', 'quickstart', '--run.step', '3']))"
    code += "; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"]
