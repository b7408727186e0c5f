"""`vlmrl data mix`: flags that are refused. tests/curriculum/mixture has plan, run and fit."""

import pytest
from helpers.command import complains, run


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["plan", "run.toml"], "required: --out"),
        (["plan", "none.toml", "--out", "mix"], "none.toml: no such run file"),
        (["plan", "run.toml", "--out", "mix", "--bounds", "a=0.5:0.1"], "expected SOURCE=LOW:HIGH within 0 and 1"),
        (["run", "none"], "none/plan.json: no such file; `vlmrl data mix plan RUN.toml --out none` writes it"),
        (["fit", "none"], "none/plan.json: no such file"),
        (["fit", "mix", "--objective", "ocr=0"], "expected SOURCE=WEIGHT with a weight above 0, got 'ocr=0'"),
        (["fit", "mix", "--min-r2", "good"], "argument --min-r2: invalid float value: 'good'"),
    ],
)
def test_wrong_flags_are_refused(capsys, tmp_path, monkeypatch, arguments, complaint) -> None:
    monkeypatch.chdir(tmp_path)
    complains(run(capsys, "data", "mix", *arguments), complaint)
