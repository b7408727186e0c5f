"""What would stop a run in its middle is found by a dry run, and by a new run before its first step."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers.samples import prompt_sample
from PIL import Image

from vlmrl.cli import main
from vlmrl.config.run_file import RunConfig
from vlmrl.errors import UserError
from vlmrl.models.encoded_prompt import PromptSize
from vlmrl.models.formatting import Formatter
from vlmrl.rollout.prompt_check import PromptCheck, longest_response
from vlmrl.sample import Media, row_from_sample
from vlmrl.train.dry_run import CHECKED_PER_ENTRY, ENCODED_LONGEST

RUN = """
[run]
name = "x"
folder = "{folder}/runs"
steps = 1
sinks = ["jsonl"]

[model]
path = "{model}"
device = "cpu"
max_prompt_tokens = 150

[data]
train = ["{folder}/train.jsonl"]

[rollout]
prompts = 2
group = 2
max_new_tokens = 4

[reward]
workers = 0
"""

Refused = Callable[..., str]


@pytest.fixture
def refused(model_folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """`refused(rows, *flags)`: the one line with which a run on these rows ends before its first step."""
    path = tmp_path / "run.toml"
    path.write_text(RUN.format(folder=tmp_path, model=model_folder("qwen2_5_vl")))

    def run(rows: Sequence[dict[str, Any]], *flags: str) -> str:
        (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert main(["train", str(path), *flags]) == 2
        metrics = tmp_path / "runs" / "x" / "metrics.jsonl"
        assert not metrics.exists() or not metrics.read_text()
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vlmrl: ")]
        return line

    return run


def row(name: str, text: str = "1 + 1?", answer: str = "", **fields: Any) -> dict[str, Any]:
    turns = [("user", text), *([("assistant", answer)] if answer else [])]
    messages = [{"role": role, "content": content} for role, content in turns]
    return {
        "id": name,
        "source": "sums",
        "messages": messages,
        "reward": [{"verifier": "math", "target": "2"}],
        **fields,
    }


def picture(side: int) -> dict[str, Any]:
    """The media of a row."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side)).save(buffer, "PNG")
    return row_from_sample(prompt_sample("p", "<image>", (Media(data=buffer.getvalue()),)))["media"]


def late(*last: dict[str, Any], answer: str = "") -> list[dict[str, Any]]:
    """Rows of which the first are many enough to hide the last from a look at the first."""
    return [*(row(f"s{n}", answer=answer) for n in range(CHECKED_PER_ENTRY + 1)), *last]


BAD = {
    "length": (row("bad", "word " * 200), "tokens, over model.max_prompt_tokens = 150"),
    "image": (row("bad", "<image>?", media=picture(420)), "tokens, over model.max_prompt_tokens = 150"),
    "placeholder": (row("bad", "what is <|image_pad|>?"), "1 image_tokens in the prompt, 0 features"),
}


@pytest.mark.parametrize("flags", [(), ("--dry-run",)], ids=["run", "dry run"])
@pytest.mark.parametrize("kind", BAD)
def test_a_late_row_that_does_not_fit_is_named(refused: Refused, kind: str, flags: tuple[str, ...]) -> None:
    bad, complaint = BAD[kind]
    line = refused(late(bad, row("after")), *flags)
    assert line.startswith("vlmrl: sample 'bad': ")
    assert complaint in line


@pytest.mark.parametrize("flags", [(), ("--dry-run",)], ids=["run", "dry run"])
def test_a_cold_start_needs_demonstrations(refused: Refused, flags: tuple[str, ...]) -> None:
    line = refused(late(row("bad"), answer="2"), "--sft.patch_classes", "0", *flags)
    assert line.startswith("vlmrl: sample 'bad': no demonstration to learn")


