"""`vlmrl serve`: flags that are refused. tests/serve has the service."""

import pytest
from helpers.command import complains, run


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--port", "x"], "argument --port: expected a port from 0 to 65535, got 'x'"),
        (["--port", "70000"], "expected a port from 0 to 65535, got '70000'"),
        (["--workers", "0"], "argument --workers: expected a positive whole number, got '0'"),
        (["--deadline", "nan"], "argument --deadline: expected seconds above 0, got 'nan'"),
        (["--verifiers-path", "none"], "none: not a verifier file"),
    ],
)
def test_wrong_flags_are_refused(capsys, arguments, complaint) -> None:
    complains(run(capsys, "serve", *arguments), complaint)
