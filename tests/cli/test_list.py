"""`vlmrl list`: a table on a terminal, plain rows in a pipe."""

import tomllib
from pathlib import Path

import pytest
from helpers.command import complains, run

from vlmrl import catalog

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("kind", catalog.FOLDERS)
def test_it_is_plain_when_piped(kind, capsys) -> None:
    done = run(capsys, "list", kind)
    assert done.code == 0
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert [name for name, *_ in rows] == catalog.names(kind)
    assert all(all(cells) for cells in rows)
    assert all(len(cells) == (6 if kind == "families" else 2) for cells in rows)


def test_families_are_listed_with_what_they_take_and_how_they_answer(capsys) -> None:
    rows = [line.split("\t")[:5] for line in run(capsys, "list", "families").out.splitlines()]
    assert ["qwen2_5_vl", "text, image, video", "pixels", "positions", "packed"] in rows
    assert ["qwen3_5", "text, image, video", "relative_1000", "text", "forked"] in rows


@pytest.mark.parametrize("kind", catalog.FOLDERS)
def test_on_a_terminal_it_says_where_a_new_file_belongs(kind, capsys, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    done = run(capsys, "list", kind)
    assert catalog.singular(kind) in done.out.splitlines()[0]
    last = done.out.splitlines()[-1]
    assert last.startswith("add one: ")
    place = last.removeprefix("add one: ").removesuffix(", see CONTRIBUTING.md")
    in_table = tomllib.loads((catalog.folder(kind) / "presets.toml").read_text()) if kind == "objectives" else {}
    for name in set(catalog.names(kind)) - in_table.keys():
        assert (ROOT / place.replace("<name>", name)).is_file()


def test_an_unknown_kind_is_refused(capsys) -> None:
    complains(run(capsys, "list", "verifier"), "invalid choice: 'verifier'", "'families'")
    complains(run(capsys, "list"), "required: KIND")