@pytest.mark.parametrize("flags", [(), ("--dry-run",)], ids=["run", "dry run"])
@pytest.mark.parametrize(("hook", "field"), [("ghpo", "solution"), ("guide", "hint")])
def test_a_hint_that_does_not_fit_is_named_with_its_hook(
    refused: Refused, hook: str, field: str, flags: tuple[str, ...]
) -> None:
    rows = late(row("short", meta={field: "two"}), row("bad", meta={field: "word " * 180}))
    line = refused(rows, "--rollout.hooks", f'["{hook}"]', *flags)
    assert line.startswith(f"vlmrl: hook '{hook}' with the hint meta.{field}: sample 'bad': its prompt has ")
    assert "over model.max_prompt_tokens = 150" in line


def run_config(rollout: dict[str, Any], **sections: Any) -> RunConfig:
    given = {"run": {"name": "x", "steps": 1}, "data": {"train": ["none.jsonl"]}, "model": {"max_prompt_tokens": 150}}
    return RunConfig.model_validate({**given, "rollout": rollout, **sections})


def test_a_source_that_is_never_drawn_is_not_looked_at(model_folder) -> None:
    long, formatter = prompt_sample("long", "word " * 200), Formatter.load(str(model_folder("qwen2_5_vl")))

    def check(*weights: dict[str, float]) -> PromptCheck:
        stages = [{"source_weights": w, "until": (n + 1) / len(weights)} for n, w in enumerate(weights)]
        config = run_config({}, sampler={"stages": stages})
        formatter.settings = config.model
        return PromptCheck(config, formatter, training=True)

    never = check({long.source: 0, "sums": 1})
    assert never(long).tokens == 0
    never.encode([long])
    for drawn in (check({"sums": 0, long.source: 1}), check({long.source: 0, "sums": 1}, {long.source: 1, "sums": 1})):
        with pytest.raises(UserError, match="'long': its prompt has"):
            drawn(long)


def test_of_a_solution_the_largest_part_that_is_given_counts(model_folder) -> None:
    sample = prompt_sample("x", "1 + 1?").model_copy(update={"meta": {"solution": "word " * 200}})

    def check(*shares: float) -> PromptSize:
        config = run_config({"hooks": ["ghpo"], "ghpo": {"template": "{hint}", "shares": shares}})
        formatter = Formatter.load(str(model_folder("qwen2_5_vl")), config.model)
        return PromptCheck(config, formatter, training=True)(sample)

    assert check(0.5, 0.25).tokens < 50
    with pytest.raises(UserError, match="hook 'ghpo'"):
        check(0.25, 0.75, 0.5)


def test_an_answer_that_is_forced_counts(model_folder) -> None:
    def check(hooks: Sequence[str], max_model_len: int) -> int:
        engine = {"engine": "vllm", "vllm": {"max_model_len": max_model_len}}
        forced = {"force_answer": {"cue": "</think>", "max_new_tokens": 20}}
        config = run_config({**engine, **forced, "hooks": hooks, "max_new_tokens": 30})
        formatter = Formatter.load(str(model_folder("qwen2_5_vl")), config.model)
        size = PromptCheck(config, formatter, training=False)(prompt_sample("x", "1 + 1?"))
        return size.tokens + longest_response(config, formatter)

    plain, forced = check([], 200), check(["force_answer"], 200)
    assert forced > plain + 20
    check([], plain)
    check(["force_answer"], forced)
    with pytest.raises(UserError, match=r"force_answer and its max_new_tokens\) are over rollout.vllm.max_model_len"):
        check(["force_answer"], forced - 1)


@pytest.mark.parametrize(
    "bad", [row("bad", "<image>?", media=picture(280)), row("bad", "word " * 100)], ids=["patches", "tokens"]
)
def test_a_late_row_over_the_memory_budget_is_named(refused: Refused, bad: dict[str, Any]) -> None:
    """Beside prompts with a picture, of which there are more than are encoded."""
    small = [row(f"s{n}", "<image>?", media=picture(56)) for n in range(ENCODED_LONGEST + 1)]
    line = refused([*small, bad, row("after")], "--learner.memory_mb", "17")
    assert line.startswith("vlmrl: learner.memory_mb = 17: one response of length 4 to sample 'bad'")
