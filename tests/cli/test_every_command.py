"""What holds for every sub-command: help with an example, one-line errors, exit codes, no heavy library."""

from __future__ import annotations

import argparse
import importlib
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.command import VLMRL, command_lines, complains, run

import vlmrl.cli
from vlmrl.cli import COMMANDS, build_parser, parse
from vlmrl.cli.arguments import split_settings

SHARED = {"__init__", "__main__", "arguments", "output", "data_mix", "data_convert"}
"""Files of the folder that are no sub-command of `vlmrl` itself."""


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


def every(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for child in subparsers(parser).values():
        yield from every(child)


PARSERS = {parser.prog: parser for parser in every(build_parser())}
EXAMPLES = sorted({shlex.join(line) for p in PARSERS.values() for line in command_lines(p.format_help())})


def test_every_file_is_a_sub_command() -> None:
    files = {path.stem for path in Path(vlmrl.cli.__file__).parent.glob("*.py")}
    assert files - SHARED == set(COMMANDS)


def test_the_help_names_every_sub_command() -> None:
    top = PARSERS["vlmrl"].format_help()
    for name in COMMANDS:
        assert f"\n    {name} " in top
        assert f"\n  vlmrl {name}" in top


@pytest.mark.parametrize("prog", PARSERS)
def test_every_help_says_what_it_is_and_shows_an_example(prog) -> None:
    parser = PARSERS[prog]
    text = parser.format_help()
    assert parser.description
    assert any(line.strip().startswith(prog) for line in text.splitlines()[1:])
    for action in parser._actions:
        assert action.help is not None or isinstance(action, argparse._SubParsersAction), action


@pytest.mark.parametrize("prog", PARSERS)
def test_every_help_is_printed(prog, capsys) -> None:
    done = run(capsys, *prog.split()[1:], "--help")
    assert done.code == 0
    assert done.out.startswith(f"usage: {prog} ")
    assert done.err == ""


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_a_valid_command_line(example) -> None:
    assert callable(parse(shlex.split(example)).run)


def test_help_loads_no_heavy_library() -> None:
    code = f"""
import sys
from vlmrl.cli import main
for arguments in {[prog.split()[1:] for prog in PARSERS]}:
    try:
        main([*arguments, "--help"])
    except SystemExit as stop:
        assert stop.code == 0
print([name for name in ("torch", "transformers", "vllm", "datasets", "rich", "pyarrow") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_sub_command_declares_its_own_flags(name) -> None:
    module = importlib.import_module(f"vlmrl.cli.{name}")
    assert callable(module.add_arguments)
    assert hasattr(module, "run") != bool(subparsers(PARSERS[f"vlmrl {name}"]))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "required: COMMAND; see `vlmrl --help`"),
        (["trian"], "invalid choice: 'trian'"),
        (["data"], "required: ACTION; see `vlmrl data --help`"),
        (["data", "mix"], "required: PART; see `vlmrl data mix --help`"),
        (["bench"], "required: SUBJECT; see `vlmrl bench --help`"),
        (["score", "a.jsonl", "--ot", "b"], "unrecognized arguments: --ot b; see `vlmrl score --help`"),
        (["score", "a.jsonl", "b.jsonl"], "unrecognized arguments: b.jsonl; see `vlmrl score --help`"),
        (["score", "a.jsonl", "--learner.lr", "1"], "unrecognized arguments: --learner.lr; see `vlmrl score --help`"),
        (["train", "run.toml", "--lr", "1"], "unrecognized arguments: --lr 1; see `vlmrl train --help`"),
        (["train", "run.toml", "--learner.lr"], "--learner.lr: has no value; write --learner.lr VALUE"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_2(capsys, arguments, complaint) -> None:
    complains(run(capsys, *arguments), complaint)


@pytest.mark.parametrize("prog", [prog for prog, parser in PARSERS.items() if not subparsers(parser)])
def test_every_command_says_what_is_missing(prog, capsys) -> None:
    if any(action.required and action.nargs != "*" for action in PARSERS[prog]._actions):
        complains(run(capsys, *prog.split()[1:]), "required: ", f"see `{prog} --help`")


def test_settings_are_split_from_other_arguments() -> None:
    arguments = shlex.split("train --a.b -1 run.toml --c.d='x y' over.toml --out=a.b --resume --e.f '[1, 2]'")
    assert split_settings(arguments) == (
        ["train", "run.toml", "over.toml", "--out=a.b", "--resume"],
        ["--a.b", "-1", "--c.d=x y", "--e.f", "[1, 2]"],
    )


def test_verifiers_of_your_own_become_a_setting_of_a_run() -> None:
    assert parse(["train", "run.toml", "--verifiers-path", "mine"]).overrides == ["--reward.verifiers_path", '["mine"]']
    assert parse(["score", "rows.jsonl", "--verifiers-path", "mine"]).overrides == []


def test_version_is_the_distributions(capsys) -> None:
    from importlib.metadata import version

    assert run(capsys, "--version").out.strip() == f"vlmrl {version('vlmrl-toolkit')}"


def test_the_command_runs_as_a_module() -> None:
    done = subprocess.run([*VLMRL, "list", "engines"], capture_output=True, text=True, check=True)
    assert "replay\t" in done.stdout
    assert done.stderr == ""
