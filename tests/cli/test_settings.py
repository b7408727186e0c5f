"""`vlmrl settings`: every setting of a run file, and none that there is not."""

from __future__ import annotations

import pytest
from helpers.command import complains, run

from vlmrl.config.run_file import RunConfig


def rows(capsys, *arguments: str) -> dict[str, list[str]]:
    done = run(capsys, "settings", *arguments)
    assert done.code == 0, done.err
    return {cells[0]: cells[1:] for line in done.out.splitlines() if (cells := line.split("\t"))}


def test_it_lists_every_section_with_type_default_and_meaning(capsys) -> None:
    found = rows(capsys)
    assert {name.partition(".")[0] for name in found} == set(RunConfig.model_fields)
    assert all(len(cells) == 3 and cells[0] and cells[1] for cells in found.values())
    assert found["learner.row_tokens"][1] == "8192"
    assert found["run.steps"][1] == "required"
    assert found["learner.memory_mb"][1] == "unset"
    assert "G" in found["rollout.group"][2]


@pytest.mark.parametrize("section", ["learner", "rollout.vllm", "learner.row_tokens"])
def test_a_section_is_a_part_of_the_whole(section, capsys) -> None:
    chosen = rows(capsys, section)
    assert chosen
    assert chosen == {n: c for n, c in rows(capsys).items() if n == section or n.startswith(f"{section}.")}


@pytest.mark.parametrize(
    ("section", "hint"), [("lerner", "'learner'"), ("rollout.vlm", "'rollout.vllm'"), ("run.step", "'run.steps'")]
)
def test_an_unknown_section_is_refused_with_the_nearest(section, hint, capsys) -> None:
    complains(run(capsys, "settings", section), section, f"did you mean {hint}?")


def test_a_terminal_gets_a_table(capsys, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    lines = run(capsys, "settings", "agreement").out.splitlines()
    assert all(head in lines[0] for head in ("setting", "type", "default", "meaning"))
    assert "agreement.tolerance" in "\n".join(lines)
