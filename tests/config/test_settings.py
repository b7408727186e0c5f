"""The list of all settings: what there is, that it is documented, and that no setting comes without a decision."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlmrl.cli import main
from vlmrl.config.listing import markdown, settings
from vlmrl.errors import UserError

LIST = Path(__file__).with_name("settings.txt")
DOCS = Path(__file__).resolve().parents[2] / "docs" / "settings.md"
MOST_SHARED = 95
"""Settings outside the files of samplers, hooks and objectives. A new one has to be worth another."""


def test_every_setting_is_in_the_list() -> None:
    """A new setting is a decision: write it into settings.txt, beside a reason in its commit."""
    assert [row.name for row in settings()] == LIST.read_text().split()


def test_shared_settings_are_few() -> None:
    assert sum(not row.plugin for row in settings()) <= MOST_SHARED


def test_every_setting_says_what_it_is() -> None:
    for row in settings():
        assert row.type, row.name
        assert row.description, row.name
        assert "\n" not in row.default + row.description, row.name


def test_settings_of_plugins_are_distinguished_from_shared_ones() -> None:
    plugin = {row.name: row.plugin for row in settings()}
    assert plugin["rollout.ghpo.shares"]
    assert plugin["sampler.rlcs.decay"]
    assert plugin["objective.sapo.temperature_positive"]
    assert not plugin["rollout.hf.batch_responses"]
    assert not plugin["sampler.stages.until"]


def test_the_document_is_the_list() -> None:
    """`python -c "from vlmrl.config.listing import markdown; print(markdown(), end='')" > docs/settings.md`"""
    assert DOCS.read_text(encoding="utf-8") == markdown()


def test_the_command_prints_a_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "sampler.refill"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[0].removeprefix("sampler.refill.") for line in lines] == [
        *("base", "max_rounds", "margin", "max_ratio", "buffer", "max_age"),
    ]
    assert lines[1][1:] == [
        "integer > 0",
        "10",
        "rounds of rollouts in a step, at most; then the update takes the groups it has",
    ]
    assert main(["settings", "agreement.tolerance"]) == 0
    assert capsys.readouterr().out.count("\n") == 1
    assert main(["settings", "sampler.rlc"]) == 2
    assert "'sampler.rlc': no such section; did you mean 'sampler.rlcs'?" in capsys.readouterr().err
    with pytest.raises(UserError):
        settings("nothing")
