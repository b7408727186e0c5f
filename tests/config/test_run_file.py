"""Run files: merging, overrides, and one-line refusals."""

from __future__ import annotations

import pytest

from vlmrl.config.run_file import RunConfig, load_run
from vlmrl.errors import UserError

BASE = """
[run]
name = "x"
steps = 10
[data]
train = ["a.jsonl", { recipe = "synthetic", n = 5 }]
"""


@pytest.fixture
def base(tmp_path):
    path = tmp_path / "base.toml"
    path.write_text(BASE)
    return str(path)


def test_files_then_flags(base: str, tmp_path):
    over = tmp_path / "over.toml"
    over.write_text("[run]\nsteps = 20\n[learner]\nlearning_rate = 1e-4\n[model.lora]\n")
    config = load_run([base, str(over)], ["--run.steps", "30", "--rollout.engine=vllm", "--model.path", "a/b"])
    assert config.run.steps == 30
    assert config.learner.learning_rate == 1e-4
    assert config.rollout.engine == "vllm"
    assert config.model.path == "a/b"
    assert config.model.lora is not None
    assert config.model.lora.rank == 16
    assert [e.path or e.recipe for e in config.data.train] == ["a.jsonl", "synthetic"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--learner.learning_rat", "1"], r"learner\.learning_rat: unknown field; did you mean 'learning_rate'\?"),
        (["--lerner.learning_rate", "1"], r"lerner: unknown field; did you mean 'learner'\?"),
        (["--run.steps", "many"], r"run\.steps: .*got 'many'"),
        (["--run.steps", "0"], r"run\.steps: .*greater than 0, got 0"),
        (["--learner.learning_rate", "inf"], r"learner\.learning_rate: .*got inf"),
        (["--learner.learning_rate", "nan"], r"learner\.learning_rate: .*got nan"),
        (["--learner.betas", "[2.0, 3.0]"], r"learner\.betas\.0: input should be less than 1, got 2\.0"),
        (["--rollout.temperature", "1e-300"], r"rollout\.temperature: .*got 1e-300"),
        (["--run.max_minutes", "inf"], r"run\.max_minutes: expected a number below 2147483648, got inf"),
        (["--run.steps", "9" * 30], r"run\.steps: expected a number below 2147483648, got 9999"),
        (["--sampler.source_weights", "{a = inf}"], r"sampler\.source_weights: expected a number below"),
        (["--model.path", r'"a\u0000b"'], r"model\.path: 'a\\x00b' holds a NUL character"),
        (["--run.steps"], r"--run\.steps: its value is missing"),
        (["steps", "3"], r"'steps': not a setting"),
        (["--rollout.group", "1"], r"rollout\.group: "),
        (["--data.train", "[{ n = 3 }]"], r"data\.train\.0: needs either path or recipe"),
        (["--data.train", "[{ recipe = 'synthetic', seed = -1 }]"], r"data\.train\.0\.seed: .*got -1"),
        (["--reward.schedules", "{ dynamic_iou = { threshold = [[0.5, 1], [0.1, 2]] } }"], "ascending"),
    ],
)
def test_refusals(base: str, flags: list[str], message: str):
    with pytest.raises(UserError, match=message) as caught:
        load_run([base], flags)
    assert "\n" not in str(caught.value)


def test_a_missing_or_broken_file(tmp_path):
    with pytest.raises(UserError, match="no such run file"):
        load_run([str(tmp_path / "none.toml")])
    broken = tmp_path / "broken.toml"
    broken.write_text("[run\n")
    with pytest.raises(UserError, match=r"broken\.toml: not valid TOML"):
        load_run([str(broken)])


def test_an_unreadable_file_is_named():
    long = "x" * 300
    with pytest.raises(UserError, match=rf"^{long}: cannot be read \(File name too long\)"):
        load_run([long])


def test_every_setting_is_documented_by_name_or_description():
    """A section has a docstring that names it, so that `config.py` reads as the manual."""
    for name, field in RunConfig.model_fields.items():
        section = next(
            t for t in (field.annotation, *getattr(field.annotation, "__args__", ())) if hasattr(t, "model_fields")
        )
        assert (section.__doc__ or "").startswith(f"[{name}]"), name
